"""A site with several accounts: the rule about disjoint populations, its facts, the lattice and the diff."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from admission_cases import DECLARATIONS, SITE, Case, policy

from almoner.admission.diff import policy_changes
from almoner.admission.history import History, JoinedDataset, datasets_to_join
from almoner.admission.lattice import loosenings
from almoner.admission.ledger_facts import LedgerFacts
from almoner.admission.request import SiteView
from almoner.admission.rule import Question, Verdict
from almoner.admission.rules import RULES
from almoner.privacy.ledger import Ledger
from almoner.schema.policy import SitePolicy
from almoner.schema.site import DatasetConfig, SiteConfig

ONE = DECLARATIONS.policies[SITE]
FIRST = ONE.accounts[0].model_dump(mode="json")
SECOND = FIRST | {"population": "registry", "epsilon_cap": 1.0, "delta": 1e-5}
TWO = policy(accounts=[FIRST, SECOND])
REGISTRY = DatasetConfig(
    population="registry",
    path="data/registry.csv",
    nominal_records=100,
    public=False,
    one_record_per_unit=True,
    unit_column="id",
)
CONFIG = SiteConfig(
    schema_version=1,
    site=SITE,
    datasets={
        "cardiology": DECLARATIONS.sites[SITE].datasets["cardiology"].model_copy(update={"unit_column": "id"}),
        "registry": REGISTRY,
    },
)
COMMITMENTS = {"cardiology": "a" * 64, "registry": "b" * 64}
JOINED = datasets_to_join(CONFIG, COMMITMENTS)


def ask(rule: str, view: SiteView) -> Verdict:
    case = Case()
    cost_free: Any = None  # the rules that are asked here do not look at the cost
    return next(found for found in RULES if found.name == rule).check(Question(case.request(), view, cost_free))


def view(**changes: Any) -> SiteView:
    history = History(populations=frozenset({f"{SITE}-cardiology", "registry"}), joined=JOINED)
    fields = {"policy": TWO, "config": CONFIG, "commitments": COMMITMENTS, "history": history}
    return replace(Case().site(), **(fields | changes))


class TestTheRule:
    def test_one_account_needs_no_join(self) -> None:
        assert ask("account.disjoint", Case().site()).status == "unset"
        assert Case().decide().verdict == "admitted"

    def test_a_join_of_the_data_as_it_is(self) -> None:
        found = ask("account.disjoint", view())
        assert found == Verdict(
            "holds", "populations registry and switzerland-cardiology were shown to be disjoint on the data as it is"
        )

    def test_no_join(self) -> None:
        found = ask("account.disjoint", view(history=History()))
        assert found.status == "broken"
        assert found.finding == (
            "populations registry and switzerland-cardiology were not shown to be disjoint since the data changed"
        )
        assert found.remedy == "the site's operator runs `almoner site join-units`"

    @pytest.mark.parametrize("name", ["cardiology", "registry"])
    @pytest.mark.parametrize("commitment", ["c" * 64, ""])
    def test_a_file_that_changed_since(self, name: str, commitment: str) -> None:
        changed = COMMITMENTS | {name: commitment}
        assert ask("account.disjoint", view(commitments=changed)).status == "broken"
        assert ask("account.disjoint", view(commitments=dict(list(changed.items())[:1]))).status == "broken"

    @pytest.mark.parametrize(
        "change", [{"population": f"{SITE}-cardiology"}, {"unit_column": "other"}, {"unit_column": None}]
    )
    def test_a_data_set_that_moved_or_whose_ids_are_others(self, change: dict[str, Any]) -> None:
        moved = CONFIG.model_copy(
            update={"datasets": CONFIG.datasets | {"registry": REGISTRY.model_copy(update=change)}}
        )
        assert ask("account.disjoint", view(config=moved)).status == "broken"

    def test_a_data_set_more_or_less(self) -> None:
        more = CONFIG.model_copy(update={"datasets": CONFIG.datasets | {"third": REGISTRY}})
        less = CONFIG.model_copy(update={"datasets": {"cardiology": CONFIG.datasets["cardiology"]}})
        for config in (more, less):
            commitments = dict.fromkeys(config.datasets, "b" * 64) | {"cardiology": "a" * 64}
            assert ask("account.disjoint", view(config=config, commitments=commitments)).status == "broken"

    def test_an_account_that_was_left_out_of_the_policy_still_counts(self) -> None:
        opened = frozenset({f"{SITE}-cardiology", "registry"})
        assert ask("account.disjoint", view(policy=ONE, history=History(populations=opened))).status == "broken"
        only = frozenset({f"{SITE}-cardiology"})
        assert ask("account.disjoint", view(policy=ONE, history=History(populations=only))).status == "unset"

    def test_unit_and_delta_are_those_of_the_jobs_own_account(self) -> None:
        own = replace(Case().site().account, population="registry")
        assert ask("account.delta", view()).status == "holds"
        assert ask("account.delta", view(account=own)).finding == "δ=0.0001 is above the account's 1e-05"


def test_the_facts_are_those_of_the_last_join(tmp_path: Path) -> None:
    facts = LedgerFacts()
    with Ledger.create(tmp_path / "ledger.sqlite", SITE) as ledger:
        for account in TWO.accounts:
            ledger.open_account(account)
        facts.read(ledger.entries())
        assert facts.history().populations == {f"{SITE}-cardiology", "registry"}
        assert facts.history().joined == {}
        for letter in "xa":
            joined = datasets_to_join(CONFIG, COMMITMENTS | {"cardiology": letter * 64})
            fields = {name: vars(found) for name, found in joined.items()}
            facts.read([ledger.record("disjoint", {"populations": ["a", "b"], "datasets": fields, "register": "0"})])
        assert facts.history().joined == JOINED
        assert facts.history().joined["registry"] == JoinedDataset("registry", "id", "b" * 64)
        ledger.verify()


class TestTheLattice:
    def with_second(self, **changes: Any) -> SitePolicy:
        return policy(accounts=[FIRST, SECOND | changes])

    @pytest.mark.parametrize(
        ("field", "value"), [("epsilon_cap", math.nextafter(3.0, 4)), ("delta", math.nextafter(1e-4, 1))]
    )
    def test_the_floor_holds_for_each_account(self, field: str, value: float) -> None:
        assert loosenings(self.with_second(epsilon_cap=3.0, delta=1e-4), DECLARATIONS.floor) == []
        [found] = loosenings(self.with_second(**{field: value}), DECLARATIONS.floor)
        assert (found.field, found.site_value) == (f"accounts.1.{field}", str(value))

    def test_both_at_once(self) -> None:
        looser = policy(accounts=[FIRST | {"epsilon_cap": 4.0}, SECOND | {"delta": 0.01}])
        assert [found.field for found in loosenings(looser, DECLARATIONS.floor)] == [
            "accounts.0.epsilon_cap",
            "accounts.1.delta",
        ]


class TestTheDiff:
    def shown(self, before: Any, after: Any) -> list[tuple[str, str, str]]:
        return [(change.effect, change.field, change.words) for change in policy_changes(before, after)]

    def test_the_order_of_accounts_means_nothing(self) -> None:
        assert self.shown(TWO, policy(accounts=[SECOND, FIRST])) == []

    def test_an_account_more_is_looser_and_one_less_tighter(self) -> None:
        new = ("looser", "accounts.registry", "a new account: ε at most 1.0, δ at most 1e-05")
        assert self.shown(ONE, TWO) == [new]
        assert self.shown(TWO, ONE) == [("tighter", "accounts.registry", "this account is gone")]

    def test_accounts_are_named_by_population(self) -> None:
        after = policy(accounts=[SECOND | {"epsilon_cap": 2.0}, FIRST], limits={"max_rounds": 20})
        assert self.shown(TWO, after) == [
            ("looser", "accounts.registry.epsilon_cap", "from at most 1.0 to at most 2.0"),
            ("tighter", "limits.max_rounds", "from at most 50 to at most 20"),
        ]

    def test_with_a_floor(self) -> None:
        fields = {field for _, field, _ in self.shown(DECLARATIONS.floor, TWO)}
        assert {"accounts.1.epsilon_cap", "accounts.1.delta"} <= fields
        assert ("looser", "accounts.1.delta", "from at most 1e-05 to at most 0.0001") in self.shown(
            TWO, DECLARATIONS.floor
        )
