"""The course that all kinds of jobs have in common, at the server and at a site."""
