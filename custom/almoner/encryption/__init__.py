"""Homomorphic encryption of a site's update (BFV, through TenSEAL's SEAL binding).

Only BFV: the tags that keep a lying server from the key are exact sums modulo a prime, and CKKS, whose sums are
approximate, cannot carry them; values that need more range are scaled to the grid before they come here.
"""
