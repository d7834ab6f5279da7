"""Attacks on what the platform claims: poisoning first; on public data alone."""
