"""Decisions in the ledger: a site's own, or found out."""

from typing import Any

import pytest
from flare_cases import Pki

from almoner.errors import LedgerError
from almoner.flare.job.job_context import JobContext
from almoner.flare.site.signed_decisions import sign_decision, verify_decisions

DECISION: dict[str, Any] = {"job_id": "7", "verdict": "refused", "violations": [{"rule": "budget.remaining"}]}


def write(context: JobContext, decision: dict[str, Any]) -> None:
    with context.site.ledger() as ledger:
        ledger.record("decision", decision)
        ledger.verify()  # the chain itself sees nothing wrong


def check(context: JobContext, pki: Pki) -> int:
    with context.site.ledger() as ledger:
        return verify_decisions(ledger, pki.roster)


def test_signed_decisions_are_counted(context: JobContext, pki: Pki) -> None:
    assert check(context, pki) == 0
    for verdict in ("refused", "admitted"):
        write(context, sign_decision(context.site.private_key(), {**DECISION, "verdict": verdict}))
    with context.site.ledger() as ledger:
        ledger.record("remark", {"verdict": "admitted"})
    assert check(context, pki) == 2


@pytest.mark.threat("T-08")
@pytest.mark.parametrize("forgery", ["unsigned", "changed", "another site's", "not hexadecimal", "a number"])
def test_decisions_that_the_site_did_not_sign(context: JobContext, pki: Pki, forgery: str) -> None:
    """Whoever can write the file can append to the chain, but has not signed."""
    signed = sign_decision(context.site.private_key(), DECISION)
    other = sign_decision(pki.key("hungary").read_bytes(), DECISION)
    write(
        context,
        {
            "unsigned": DECISION,
            "changed": {**signed, "verdict": "admitted"},
            "another site's": other,
            "not hexadecimal": {**signed, "signature": "xy"},
            "a number": {**signed, "signature": 7},
        }[forgery],
    )
    with pytest.raises(LedgerError, match="entry 5: not signed by cleveland"):
        check(context, pki)
