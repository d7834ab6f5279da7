"""May this job run here? Pure rules over spec, policy and ledger state."""
