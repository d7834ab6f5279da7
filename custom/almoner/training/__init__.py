"""The DP-SGD round: Poisson sampling of units, clipping, and noise on an integer grid."""
