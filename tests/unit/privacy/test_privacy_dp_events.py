"""Events as data, and dp_accounting as the third party that composes an exported ledger anew."""

import json
import math
from typing import Any

import dp_accounting
import pytest
from dp_accounting.dp_event import (
    ComposedDpEvent,
    DiscreteLaplaceDpEvent,
    DpEvent,
    GaussianDpEvent,
    LaplaceDpEvent,
    NonPrivateDpEvent,
    PoissonSampledDpEvent,
    RandomizedResponseDpEvent,
    SelfComposedDpEvent,
)
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_cases import POPULATION, TREE, account, gaussian, job_id, pure, reservation, shared, steps

from almoner.errors import DocumentError
from almoner.privacy.dp_events import composed, dump, load, to_dp_event
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import PlannedStep
from almoner.privacy.pld import COARSE_GRID, FINE_GRID, pld_epsilon
from almoner.schema.base import canonical_json
from almoner.schema.receipt import PublicData

GAUSSIAN = {"class": "GaussianDpEvent", "noise_multiplier": 2.0}
sigmas = st.floats(min_value=0.3, max_value=1e4)
probs = st.floats(min_value=1e-6, max_value=1.0)
events = st.lists(
    st.builds(gaussian, sigmas, probs, st.integers(1, 1000))
    | st.builds(shared, sigmas, probs, st.integers(1, 1000))
    | st.just(PublicData(kind="public_data", count=3))
    | st.builds(pure, st.floats(min_value=1e-6, max_value=10.0), st.integers(1, 50)),
    max_size=4,
)


def test_an_event_keeps_its_class() -> None:
    assert dump(to_dp_event(gaussian(2.0, 0.25, 7))) == {
        "class": "SelfComposedDpEvent",
        "count": 7,
        "event": {"class": "PoissonSampledDpEvent", "sampling_probability": 0.25, "event": GAUSSIAN},
    }
    assert dump(to_dp_event(gaussian(2.0, 1.0)))["event"] == GAUSSIAN
    assert dump(to_dp_event(pure(0.1)))["event"] == {
        "class": "DiscreteLaplaceDpEvent",
        "noise_parameter": 0.1,
        "sensitivity": 1,
    }
    assert dump(to_dp_event(shared(2.0, 1.0)))["event"] == GAUSSIAN
    assert dump(to_dp_event(PublicData(kind="public_data", count=7))) == {"class": "NoOpDpEvent"}


@settings(deadline=None)
@given(events)
def test_what_was_written_reads_back_as_the_same_event_and_the_same_bytes(released: list[Any]) -> None:
    event = composed(released)
    text = canonical_json(dump(event))
    assert load(json.loads(text)) == event
    assert canonical_json(dump(load(json.loads(text)))) == text


@pytest.mark.parametrize(
    "event",
    [
        NonPrivateDpEvent(),
        LaplaceDpEvent(1.0),
        RandomizedResponseDpEvent(0.5, 2),
        GaussianDpEvent(0.0),
        GaussianDpEvent(-1.0),
        GaussianDpEvent(math.nan),
        GaussianDpEvent(math.inf),
        DiscreteLaplaceDpEvent(0.0, 1),
        DiscreteLaplaceDpEvent(0.1, 2),
        PoissonSampledDpEvent(0.0, GaussianDpEvent(1.0)),
        PoissonSampledDpEvent(1.0000001, GaussianDpEvent(1.0)),
        PoissonSampledDpEvent(math.nan, GaussianDpEvent(1.0)),
        PoissonSampledDpEvent(0.5, DiscreteLaplaceDpEvent(0.1, 1)),
        PoissonSampledDpEvent(0.5, PoissonSampledDpEvent(0.5, GaussianDpEvent(1.0))),
        SelfComposedDpEvent(GaussianDpEvent(1.0), 0),
        SelfComposedDpEvent(GaussianDpEvent(1.0), True),
        SelfComposedDpEvent(GaussianDpEvent(1.0), 2.0),
        SelfComposedDpEvent(NonPrivateDpEvent(), 2),
        ComposedDpEvent([GaussianDpEvent(1.0), NonPrivateDpEvent()]),
        ComposedDpEvent([ComposedDpEvent([ComposedDpEvent([SelfComposedDpEvent(GaussianDpEvent(1.0), 2)])])]),
    ],
)
def test_an_event_that_is_not_on_the_list_or_has_no_finite_cost_is_refused(event: DpEvent) -> None:
    with pytest.raises(DocumentError, match="→"):
        dump(event)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "GaussianDpEvent",
        {},
        {"noise_multiplier": 1.0},
        {"class": "os.system", "command": "true"},
        {"class": ["GaussianDpEvent"], "noise_multiplier": 1.0},
        {"class": "GaussianDpEvent"},
        {**GAUSSIAN, "more": 1},
        {"class": "GaussianDpEvent", "noise_multiplier": "2.0"},
        {"class": "GaussianDpEvent", "noise_multiplier": True},
        {"class": "GaussianDpEvent", "noise_multiplier": 10**400},
        {"class": "SelfComposedDpEvent", "event": GAUSSIAN, "count": 10**13},
        {"class": "ComposedDpEvent", "events": GAUSSIAN},
        {"class": "SelfComposedDpEvent", "event": [GAUSSIAN], "count": 1},
    ],
)
def test_values_that_describe_no_such_event_are_refused(value: object) -> None:
    with pytest.raises(DocumentError, match="→"):
        load(value)


@pytest.fixture
def book(ledger: Ledger) -> Ledger:
    """Jobs of different noise, with releases; one settled in the middle, one reserved, one of another account."""
    ledger.open_account(account(population="other"))
    mixes = [(7.297, 0.5, 20, 0.1), (15.551, 0.5, 20, 0.05), (20.0, 1.0, 5, 0.2), (12.0, 0.1, 30, 0.1)]
    for number, (sigma, q, rounds, epsilon) in enumerate(mixes, start=1):
        release = PlannedStep("accuracy", (pure(epsilon),))
        ledger.reserve(reservation(number, (*steps(rounds, gaussian(sigma, q)), release)))
    for number in (1, 2):
        ledger.start(job_id(number), TREE)
        for step in steps(13):
            ledger.commit(job_id(number), step.key)
    ledger.settle(job_id(1), "the job ended")
    ledger.reserve(reservation(9, steps(3), population="other"))
    return ledger


def recomposed_rdp(event: DpEvent, order: int) -> float:
    """Compose with dp_accounting alone; it knows integer Laplace only by its worst case, randomised response."""
    removal = RdpAccountant(orders=[order])
    replacement = RdpAccountant(orders=[order], neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    for each in event.events:
        if isinstance(each.event, DiscreteLaplaceDpEvent):
            flipped = 2 / (1 + math.exp(each.event.noise_parameter))
            replacement.compose(RandomizedResponseDpEvent(flipped, 2), each.count)
        else:
            removal.compose(each)
    return float(removal.rdp[0] + replacement.rdp[0])


@pytest.mark.parametrize("committed_only", [False, True])
def test_dp_accounting_composes_the_exported_ledger_to_the_same_sum(book: Ledger, committed_only: bool) -> None:
    state = book.account(POPULATION)
    exported = load(json.loads(canonical_json(dump(composed(book.events(POPULATION, committed_only))))))
    ours = state.rdp_committed if committed_only else state.rdp_spent
    theirs = recomposed_rdp(exported, state.filter.order)
    assert theirs <= ours <= theirs + 1e-6


@pytest.mark.parametrize("committed_only", [False, True])
def test_dp_accounting_composes_the_exported_ledger_to_the_same_pld(book: Ledger, committed_only: bool) -> None:
    charged = book.events(POPULATION, committed_only)
    exported = load(json.loads(canonical_json(dump(composed(charged)))))
    ours = pld_epsilon(charged, 1e-4)
    accountant = PLDAccountant(value_discretization_interval=COARSE_GRID if ours >= 1 else FINE_GRID)
    theirs = accountant.compose(exported).get_epsilon(1e-4)
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_the_events_of_an_account_are_its_own_and_counted(book: Ledger) -> None:
    assert book.events("other") == (gaussian(count=3),)
    assert book.events("other", committed_only=True) == ()
    committed = {(e.noise_multiplier, e.count) for e in book.events(POPULATION, committed_only=True)}
    assert committed == {(7.297, 13), (15.551, 13)}
    reserved = {e.noise_multiplier: e.count for e in book.events(POPULATION) if e.kind == "sampled_gaussian"}
    assert reserved == {7.297: 13, 15.551: 20, 20.0: 5, 12.0: 30}
