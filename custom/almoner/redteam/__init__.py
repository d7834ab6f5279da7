"""Attacks on what the platform claims: ε, membership, pictures, poisoning; on public data alone."""
