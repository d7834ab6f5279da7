"""The transparency log, the sites' ledger heads, and what an evidence pack is read from."""
