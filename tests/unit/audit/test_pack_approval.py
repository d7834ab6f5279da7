"""Who approved a job stands in the run manifest, as the site's ledger has it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.unit.audit.audit_cases import (
    Chain,
    Run,
    make_ledger,
    make_run,
    parts_of,
    refused,
    resigned,
    sealed,
)

from almoner.audit import parts as names
from almoner.audit.pack_verify import verify_pack
from almoner.audit.report import render_report
from almoner.privacy.ledger_entries import Entry, parse_payload

APPROVAL, OFFICER = "9" * 64, "officer@site-1.example"
OTHER = {"approval_digest": "8" * 64, "job_digest": "d" * 64, "verdict": "approved", "officer": "somebody@else.example"}


def approved(*arguments: Any, officer: Any) -> Sequence[Entry]:
    """Return the ledger of a site whose data officer approved the job, before it decided."""
    made = make_ledger(*arguments, decided={"approval_digest": APPROVAL})
    chain = Chain()
    for entry in made:
        if entry.kind == "reserved":
            chain.add(OTHER, "approval")
            chain.add({**OTHER, "approval_digest": APPROVAL, "officer": officer}, "approval")
        chain.add(parse_payload(entry), entry.kind)
    return chain.entries


def run_with(officer: Any) -> Run:
    return make_run(ledger=partial(approved, officer=officer))


def test_the_officer_is_named_and_shown(tmp_path: Path) -> None:
    run = run_with(OFFICER)
    verdict = verify_pack(sealed(run, parts_of(run, tmp_path)), run.root_pem)
    decided = verdict.statements[names.RUN].predicate["recomputed"]["decisions"]
    assert {site: found["approved_by"] for site, found in decided.items()} == dict.fromkeys(decided, OFFICER)
    assert f"with the approval of its data officer {OFFICER}" in render_report(verdict)


@pytest.mark.parametrize("officer", [7, None, ["<b>x</b>"], ""])
def test_a_name_that_is_none_is_text(officer: Any, tmp_path: Path) -> None:
    run = run_with(officer)
    page = render_report(verify_pack(sealed(run, parts_of(run, tmp_path)), run.root_pem))
    assert "with the approval of its data officer" in page
    assert "<b>x" not in page


def test_a_server_that_names_another_officer(tmp_path: Path) -> None:
    run = run_with(OFFICER)

    def lie(old: dict[str, Any]) -> dict[str, Any]:
        decisions = old["recomputed"]["decisions"]
        lied = {**decisions, "site-1": {**decisions["site-1"], "approved_by": "somebody@else.example"}}
        return {**old, "recomputed": {**old["recomputed"], "decisions": lied}}

    parts = resigned(run, parts_of(run, tmp_path), names.RUN, lie, None)
    refused(run, parts, "approved_by: stated is")


def test_a_job_without_approval_names_nobody(tmp_path: Path) -> None:
    run = make_run()
    verdict = verify_pack(sealed(run, parts_of(run, tmp_path)), run.root_pem)
    assert verdict.statements[names.RUN].predicate["recomputed"]["decisions"]["site-1"]["approved_by"] is None
    assert "data officer" not in render_report(verdict).partition("Laws and standards</h2>")[0]
