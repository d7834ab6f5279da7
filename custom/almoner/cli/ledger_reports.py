"""What a ledger's accounts amount to, in three figures that are never mixed; and their events for a third party."""

from collections.abc import Iterable
from typing import Any

from rich.table import Column, Table

from almoner.privacy.dp_events import composed, dump
from almoner.privacy.events import has_loss_distribution
from almoner.privacy.ledger import AccountState, Ledger
from almoner.privacy.pld import pld_epsilon
from almoner.privacy.risk import FALSE_POSITIVE_RATES, attack_risk
from almoner.schema.receipt import PrivacyEvent

AS_IF_FIXED = "as if fixed in advance"


def report_rows(ledger: Ledger) -> list[dict[str, Any]]:
    """Return each account's claim, and beside it what PLD and attacks would say of fixed mechanisms."""
    return [_report_row(ledger, account) for account in ledger.accounts()]


def _report_row(ledger: Ledger, account: AccountState) -> dict[str, Any]:
    """Return one account's figures for all that is reserved or committed."""
    events = ledger.events(account.population)
    risk = attack_risk(events)
    return {
        "population": account.population,
        "privacy_unit": account.privacy_unit,
        "neighboring_relation": account.neighboring_relation,
        "delta": account.filter.delta,
        "epsilon_cap": account.filter.epsilon_cap,
        "claim": {"epsilon_spent": account.epsilon_spent, "epsilon_committed": account.epsilon_committed},
        AS_IF_FIXED: {
            "pld_epsilon": pld_epsilon(events, account.filter.delta),
            "attack_advantage": risk.advantage if risk else None,
            "attack_true_positive_rates": (
                dict(zip(map(str, FALSE_POSITIVE_RATES), risk.true_positive_rates, strict=True)) if risk else None
            ),
        },
    }


def report_table(rows: list[dict[str, Any]]) -> Table:
    """Return the figures, a column for each account; what is not the claim says so."""
    table = Table("", *(Column(row["population"], overflow="fold") for row in rows))
    table.caption = f"* {AS_IF_FIXED}: no claim, since jobs are chosen after results of others are known"
    for cells in zip(*(_report_cells(row) for row in rows), strict=True):
        table.add_row(cells[0][0], *(value for _, value in cells))
    return table


def _report_cells(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return one account's figures with their names."""
    fixed = row[AS_IF_FIXED]
    advantage, found = fixed["attack_advantage"], fixed["attack_true_positive_rates"]
    return [
        ("unit", row["privacy_unit"]),
        ("δ", f"{row['delta']:g}"),
        ("ε, the claim", f"{row['claim']['epsilon_spent']:.3f}"),
        ("ε cap", f"{row['epsilon_cap']:g}"),
        ("ε by PLD*", f"{fixed['pld_epsilon']:.3f}"),
        ("attack advantage*", "not computed" if found is None else f"{100 * advantage:.1f} %"),
        *(
            (
                f"units found at {100 * rate:g} % false alarms*",
                "not computed" if found is None else f"{100 * found[str(rate)]:.2f} %",
            )
            for rate in FALSE_POSITIVE_RATES
        ),
    ]


def export_events(ledger: Ledger) -> list[dict[str, Any]]:
    """Return what each account is charged for, in dp_accounting's words, with the sums that it must give.

    `accountants` names those whose ε is valid for these events: ρ-zCDP and shared noise have no privacy loss
    distribution, and the Gaussian that stands for them has one that is too small. `assumptions`: what charges rest on.
    """
    return [
        {
            "population": account.population,
            "privacy_unit": account.privacy_unit,
            "neighboring_relation": account.neighboring_relation,
            "delta": account.filter.delta,
            "order": account.filter.order,
            "rdp_budget": account.filter.budget,
            "spent": _exported(ledger.events(account.population), account.rdp_spent, account.epsilon_spent),
            "committed": _exported(
                ledger.events(account.population, committed_only=True), account.rdp_committed, account.epsilon_committed
            ),
        }
        for account in ledger.accounts()
    ]


def _exported(events: Iterable[PrivacyEvent], rdp: float, epsilon: float) -> dict[str, Any]:
    """Return events, what they cost, and how that may be computed."""
    listed = tuple(events)
    return {
        "event": dump(composed(listed)),
        "accountants": ["rdp", "pld"] if all(map(has_loss_distribution, listed)) else ["rdp"],
        "assumptions": sorted({getattr(event, "assumption", "") for event in listed} - {""}),
        "rdp": rdp,
        "epsilon": epsilon,
    }
