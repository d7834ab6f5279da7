"""Private set intersection of patient lists, padded so that lengths tell nothing."""
