"""Statistics that leave a site: noised, charged, with their uncertainty."""
