"""`almoner ledger`: read, check, report, copy and reconcile a site's book."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from almoner.cli.app import console, new_group, print_json
from almoner.flare.evidence.held_heads import HEADS_FILE, heads_json, read_heads, verify_against
from almoner.flare.site.signed_decisions import verify_decisions
from almoner.flare.site.site_files import LEDGER, load_kit
from almoner.privacy.ledger import Ledger
from almoner.privacy.ledger_entries import Entry

app = new_group("Read and check a site's privacy ledger; report, back up, reconcile.")

SITE_ARGUMENT = typer.Argument(help="the site's folder (it holds kit/ and ledger/), or the ledger file itself")
JSON_OPTION = typer.Option("--json", help="print JSON for scripts")

MAX_SHOWN = 1_000_000
JOB_ARGUMENT = typer.Argument(help="the job's id")
REASON_OPTION = typer.Option("--reason", help="one line, public, that does not depend on data")


def open_ledger(path: Path) -> Ledger:
    """Open the ledger in a site's folder, or the file itself."""
    return Ledger.open(path / LEDGER if path.is_dir() else path)


@app.command("show")
def show_command(
    site: Annotated[Path, SITE_ARGUMENT],
    last: Annotated[int, typer.Option("--last", help="how many entries, newest last", min=1, max=MAX_SHOWN)] = 20,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show the accounts, the jobs that still hold a reservation, and the last entries.

    Example: almoner ledger show build/demo-1/sites/cleveland
    """
    with open_ledger(site) as ledger:
        accounts = [_account_row(account) for account in ledger.accounts()]
        jobs = [{"job_id": job.job_id, "status": job.status} for job in ledger.open_jobs()]
        entries = [_entry_row(entry) for entry in ledger.entries(last)]
        sequence, head = ledger.head()
    if as_json:
        head_row = {"seq": sequence, "hash": head}
        print_json({"accounts": accounts, "open_jobs": jobs, "entries": entries, "head": head_row})
        return
    table = Table(
        Column("population", overflow="fold"), "unit", "ε spent", "ε cap", "δ", "order α", "of the cap in Rényi terms"
    )
    for row in accounts:
        table.add_row(
            row["population"],
            row["privacy_unit"],
            f"{row['epsilon_spent']:.3f}",
            f"{row['epsilon_cap']:g}",
            f"{row['delta']:g}",
            str(row["order"]),
            f"{row['rdp_spent']:.3f} of {row['rdp_budget']:.3f}",
        )
    console.print(table)
    for job in jobs:
        console.print(f"job {job['job_id']} is {job['status']}, its reservation charged")
    for entry in entries:
        console.print(f"{entry['seq']:>6}  {entry['time']}  {entry['kind']:<10} {entry['summary']}")
    console.print(f"head {sequence} {head}")


@app.command("verify")
def verify_command(
    site: Annotated[Path, SITE_ARGUMENT],
    against: Annotated[
        Path | None, typer.Option("--against", help="heads that others hold, as `almoner ledger heads` writes them")
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Check the whole chain and recompute every account from it; exit code 2 names the first bad entry.

    Example: almoner ledger verify build/demo-1/sites/cleveland --against heads.json
    """
    with open_ledger(site) as ledger:
        report = ledger.verify()
        sequence, head = ledger.head()
        held = None if against is None else verify_against(ledger, site, against)
        signed = verify_decisions(ledger, load_kit(site / "kit").roster) if (site / "kit").is_dir() else None
    if as_json:
        checked = {} if held is None else {"contains_head": held}
        figures = {"entries": report.num_entries, "signed_decisions": signed}
        clock = {"clock_steps_back": report.num_clock_steps_back}
        print_json({"ok": True, **figures, **clock, "head": {"seq": sequence, "hash": head}, **checked})
        return
    console.print(f"ledger verifies: {report.num_entries} entries, head {head}")
    if signed is not None:
        console.print(f"{signed} decisions, each signed by {report.site}")
    if report.num_clock_steps_back:
        console.print(f"the site's clock went back {report.num_clock_steps_back} times; the order of entries holds")
    if held is not None:
        console.print(f"it contains entry {held}, the newest that {against} holds: not rolled back behind it")


@app.command("heads")
def heads_command(
    folder: Annotated[Path, typer.Argument(help="a site's or the server's folder (it holds kit/)")],
) -> None:
    """Print, as JSON, the newest signed ledger head that a site or the server holds of each site.

    Example: almoner ledger heads build/demo-1/sites/hungary > heads.json
    """
    if (folder / LEDGER).exists():
        with open_ledger(folder) as ledger:
            held = ledger.held_heads()
    else:
        held = read_heads(folder / HEADS_FILE)
    print_json(heads_json(held))


@app.command("report")
def report_command(site: Annotated[Path, SITE_ARGUMENT], as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """Show each account's ε, which is the claim, beside its PLD ε and attack risk, which are not; then what drew on it.

    Training jobs and releases stand in one statement, in the order in which they were admitted.

    Example: almoner ledger report build/demo-1/sites/cleveland
    """
    from almoner.cli.ledger_reports import report_rows, report_table  # the accountants take seconds to import
    from almoner.cli.statements import statement_rows, statement_table

    with open_ledger(site) as ledger:
        rows, statements = report_rows(ledger), statement_rows(ledger)
    if as_json:
        print_json([{**row, "statement": statements[row["population"]]} for row in rows])
        return
    console.print(report_table(rows))
    for population, lines in statements.items():
        console.print(statement_table(population, lines))


@app.command("export")
def export_command(
    site: Annotated[Path, SITE_ARGUMENT],
    events: Annotated[bool, typer.Option("--events", help="what is charged, as dp_accounting events")] = False,
) -> None:
    """Print the whole book as JSON; with --events, what a third party composes anew to check the sums.

    Example: almoner ledger export build/demo-1/sites/cleveland --events > events.json
    """
    from almoner.cli.ledger_reports import export_events

    with open_ledger(site) as ledger:
        print_json(export_events(ledger) if events else [asdict(entry) for entry in ledger.entries()])


@app.command("backup")
def backup_command(
    site: Annotated[Path, SITE_ARGUMENT],
    target: Annotated[Path, typer.Argument(help="a new file; nothing is overwritten")],
) -> None:
    """Copy the ledger while jobs run; the copy is checked, and readable by you alone.

    To restore it: stop the site, copy it to ledger/ledger.sqlite, chmod 600, `almoner ledger verify`. That is a
    rollback, which forgets what was spent since: do it only when the ledger itself is lost, never to gain budget.
    Whoever holds a later head of the ledger can tell; only a copy that contains that head makes it good.

    Example: almoner ledger backup build/demo-1/sites/cleveland ledger-backup.sqlite
    """
    with open_ledger(site) as ledger:
        report = ledger.backup(target)
    console.print(f"ledger backed up to {target}: {report.num_entries} entries, head {report.head}")


@app.command("abandon")
def abandon_command(
    site: Annotated[Path, SITE_ARGUMENT],
    job_id: Annotated[str, JOB_ARGUMENT],
    reason: Annotated[str, REASON_OPTION],
) -> None:
    """Mark a started job as dead, as after a loss of power; it can do nothing more, and stays charged.

    Example: almoner ledger abandon build/demo-1/sites/cleveland 0b9f... --reason "the machine lost power"
    """
    with open_ledger(site) as ledger:
        ledger.abandon(job_id, reason)
    console.print(f"job {job_id} is abandoned; all of it stays charged until `almoner ledger reconcile`")


@app.command("reconcile")
def reconcile_command(
    site: Annotated[Path, SITE_ARGUMENT],
    job_id: Annotated[str, JOB_ARGUMENT],
    reason: Annotated[str, REASON_OPTION],
) -> None:
    """Settle an abandoned job: give back the steps that never touched data, for a public reason.

    Example: almoner ledger reconcile build/demo-1/sites/cleveland 0b9f... --reason "the machine lost power"
    """
    with open_ledger(site) as ledger:
        refund = ledger.reconcile(job_id, reason)
    console.print(f"job {job_id} is settled; {refund:.4f} was given back, in RDP at the account's order")


def _account_row(account: Any) -> dict[str, Any]:
    """Return an account's figures by name."""
    return {
        "population": account.population,
        "privacy_unit": account.privacy_unit,
        "epsilon_spent": account.epsilon_spent,
        "epsilon_cap": account.filter.epsilon_cap,
        "delta": account.filter.delta,
        "order": account.filter.order,
        "rdp_spent": account.rdp_spent,
        "rdp_budget": account.filter.budget,
    }


def _entry_row(entry: Entry) -> dict[str, Any]:
    """Return an entry with its payload read, and a line that says what it is about."""
    payload: dict[str, Any] = json.loads(entry.payload)
    receipt = payload.get("receipt", payload)
    about = [str(receipt[key]) for key in ("verdict", "job_name", "job_id", "step", "reason") if receipt.get(key)]
    if "charge" in payload:
        about.append(f"charge {payload['charge']:.4f}")
    if "refund" in payload:
        about.append(f"refund {payload['refund']:.4f}")
    if "populations" in payload:
        about.append(" and ".join(payload["populations"]))
    if "account" in payload:
        about.append(str(payload["account"]["population"]))
    return {
        "seq": entry.seq,
        "time": entry.time,
        "kind": entry.kind,
        "payload": payload,
        "hash": entry.hash,
        "summary": "  ".join(about) or str(payload.get("site", "")),
    }
