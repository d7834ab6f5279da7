"""What a ledger's accounts amount to, in three figures that are never mixed; and their events for a third party."""

from typing import Any

from rich.table import Table

from almoner.privacy.dp_events import composed, dump
from almoner.privacy.ledger import AccountState, Ledger
from almoner.privacy.pld import pld_epsilon
from almoner.privacy.risk import FALSE_POSITIVE_RATES, attack_risk

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
    """Return the figures side by side; what is not the claim says so."""
    rates = [f"found, {100 * rate:g} % false alarms*" for rate in FALSE_POSITIVE_RATES]
    table = Table("population", "unit", "δ", "ε, the claim", "ε cap", "ε by PLD*", "attack advantage*", *rates)
    table.caption = f"* {AS_IF_FIXED}: no claim, since jobs are chosen after results of others are known"
    for row in rows:
        fixed = row[AS_IF_FIXED]
        found = fixed["attack_true_positive_rates"]
        table.add_row(
            row["population"],
            row["privacy_unit"],
            f"{row['delta']:g}",
            f"{row['claim']['epsilon_spent']:.3f}",
            f"{row['epsilon_cap']:g}",
            f"{fixed['pld_epsilon']:.3f}",
            "not computed" if found is None else f"{100 * fixed['attack_advantage']:.1f} %",
            *("not computed" if found is None else f"{100 * found[str(rate)]:.2f} %" for rate in FALSE_POSITIVE_RATES),
        )
    return table


def export_events(ledger: Ledger) -> list[dict[str, Any]]:
    """Return what each account is charged for, in dp_accounting's words, with the sums that it must give."""
    return [
        {
            "population": account.population,
            "privacy_unit": account.privacy_unit,
            "neighboring_relation": account.neighboring_relation,
            "delta": account.filter.delta,
            "order": account.filter.order,
            "rdp_budget": account.filter.budget,
            "spent": {
                "event": dump(composed(ledger.events(account.population))),
                "rdp": account.rdp_spent,
                "epsilon": account.epsilon_spent,
            },
            "committed": {
                "event": dump(composed(ledger.events(account.population, committed_only=True))),
                "rdp": account.rdp_committed,
                "epsilon": account.epsilon_committed,
            },
        }
        for account in ledger.accounts()
    ]
