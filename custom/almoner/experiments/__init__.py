"""Whole runs in one process, and what they are measured against; on registered public data alone."""
