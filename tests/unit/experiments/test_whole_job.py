"""Whole jobs in one process: their noise, their rule, their steps; and the arms that they are compared with."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from almoner.errors import PolicyViolation
from almoner.experiments import baselines
from almoner.experiments.arms import Laboratory, Run, Seeds
from almoner.experiments.public import PublicSite, load_public_sites, pool
from almoner.experiments.simulate import TrainingPlan, federation_grid, simulate_federation
from almoner.experiments.whole_job import combine_of, simulate_job
from almoner.privacy.plans import plan_of
from almoner.schema.aggregation import RobustAggregation, SecaggAggregation
from almoner.schema.declarations import Declarations
from almoner.schema.job import DistributedDpPrivacy, JobSpec, NoPrivacy
from almoner.training.flat import flatten
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.heart_disease import HeartDisease

TASK = HeartDisease()


@pytest.fixture(scope="module")
def spec(heart_spec: JobSpec) -> JobSpec:
    return heart_spec.model_copy(update={"rounds": 3, "releases": ()})


@pytest.fixture(scope="module")
def sites(spec: JobSpec, declarations: Declarations, request: pytest.FixtureRequest) -> dict[str, PublicSite]:
    return load_public_sites(spec, declarations, Path(request.config.cache.mkdir("almoner-data")))


@pytest.fixture(scope="module")
def laboratory(spec: JobSpec, sites: dict[str, PublicSite]) -> Laboratory:
    return Laboratory.of(spec, sites)


def without_privacy(spec: JobSpec, **training: float) -> JobSpec:
    """Return a job in which nothing is random."""
    privacy = NoPrivacy(
        mechanism="none",
        unit="patient",
        neighboring_relation="add_or_remove_one",
        max_grad_norm=1.0,
        sampling_prob=1.0,
    )
    return spec.model_copy(update={"privacy": privacy, "training": spec.training.model_copy(update=training)})


def distributed(spec: JobSpec) -> JobSpec:
    privacy = DistributedDpPrivacy(**(spec.privacy.model_dump() | {"mechanism": "distributed_dp"}))
    return spec.model_copy(
        update={"privacy": privacy, "aggregation": SecaggAggregation(kind="secagg", num_colluding_sites=1)}
    )


def run(spec: JobSpec, sites: Mapping[str, PublicSite], seed: int = 0) -> np.ndarray:
    return simulate_job(spec, sites, rng=UnsafeSeededRandom(seed), seed=seed)


def test_the_sites_are_those_of_the_job_in_its_order(sites: dict[str, PublicSite]) -> None:
    assert tuple(sites) == ("cleveland", "hungary", "switzerland", "va-long-beach")
    assert [site.data.train.num_units for site in sites.values()] == [217, 169, 29, 88]


def test_a_private_job_has_the_noise_of_its_plan(spec: JobSpec, sites: dict[str, PublicSite]) -> None:
    noise = plan_of(spec, 4).noise_multiplier
    rng = UnsafeSeededRandom(3)
    expected = simulate_federation(TASK, sites, TrainingPlan.of(spec), noise_multiplier=noise, rng=rng)
    assert np.array_equal(run(spec, sites, 3), expected)
    assert not np.array_equal(run(spec, sites, 4), expected)


def test_nothing_is_random_without_privacy(spec: JobSpec, sites: dict[str, PublicSite]) -> None:
    plain = without_privacy(spec)
    assert np.array_equal(run(plain, sites, 1), run(plain, sites, 2))


def test_the_jobs_own_knobs_count(spec: JobSpec, sites: dict[str, PublicSite]) -> None:
    """Momentum makes the same gradient go further; a pull to the start makes local steps go less far."""
    start = flatten(TASK.build_model())
    plain, momentum = (run(without_privacy(spec, server_momentum=beta), sites) for beta in (0.0, 0.9))
    assert np.linalg.norm(momentum - start) > 1.5 * np.linalg.norm(plain - start)
    local, pulled = (run(without_privacy(spec, local_steps=5, proximal=mu), sites) for mu in (0.0, 1.0))
    assert np.linalg.norm(pulled - start) < 0.9 * np.linalg.norm(local - start)
    coarse = run(without_privacy(spec, update_bits=4), sites)
    assert 0 < np.abs(coarse - plain).max() < 0.2


def test_each_round_is_told(spec: JobSpec, sites: dict[str, PublicSite]) -> None:
    told: list[tuple[int, np.ndarray]] = []
    final = simulate_job(
        without_privacy(spec), sites, rng=UnsafeSeededRandom(0), on_round=lambda number, at: told.append((number, at))
    )
    assert [number for number, _ in told] == [1, 2, 3]
    assert np.array_equal(told[-1][1], final)
    assert not np.array_equal(told[0][1], final)


def test_a_robust_job_bears_a_liar_and_a_sum_does_not(spec: JobSpec, sites: dict[str, PublicSite]) -> None:
    robust = without_privacy(spec).model_copy(
        update={"aggregation": RobustAggregation(kind="robust", rule="median", num_byzantine_sites=1)}
    )
    step = federation_grid(TASK, sites, TrainingPlan.of(robust), 0.0).step
    updates = np.tile(np.array([100, -50]), (4, 1))
    updates[1] = 30_000
    weights, sizes = np.zeros(2), np.array([site.config.nominal_records for site in sites.values()])
    honest = 100 * sizes / sizes[0]
    updates[[0, 2, 3], 0], updates[[0, 2, 3], 1] = honest[[0, 2, 3]], -honest[[0, 2, 3]] / 2
    combined = combine_of(robust, sites, step, 0)(weights, updates)
    assert combined == pytest.approx(np.array([1.0, -0.5]) * 100 * sizes.sum() / sizes[0], rel=0.06)
    assert combine_of(spec, sites, step, 0)(weights, updates)[0] > 30_000


def test_a_rule_that_bears_no_such_number_of_sites_is_refused(spec: JobSpec, sites: dict[str, PublicSite]) -> None:
    bulyan = spec.model_copy(
        update={"aggregation": RobustAggregation(kind="robust", rule="bulyan", num_byzantine_sites=1)}
    )
    with pytest.raises(PolicyViolation, match="bulyan"):
        run(bulyan, sites)


def test_distributed_noise_is_what_counted_shares_leave(spec: JobSpec, sites: dict[str, PublicSite]) -> None:
    """False-positive rate below 1e-6: the spread of 15 x 17 draws is within 25 % (5 standard errors) of what it is.

    Of 4 sites 3 contribute to every total and 1 may tell its share, so 2 shares carry σC: the total has √(4/2)·σC,
    where local noise has √4·σC.
    """
    much_noise = spec.privacy.model_copy(update={"target_epsilon": 0.05})
    one_round = spec.model_copy(update={"rounds": 1, "privacy": much_noise})
    rate = spec.training.learning_rate / (spec.privacy.sampling_prob * 518)

    def spread(job: JobSpec) -> float:
        weights = np.stack([run(job, sites, seed) for seed in range(15)])
        return float(np.sqrt(weights.var(axis=0, ddof=1).mean())) / (plan_of(job, 4).noise_multiplier * rate)

    assert spread(one_round) == pytest.approx(2.0, rel=0.25)
    assert spread(distributed(one_round)) == pytest.approx(2**0.5, rel=0.25)


class TestArms:
    def test_all_arms_of_a_private_job(self, laboratory: Laboratory) -> None:
        runs = laboratory.runs(Seeds(job=2, baselines=1), [1.0, 4.0], [4.0])
        assert runs == [
            *(Run("federated", epsilon, seed) for epsilon in (1.0, 4.0) for seed in (0, 1)),
            Run("pooled", 4.0, 0),
            Run("federated_no_noise", None, 0),
            Run("pooled_non_private", None, 0),
            Run("alone_non_private", None, 0),
        ]

    def test_a_job_without_privacy_is_itself_the_line_without_noise(self, laboratory: Laboratory) -> None:
        plain = Laboratory.of(without_privacy(laboratory.spec), laboratory.sites)
        arms = [run.arm for run in plain.runs(Seeds(1, 1), [1.0], [1.0])]
        assert arms == ["federated", "pooled_non_private", "alone_non_private"]
        assert plain.measure(Run("federated", None, 0))["accuracy"] > 0.6

    def test_more_epsilon_is_less_noise(self, laboratory: Laboratory) -> None:
        """Seeded: at ε=0.05 the worst of three seeds learns little, at ε=50 all learn what no noise learns."""
        little, much = (
            min(laboratory.measure(Run("federated", epsilon, seed))["auc"] for seed in range(3))
            for epsilon in (0.05, 50.0)
        )
        assert little < 0.75
        assert much == pytest.approx(laboratory.measure(Run("federated_no_noise", None, 0))["auc"], abs=0.02)

    def test_one_curator_needs_less_noise_than_four_sites(self, laboratory: Laboratory) -> None:
        def worst(arm: str) -> float:
            return min(laboratory.measure(Run(arm, 0.1, seed))["auc"] for seed in range(3))  # type: ignore[arg-type]

        assert worst("pooled") > worst("federated")

    def test_alone_is_the_mean_of_all_sites_on_all_test_records(
        self, laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(baselines, "MIN_STEPS", 200)
        alone, pooled = (laboratory.measure(Run(arm, None, 0)) for arm in ("alone_non_private", "pooled_non_private"))
        assert alone["accuracy"] < pooled["accuracy"] - 0.03
        assert list(alone) == ["accuracy", "auc"]

    def test_distributed_and_robust_jobs_have_all_arms(self, laboratory: Laboratory) -> None:
        robust = RobustAggregation(kind="robust", rule="median", num_byzantine_sites=1)
        for spec in (distributed(laboratory.spec), laboratory.spec.model_copy(update={"aggregation": robust})):
            own = Laboratory.of(spec, laboratory.sites)
            own.calibrate(own.runs(Seeds(1, 1), [8.0], [8.0]))
            for run in (Run("federated", 8.0, 0), Run("pooled", 8.0, 0), Run("federated_no_noise", None, 0)):
                assert own.measure(run)["auc"] > 0.7, (spec.aggregation.kind, run)


def test_data_is_kept_once(laboratory: Laboratory, sites: dict[str, PublicSite]) -> None:
    assert len(laboratory.pooled.data.test.unit) == len(pool(sites).data.test.unit) == 237
    for name, site in sites.items():
        for part in ("train", "test"):
            own, view, whole = (getattr(of.data, part) for of in (site, laboratory.sites[name], laboratory.pooled))
            assert torch.equal(view.features, own.features)
            assert torch.equal(view.targets, own.targets)
            assert np.array_equal(view.unit, own.unit)
            assert view.features.untyped_storage().data_ptr() == whole.features.untyped_storage().data_ptr()
