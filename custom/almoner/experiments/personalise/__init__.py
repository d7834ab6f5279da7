"""What personalisation brings each site of a job, at the same ε for every method; on public data alone."""
