"""What a run cost at each site: every committed step of its ledger, with the account's ε before and after."""

import json
from typing import Any

from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger


def receipts_of(consortium: ProvisionedConsortium) -> dict[str, dict[str, Any]]:
    """Return each site's receipts, in the order in which the steps were committed, and its ledger's head."""
    found = {}
    for site in consortium.declarations.consortium.sites:
        with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
            sequence, head = ledger.head()
            found[site] = {"head": {"seq": sequence, "hash": head}, "receipts": ledger_receipts(ledger)}
    return found


def ledger_receipts(ledger: Ledger) -> list[dict[str, Any]]:
    """Return a ledger's receipts: what each step released, its charge, and the ε of all that was committed by then."""
    rows, spent = [], dict.fromkeys((account.population for account in ledger.accounts()), 0.0)
    for entry in ledger.entries():
        if entry.kind != "committed":
            continue
        payload = json.loads(entry.payload)
        population = ledger.job(payload["receipt"]["job_id"]).population
        account, before = ledger.account(population), spent[population]
        spent[population] = after = before + payload["charge"]
        rows.append(
            payload["receipt"]
            | {
                "population": population,
                "delta": account.filter.delta,
                "order": account.filter.order,
                "charge": payload["charge"],
                "epsilon_before": account.filter.epsilon_of(before),
                "epsilon_after": account.filter.epsilon_of(after),
            }
        )
    return rows
