"""An account's statement: every job and release that drew on it, in one list, with the account's ε after each."""

import json
from datetime import UTC, datetime
from typing import Any

from rich.table import Column, Table

from almoner.admission.history import PastJob
from almoner.admission.ledger_facts import LedgerFacts
from almoner.privacy.ledger import AccountState, Ledger


def statement_rows(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Return for each account what every admitted job holds of it now, in the order of admission."""
    entries, facts = ledger.entries(), LedgerFacts()
    facts.read(entries)
    decisions = (json.loads(entry.payload) for entry in entries if entry.kind == "decision")
    asked = {found["job_id"]: found for found in decisions if found["verdict"] == "admitted"}
    jobs = facts.history().jobs
    return {account.population: _rows_of(account, jobs, asked) for account in ledger.accounts()}


def _rows_of(account: AccountState, jobs: tuple[PastJob, ...], asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of one account; ε is the filter's conversion of the sum so far."""
    rows, total = [], 0.0
    for job in jobs:
        if job.population != account.population:
            continue
        total += job.charge
        decision = asked.get(job.job_id, {})
        rows.append(
            {
                "time": datetime.fromtimestamp(job.reserved_unix_seconds, UTC).isoformat(timespec="seconds"),
                "job_id": job.job_id,
                "job": decision.get("job_name", ""),
                "kind": decision.get("spec", {}).get("kind", ""),
                "submitter": job.submitter or "",
                "asks": decision.get("asks", ""),
                "steps_committed": job.committed,
                "steps_planned": job.planned,
                "rdp": job.charge,
                "epsilon_after": account.filter.epsilon_of(total),
            }
        )
    return rows


def statement_table(population: str, rows: list[dict[str, Any]]) -> Table:
    """Return an account's statement for people."""
    wide = (Column(name, overflow="fold") for name in ("job", "asks"))
    table = Table(Column("admitted (UTC)", no_wrap=True), *wide, "steps", "charge (Rényi)", "account ε after")
    table.title = f"what drew on {population}"
    table.caption = "charges add up, ε does not; a job told again what it was told before has no steps and no charge"
    for row in rows:
        steps = f"{row['steps_committed']} of {row['steps_planned']}"
        minute = row["time"][:16].replace("T", " ")
        table.add_row(minute, row["job"], row["asks"], steps, f"{row['rdp']:.4f}", f"{row['epsilon_after']:.3f}")
    return table
