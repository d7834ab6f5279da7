"""Private set intersection: which of its records a site has in common with others, and nothing else."""
