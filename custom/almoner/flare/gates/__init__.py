"""Who may say what to which process: gates, handshakes, attestation."""
