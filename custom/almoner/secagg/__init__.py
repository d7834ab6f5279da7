"""Secure aggregation by secret sharing: the server learns the sum of at least t sites and who is in it, or nothing.

Bonawitz et al. (CCS 2017) in the active-server model over the consortium's certificates, on the complete graph of 3 to
50 sites. No module here does I/O. A round, and the module that holds each step:

    offers          K: a mask key, H(b), commitments and sealed shares, signed; `dealing` draws and spends the secrets
    contribution    M1: packed values under masks (`packing`, `masking`) with a masked tag (`tag`), signed; the roll U
    acknowledgement ACK: one signature a site and round over ring and roll
    reveal          M3: a share of b or of the mask key of each site, never of both; who gave or dealt a false one
    total           the sum, and how a site verifies it (`unmasking`: how the server gets at the masks left)
    site, server    the two sides; who learns what stands in `site`
    audit           what an outsider, without a key, can check of all these messages

`shamir`, `merkle`, `quantise` and `blocks` know nothing of the protocol.
"""
