"""One module per learning task: its model and data adapter. No privacy code."""
