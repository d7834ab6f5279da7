"""Startup kits: provisioned centrally, or from keys that were made at the site."""
