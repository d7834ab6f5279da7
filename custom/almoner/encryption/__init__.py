"""Homomorphic encryption of a site's update (BFV, through TenSEAL's SEAL binding)."""
