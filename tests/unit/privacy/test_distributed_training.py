"""Shared training noise: its charge against the true divergence, its size, its grid, its plan."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from privacy_cases import gaussian, pure, shared

from almoner.errors import AlmonerError, DocumentError, PolicyViolation
from almoner.privacy.budget import charge_of, open_filter
from almoner.privacy.calibration import calibrate_noise
from almoner.privacy.distributed_training import (
    MIN_SITE_SIGMA,
    assumption_of,
    check_range,
    share_sigma,
    shared_step,
    shares_that_count,
)
from almoner.privacy.plan import JobPlan, epsilon_of_noise, job_events
from almoner.privacy.plans import largest_epsilon, plan_of
from almoner.privacy.pld import fixed_distribution, pld_epsilon
from almoner.privacy.rdp import rdp, rdp_epsilon
from almoner.privacy.risk import attack_risk
from almoner.protection.parties import Parties
from almoner.schema.aggregation import SecaggAggregation
from almoner.schema.job import DistributedDpPrivacy, JobSpec, NoPrivacy, TrainingPrivacy
from almoner.schema.receipt import DistributedGaussian, PublicData

PUBLIC = PublicData(kind="public_data", count=5)


@pytest.fixture
def spec(heart_spec: JobSpec) -> JobSpec:
    """The heart job with shared noise."""
    privacy = DistributedDpPrivacy(**heart_spec.privacy.model_dump() | {"mechanism": "distributed_dp"})
    aggregation = SecaggAggregation(kind="secagg", num_colluding_sites=1)
    return heart_spec.model_copy(update={"privacy": privacy, "aggregation": aggregation})


@pytest.fixture
def unprotected(heart_spec: JobSpec) -> JobSpec:
    """The heart job without privacy."""
    fields = {name: getattr(heart_spec.privacy, name) for name in TrainingPrivacy.model_fields}
    return heart_spec.model_copy(update={"privacy": NoPrivacy(mechanism="none", **fields), "releases": ()})


def divergence(first: np.ndarray, second: np.ndarray, order: int) -> float:
    """Return the Rényi divergence of two lists of chances."""
    kept = (first > 1e-290) & (second > 1e-290)
    logs = order * np.log(first[kept]) + (1 - order) * np.log(second[kept])
    return float(np.logaddexp.reduce(logs)) / (order - 1)


@pytest.mark.parametrize("shares", [2, 3])
@pytest.mark.parametrize("order", [2, 3, 8])
@pytest.mark.parametrize("q", [0.1, 0.5, 1.0])
def test_the_true_divergence_of_the_sampled_sum_is_the_charge(shares: int, order: int, q: float) -> None:
    """Shares of 64 steps are convolved exactly; a unit moves the total by 90 steps with probability q. Both ways."""
    moved, reach = 90, 1800
    one = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * MIN_SITE_SIGMA**2))
    one /= one.sum()
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one, "same")
    without, with_it = total[moved:], (1 - q) * total[moved:] + q * total[:-moved]
    claimed = rdp(shared(MIN_SITE_SIGMA * math.sqrt(shares) / moved, q), order)
    assert divergence(with_it, without, order) <= claimed * (1 + 1e-9)
    assert divergence(without, with_it, order) <= claimed * (1 + 1e-9)
    assert divergence(with_it, without, order) > 0.999 * claimed, "and it is no more than that"


def test_shares_of_less_than_a_step_are_not_a_discrete_gaussian() -> None:
    """Why shares have a least size: at 0.3 steps and order 3 the divergence is 1.25 of the continuous Gaussian's."""
    support = np.arange(-12, 13)
    one = np.exp(-(support**2) / (2 * 0.3**2))
    total = np.convolve(one / one.sum(), one / one.sum())
    claimed = rdp(shared(0.3 * math.sqrt(2), 1.0), 3)
    assert divergence(total[1:], total[:-1], 3) > 1.2 * claimed
    with pytest.raises(PolicyViolation, match="at least 64"):
        share_sigma(0.3, 1.0, 2)


@given(
    norm=st.floats(1e-3, 1e3), noise=st.floats(0.3, 1000), shares=st.integers(1, 48), dimension=st.integers(1, 10**7)
)
def test_the_grid_makes_rounding_small_and_shares_large_enough(
    norm: float, noise: float, shares: int, dimension: int
) -> None:
    step = shared_step(norm, noise, shares, dimension)
    assert math.frexp(step)[0] == 0.5
    assert step * math.sqrt(dimension) <= norm / 128
    sensitivity = norm / step + math.sqrt(dimension)
    sigma = share_sigma(noise, sensitivity, shares)
    assert sigma >= MIN_SITE_SIGMA
    assert sigma * math.sqrt(shares) >= noise * sensitivity


@pytest.mark.parametrize(("sites", "colluding"), [(3, 1), (4, 1), (10, 3), (50, 20)])
def test_shares_are_counted_by_the_threshold(sites: int, colluding: int, spec: JobSpec) -> None:
    assert shares_that_count(sites, colluding) == Parties(sites, colluding).threshold - colluding >= 2


def test_the_plan_names_what_it_rests_on(spec: JobSpec) -> None:
    plan = plan_of(spec, 4)
    assert [step.key for step in plan.steps[:2]] == ["train-0001", "train-0002"]
    (event,) = plan.steps[0].events
    assert isinstance(event, DistributedGaussian)
    assert event.assumption == "2 of 4 sites keep their noise, 1 may not, and no unit is at two sites"
    assert JobPlan.of_steps(plan.steps) == plan
    assert plan.noise_multiplier > job_events(_local(spec)).noise_multiplier, "a Rényi ε costs more noise than a PLD's"


def _local(spec: JobSpec) -> JobSpec:
    """Return the job with the noise of each site."""
    return spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"mechanism": "dp_sgd"})})


def test_the_noise_keeps_the_target_by_renyi_alone_and_no_less_would(spec: JobSpec) -> None:
    plan = plan_of(spec, 4)
    events = tuple(step.events[0] for step in plan.steps[: spec.rounds])
    assert rdp_epsilon(events, 1e-4) <= 1.0
    quieter = shared(plan.noise_multiplier - 0.001, 0.5, spec.num_steps)
    assert rdp_epsilon((quieter,), 1e-4) > 1.0


def test_shared_noise_has_no_pld() -> None:
    events = (shared(2.0, 0.5, 10), pure(0.1))
    assert pld_epsilon(events, 1e-5) == rdp_epsilon(events, 1e-5)
    assert pld_epsilon((gaussian(2.0, 0.5, 10),), 1e-5) < pld_epsilon((shared(2.0, 0.5, 10),), 1e-5)
    assert fixed_distribution(events) is None
    assert attack_risk(events) is None


@pytest.mark.parametrize("order", [2, 6, 32])
def test_it_is_charged_as_the_sampled_gaussian(order: int) -> None:
    assert charge_of((shared(3.0, 0.25, 7),), order) == charge_of((gaussian(3.0, 0.25, 7),), order) > 0


def test_public_data_is_charged_nothing(unprotected: JobSpec) -> None:
    plan = plan_of(unprotected, 4)
    assert len(plan.steps) == unprotected.rounds
    assert plan.noise_multiplier == 0.0 == plan.charge(6)
    assert JobPlan.of_steps(plan.steps) == plan
    assert pld_epsilon(plan.all_events, 1e-5) == rdp_epsilon(plan.all_events, 1e-5) == 0.0
    assert open_filter(3.0, 1e-4).epsilon_of(plan.charge(6)) == 0.0
    assert largest_epsilon(unprotected, 4, 0.0, 6) == 0.0


def test_public_data_beside_what_is_protected_changes_no_figure() -> None:
    events = (gaussian(2.0, 0.5, 10), pure(0.1))
    assert pld_epsilon((PUBLIC, *events), 1e-5) == pld_epsilon(events, 1e-5)
    assert rdp_epsilon((PUBLIC, *events), 1e-5) == rdp_epsilon(events, 1e-5)
    assert attack_risk((PUBLIC, *events)) == attack_risk(events)
    guess = attack_risk((PUBLIC,))
    assert guess is not None
    assert guess.advantage == 0.0


def test_the_largest_epsilon_that_fits_does(spec: JobSpec) -> None:
    book = open_filter(3.0, 1e-4)
    left = 0.3 * plan_of(spec, 4).charge(book.order)
    largest = largest_epsilon(spec, 4, left, book.order)
    assert 0 < largest < 1
    for epsilon, fits in ((largest, True), (round(largest + 0.01, 2), False)):
        asked = spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"target_epsilon": epsilon})})
        assert (plan_of(asked, 4).charge(book.order) <= left) == fits


def test_noise_gives_the_epsilon_that_gives_no_more_noise(spec: JobSpec, unprotected: JobSpec) -> None:
    assumption = assumption_of(spec, 4)
    epsilon = epsilon_of_noise(spec, 8.0, assumption)
    assert calibrate_noise(epsilon, 1e-4, 0.5, spec.num_steps, assumption) <= 8.0
    with pytest.raises(DocumentError, match="not for this job"):
        epsilon_of_noise(unprotected, 8.0)


def test_a_plan_needs_its_sites(spec: JobSpec) -> None:
    with pytest.raises(AlmonerError, match="use plan_of"):
        job_events(spec)
    with pytest.raises(DocumentError, match="2 sites"):
        plan_of(spec, 2)


def test_totals_that_could_wrap_are_refused() -> None:
    check_range(1e5, 1e6, 50, 10**9)
    with pytest.raises(PolicyViolation, match="could wrap"):
        check_range(1e8, 1e6, 50, 10**9)
    with pytest.raises(PolicyViolation, match="could wrap"):
        check_range(1.0, 1e15, 50, 1)
