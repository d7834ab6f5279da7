"""Empirical ε: canaries in the job's own trainer, and how often their presence may be guessed if the claim holds."""
