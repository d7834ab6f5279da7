"""Training jobs at the server and at a site."""
