"""Secure aggregation by secret sharing: the server learns the sum of at least t sites and who is in it, or nothing."""
