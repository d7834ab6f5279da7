"""Evidence for outsiders: the transparency log, and packs of signed statements that verify offline."""
