"""Almoner: budgeted, encrypted, evidenced federated learning on NVIDIA FLARE."""

import os

__version__ = "0.1.0"

os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
"""Products of matrices give equal rows equal bits, wherever a row lies in memory; else a record's gradient would depend
on its place (`training.gradient_probe`). MKL, which torch uses, reads this once, at its first product."""
