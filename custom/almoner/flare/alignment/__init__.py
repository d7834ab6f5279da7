"""Private alignments of records at the server and at a site."""
