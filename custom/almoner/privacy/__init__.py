"""Events, accountants, calibration, the budget filter and the ledger."""
