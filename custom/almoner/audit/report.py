"""A verified pack as one page of HTML: nothing is loaded from anywhere, no script runs, and it prints.

Every figure on it is one that `verify_pack` recomputed, or is marked as what somebody states.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, TemplateError

from almoner.audit import charts
from almoner.audit import parts as names
from almoner.audit.attack_tables import MAX_TABLES, attack_tables
from almoner.audit.crosswalk import load_crosswalk
from almoner.audit.inputs import read_outcome
from almoner.audit.ledger_extract import ledger_claims
from almoner.audit.log_entries import LogEntry
from almoner.audit.log_facts import LogEntries, LogHead
from almoner.audit.pack_verify import Verdict
from almoner.audit.strict_json import parse_json, printable
from almoner.errors import EvidenceError

MAX_ROUNDS_SHOWN = 60


def render_report(verdict: Verdict) -> str:
    """Return the page of a pack that verified.

    Raises:
        EvidenceError: a statement has not the fields that the page shows.
    """
    folder = files("almoner.audit") / "templates"
    template = _environment().from_string((folder / "report.html.jinja").read_text(encoding="utf-8"))
    style = (folder / "report.css").read_text(encoding="utf-8")
    try:
        return template.render(style=style, anchor=_anchor, **_view(verdict)) + "\n"
    except (TemplateError, LookupError, TypeError, ValueError, AttributeError):
        raise EvidenceError(
            "report: a statement is not as this release writes it → use the release of the pack"
        ) from None


def _environment() -> Environment:
    """Return how templates are filled in: every text is escaped, and what is not there is an error."""
    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )


def _shown(value: Any) -> Any:
    """Return a value as it is put into the page."""
    return printable(value) if type(value) is str else value


def _view(verdict: Verdict) -> dict[str, Any]:
    """Return what the template shows."""
    accounts, series = _accounts(verdict)
    decisions = _decisions(verdict)
    statements = {name: statement.predicate for name, statement in verdict.statements.items()}
    privacy = {site: statements[names.of_site(site, names.PRIVACY)] for site in verdict.books}
    first = next(iter(privacy.values()))
    return {
        "index": verdict.pack.index,
        "checks": verdict.checks,
        "gaps": verdict.gaps,
        "accounts": accounts,
        "account_bars": charts.bars([(_site_of(a), a["epsilon_spent"], a["epsilon_cap"]) for a in accounts]),
        "commit_lines": charts.lines(series),
        "largest": max(accounts, key=lambda account: float(account["epsilon_spent"]), default=None),
        "privacy": privacy,
        "mechanisms": {site: _mechanisms(found) for site, found in privacy.items()},
        "trust": sorted({found["stated"]["trust_model"] for found in privacy.values()}),
        "decisions": decisions,
        "num_refused": sum(len(row["sites"]) for row in decisions if row["verdict"] == "refused"),
        "num_admitted": sum(bool(found["recomputed"]["admitted"]) for found in privacy.values()),
        "crosswalk": load_crosswalk(),
        "parts": [(name, hashlib.sha256(content).hexdigest()) for name, content in sorted(verdict.pack.parts.items())],
        "present": frozenset(verdict.pack.parts),
        "stated": next((claim for claim in privacy.values() if claim["recomputed"]["admitted"]), first)["stated"],
        "server": None if verdict.pack.server is None else _server_view(verdict, statements),
        "chart": {"width": charts.WIDTH, "height": charts.HEIGHT, "pad": charts.PAD},
    }


def _accounts(verdict: Verdict) -> tuple[list[dict[str, Any]], list[tuple[str, list[float]]]]:
    """Return each account with the number of its commits, and its ε after each of them."""
    accounts, series = [], []
    for site, book in verdict.books.items():
        claims = ledger_claims(book, recompute=True)
        for account in claims["accounts"]:
            own = [row["epsilon_committed"] for row in claims["commits"] if row["population"] == account["population"]]
            accounts.append({"site": site, **account, "commits": len(own)})
            series.append((account["population"], own))
    return accounts, series


def _site_of(account: dict[str, Any]) -> str:
    """Return an account's label."""
    return str(account["population"])[:28]


def _mechanisms(claim: dict[str, Any]) -> list[str]:
    """Return a job's mechanisms, with what they are charged by."""
    symbols = {"noise_multiplier": "σ", "sampling_prob": "q", "epsilon": "ε", "rho": "ρ"}
    found = []
    for event in claim["recomputed"].get("mechanisms", ()):
        figures = ", ".join(f"{symbol}={event[key]:g}" for key, symbol in symbols.items() if key in event)
        found.append(f"{event['count']} × {event['kind'].replace('_', ' ')}" + (f" ({figures})" if figures else ""))
    return found


def _decisions(verdict: Verdict) -> list[dict[str, Any]]:
    """Return all decisions of all sites, equal ones of several sites in one row, in order of time."""
    merged: dict[tuple[str, str, str], dict[str, Any]] = {}
    for site in verdict.books:
        statement = verdict.statements[names.of_site(site, names.DECISIONS)]
        for row in statement.predicate["recomputed"]["decisions"]:
            found = [f"{broken['rule']}: {broken['finding']}" for broken in row["violations"] or ()]
            key = (row["job_id"] or "", row["verdict"], json.dumps(found))
            merged.setdefault(key, {**row, "findings": found, "sites": []})["sites"].append(site)
    return sorted(merged.values(), key=lambda row: (row["time"], row["job_id"] or ""))


def _server_view(verdict: Verdict, statements: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what only a consortium's pack has."""
    pack = verdict.pack
    outcome = read_outcome(pack.parts[names.OUTCOME], names.OUTCOME) if names.OUTCOME in pack.parts else {"rounds": []}
    head = LogHead.model_validate_json(pack.part(names.LOG_HEAD))
    entries = LogEntries.model_validate_json(pack.part(names.LOG_ENTRIES)).entries
    kinds = Counter(LogEntry.from_bytes(entry.entry.encode(), names.LOG_ENTRIES).kind for entry in entries)
    run, shown = statements[names.RUN], outcome["rounds"][:MAX_ROUNDS_SHOWN]
    tables = attack_tables(_report_of(pack.parts))
    return {
        "run": run["recomputed"],
        "stated": run["stated"],
        "rounds": shown,
        "num_rounds": len(outcome["rounds"]),
        "missed": {
            site: [record["round"] for record in shown if site not in record["contributors"]] for site in verdict.books
        },
        "log": head.signed.head,
        "cosigned": sorted(head.cosignatures),
        "log_kinds": sorted(kinds.items()),
        "certificates": _with_days(statements[names.CERTIFICATES], pack.index.made),
        "components": statements[names.SBOM]["components"],
        "vulnerabilities": statements[names.VULNERABILITIES],
        "threats": statements[names.THREATS],
        "attacks": statements[names.ATTACKS],
        "attack_tables": tables[:MAX_TABLES],
        "more_tables": max(0, len(tables) - MAX_TABLES),
        "dpia": statements[names.DPIA],
    }


def _report_of(parts: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the red-team report of a pack, empty if there is none."""
    return parse_json(parts[names.REDTEAM], names.REDTEAM) if names.REDTEAM in parts else {}


def _with_days(certificates: dict[str, Any], made: str) -> list[dict[str, Any]]:
    """Return the certificates with the days that each was still valid when the pack was made."""
    now = datetime.fromisoformat(made)
    return [{**row, "days": (datetime.fromisoformat(row["not_after"]) - now).days} for row in certificates["issued"]]


def _anchor(name: str) -> str:
    """Return the id of a part's row on the page."""
    return "part-" + "".join(char if char.isalnum() else "-" for char in name)
