"""Reconstruction: pictures out of updates, from what a server sees with each protection on or off."""
