import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_cases import gaussian, pure

from almoner.errors import DocumentError
from almoner.privacy.budget import charge_of, open_filter
from almoner.privacy.calibration import calibrate_noise
from almoner.privacy.plan import JobPlan, PlannedStep, epsilon_of_noise, job_events, largest_target_epsilon
from almoner.schema.job import JobSpec


def spec(**changes: Any) -> JobSpec:
    privacy = {
        "unit": "patient",
        "neighboring_relation": "add_or_remove_one",
        "mechanism": "dp_sgd",
        "target_epsilon": changes.pop("target_epsilon", 1.0),
        "target_delta": 1e-4,
        "max_grad_norm": 1.0,
        "sampling_prob": changes.pop("sampling_prob", 0.5),
    }
    fields: dict[str, Any] = {
        "schema_version": 1,
        "kind": "training",
        "name": "heart-disease",
        "study": "cardiology",
        "purpose": "coronary disease from routine tests",
        "workload": "heart_disease",
        "dataset": "cardiology",
        "rounds": 20,
        "min_sites": 3,
        "training": {"local_steps": changes.pop("local_steps", 1), "learning_rate": 1.0},
        "privacy": privacy,
        "aggregation": {"kind": "he", "num_colluding_sites": 1},
        "releases": ({"kind": "accuracy", "epsilon": 0.1},),
    }
    return JobSpec.model_validate({**fields, **changes})


def test_the_heart_job() -> None:
    plan = job_events(spec())
    assert plan.noise_multiplier == 7.297
    assert [step.key for step in plan.steps] == [*(f"train-{i:04d}" for i in range(1, 21)), "accuracy"]
    assert plan.steps[0] == PlannedStep("train-0001", (gaussian(7.297, 0.5),))
    assert plan.steps[-1] == PlannedStep("accuracy", (pure(0.1),))
    assert plan.all_events == (gaussian(7.297, 0.5, 20), pure(0.1))


def test_a_round_is_charged_for_all_its_local_steps() -> None:
    plan = job_events(spec(rounds=4, local_steps=5))
    assert plan.noise_multiplier == 7.297
    assert plan.steps[0].events == (gaussian(7.297, 0.5, 5),)
    assert plan.all_events == (gaussian(7.297, 0.5, 20), pure(0.1))


def test_the_jobs_charge_splits_exactly_into_its_steps() -> None:
    plan = job_events(spec())
    assert plan.charge(8) == sum(charge_of(step.events, 8) for step in plan.steps)
    assert plan.charge(8) == pytest.approx(0.38927 + 0.03672, abs=1e-5)


def test_a_job_without_rounds_has_only_its_releases() -> None:
    plan = job_events(spec(rounds=0))
    assert (plan.noise_multiplier, [step.key for step in plan.steps]) == (0.0, ["accuracy"])
    assert job_events(spec(rounds=0, releases=())).steps == ()


def test_the_most_rounds_keep_distinct_sorted_keys() -> None:
    keys = [step.key for step in job_events(spec(rounds=10_000, sampling_prob=0.01)).steps]
    assert len(set(keys)) == 10_001
    assert keys[9999] == "train-10000"


def _fits(job: JobSpec, target: float, left: float, order: int) -> bool:
    privacy = job.privacy
    sigma = calibrate_noise(target, privacy.target_delta, privacy.sampling_prob, job.num_steps)
    training = job.rounds * charge_of((gaussian(sigma, privacy.sampling_prob, job.training.local_steps),), order)
    releases = sum(charge_of((pure(release.epsilon),), order) for release in job.releases)
    return training + releases <= left


@settings(deadline=None, max_examples=5)
@given(st.floats(min_value=0.0, max_value=1.6986), st.sampled_from([6, 8]), st.booleans())
def test_the_largest_target_fits_and_the_next_does_not(left: float, order: int, with_release: bool) -> None:
    job = spec() if with_release else spec(releases=())
    largest = largest_target_epsilon(job, left, order)
    assert largest == pytest.approx(round(largest, 2), abs=1e-12)
    if largest > 0:
        assert _fits(job, largest, left, order)
    assert not _fits(job, round(largest + 0.01, 2), left, order)


def test_the_figure_of_an_almost_full_account() -> None:
    assert largest_target_epsilon(spec(), 0.0834 + 0.0368, 8) == 0.42


def test_what_is_found_to_fit_is_admitted_by_the_filter() -> None:
    account = open_filter(3.0, 1e-4)
    spent = 5 * job_events(spec()).charge(account.order)
    largest = largest_target_epsilon(spec(), account.budget - spent, account.order)
    assert 0 < largest < 1.0
    assert account.fits(spent, job_events(spec(target_epsilon=largest)).charge(account.order))
    assert not account.fits(spent, job_events(spec(target_epsilon=round(largest + 0.01, 2))).charge(account.order))


@pytest.mark.parametrize("left", [0.0, -1.0, 1e-6, 0.0285, math.nan])
def test_nothing_fits_when_the_release_alone_does_not(left: float) -> None:
    assert largest_target_epsilon(spec(), left, 6) == 0.0


def test_a_job_that_does_not_train_has_no_target() -> None:
    assert largest_target_epsilon(spec(rounds=0), 1.0, 6) == 0.0


def test_plenty_of_budget_ends_at_the_schemas_maximum() -> None:
    assert largest_target_epsilon(spec(rounds=1, releases=()), 1e6, 6) == 100.0


def test_a_plan_of_reserved_steps_is_the_plan(heart_spec: JobSpec) -> None:
    plan = job_events(heart_spec)
    assert JobPlan.of_steps(plan.steps) == plan
    assert JobPlan.of_steps(()) == JobPlan(0.0, ())


class TestNoiseFirst:
    @settings(max_examples=15, deadline=None)
    @given(ticks=st.integers(300, 40_000), steps=st.sampled_from([1, 20, 300]), q=st.sampled_from([0.01, 0.5, 1.0]))
    def test_a_job_calibrated_to_the_answer_needs_no_more_noise(self, ticks: int, steps: int, q: float) -> None:
        asked = ticks / 1000
        epsilon = epsilon_of_noise(spec(rounds=steps, sampling_prob=q), asked)
        assert calibrate_noise(epsilon, 1e-4, q, steps) <= asked
        if epsilon > 0.01:
            assert calibrate_noise(epsilon - 0.01, 1e-4, q, steps) > asked or asked == 0.3

    def test_noise_of_a_target_gives_the_target_back(self) -> None:
        assert epsilon_of_noise(spec(rounds=20), job_events(spec(rounds=20)).noise_multiplier) == 1.0

    @pytest.mark.parametrize("noise", [0.0, 0.299, -1.0, math.nan, math.inf, 1e7])
    def test_noise_out_of_range_is_one_clear_line(self, noise: float) -> None:
        with pytest.raises(DocumentError, match="noise multiplier"):
            epsilon_of_noise(spec(rounds=20), noise)

    def test_a_job_that_does_not_train_has_no_noise(self) -> None:
        with pytest.raises(DocumentError, match="with rounds"):
            epsilon_of_noise(spec(rounds=0), 1.0)
