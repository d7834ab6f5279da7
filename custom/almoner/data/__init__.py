"""Public data sets: pinned source, digest, licence, loader."""
