"""What a finished job leaves for its submitter."""
