"""What a site stands on and keeps: kit, policy, roster and ledger, approvals, releases, the folders of its jobs."""
