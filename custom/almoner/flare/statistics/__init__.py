"""Requests for statistics at the server and at a site."""
