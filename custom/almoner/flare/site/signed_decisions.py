"""A site signs every decision that it writes into its ledger: with the kit's key, over all that the entry says."""

import json
from typing import Any

from almoner.errors import LedgerError, ProtocolError
from almoner.privacy.ledger import Ledger
from almoner.protection.signing import sign, verify_signed
from almoner.schema.consortium import Roster
from almoner.schema.decision import decision_statement


def sign_decision(private_key_pem: bytes, decision: dict[str, Any]) -> dict[str, Any]:
    """Return a decision with its signature beside it.

    Args:
        decision: plain JSON without a field `signature`.
    """
    return {**decision, "signature": sign(private_key_pem, decision_statement(decision)).hex()}


def verify_decisions(ledger: Ledger, roster: Roster) -> int:
    """Check the signature of every decision in a site's ledger; return how many there are.

    Raises:
        LedgerError: naming the first decision that the site did not sign.
    """
    site, count = ledger.site, 0
    for entry in ledger.entries():
        if entry.kind != "decision":
            continue
        decision = json.loads(entry.payload)
        try:
            signature = bytes.fromhex(decision.get("signature", ""))
            verify_signed(signature, decision_statement(decision), roster, site, "decision")
        except (ProtocolError, ValueError, TypeError):
            raise LedgerError(f"{ledger.path}: entry {entry.seq}: not signed by {site} → see who wrote it") from None
        count += 1
    return count
