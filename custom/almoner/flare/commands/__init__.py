"""What commands call: a user's session, planning, exporting, a local release, a federation on this machine."""
