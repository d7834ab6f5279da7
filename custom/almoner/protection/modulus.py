"""The modulus of sums that wrap, and of the tags over all sums: the Mersenne prime 2^61 - 1."""

MODULUS = 2**61 - 1
