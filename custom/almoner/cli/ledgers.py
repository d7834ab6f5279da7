"""`almoner ledger`: read and check a site's book."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from almoner.cli.app import console, new_group, print_json
from almoner.flare.held_heads import HEADS_FILE, heads_json, read_heads, verify_against
from almoner.flare.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.privacy.ledger_entries import Entry

app = new_group("Read and check a site's privacy ledger.")

SITE_ARGUMENT = typer.Argument(help="the site's folder (it holds kit/ and ledger/), or the ledger file itself")
JSON_OPTION = typer.Option("--json", help="print JSON for scripts")


def open_ledger(path: Path) -> Ledger:
    """Open the ledger in a site's folder, or the file itself."""
    return Ledger.open(path / LEDGER if path.is_dir() else path)


@app.command("show")
def show_command(
    site: Annotated[Path, SITE_ARGUMENT],
    last: Annotated[int, typer.Option("--last", help="how many entries, newest last", min=1)] = 20,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show the accounts and the last entries.

    Example: almoner ledger show build/demo-1/sites/cleveland
    """
    with open_ledger(site) as ledger:
        accounts = [_account_row(account) for account in ledger.accounts()]
        entries = [_entry_row(entry) for entry in ledger.entries(last)]
        sequence, head = ledger.head()
    if as_json:
        print_json({"accounts": accounts, "entries": entries, "head": {"seq": sequence, "hash": head}})
        return
    table = Table("population", "unit", "ε spent", "ε cap", "δ", "order α", "of the cap in Rényi terms")
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
    if as_json:
        checked = {} if held is None else {"contains_head": held}
        print_json({"ok": True, "entries": report.num_entries, "head": {"seq": sequence, "hash": head}, **checked})
        return
    console.print(f"ledger verifies: {report.num_entries} entries, head {head}")
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
