"""Choosing, measuring and costing, on two sites that differ in their labels."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from almoner.errors import PolicyViolation
from almoner.experiments.personalise.candidates import METHODS, RATES, Candidate, candidates, in_order
from almoner.experiments.personalise.comparison import FIRST_SPLIT, Comparison, best_of, measure, try_candidates
from almoner.experiments.personalise.costs import cost_of
from almoner.experiments.personalise.plot import render_bars
from almoner.experiments.personalise.study import Study, Trial, study_of
from almoner.experiments.personalise.tables import comparison_json, render_choice_csv, render_csv, render_table
from almoner.experiments.public import PublicSite
from almoner.experiments.simulate import TrainingPlan, simulate_federation
from almoner.privacy.plan import job_events
from almoner.privacy.pld import pld_epsilon
from almoner.schema.job import JobSpec
from almoner.schema.site import DatasetConfig
from almoner.training.flat import unflatten
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.personalise.ditto import Ditto
from almoner.training.personalise.fine_tune import FineTune
from almoner.training.personalise.method import Method
from almoner.training.personalise.mr_mtl import MrMtl
from almoner.training.personalise.per_fedavg import PerFedAvg
from almoner.training.personalise.shared import FedProx, GlobalModel
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.heart_disease import HeartDisease

TASK = HeartDisease()
DELTA = 1e-4


def records(sign: float, number: int, seed: int) -> UnitRecords:
    """What one feature says is the other way round at the other site."""
    features = np.random.default_rng(seed).normal(size=(number, TASK.dimension - 1)).astype(np.float32)
    targets = (sign * features[:, 0] > 0).astype(np.float32)
    return UnitRecords(torch.from_numpy(features), torch.from_numpy(targets), np.arange(number))


def site(name: str, sign: float, number: int, public: bool = True) -> PublicSite:
    config = DatasetConfig(
        population=name, path="heart.csv", nominal_records=number, public=public, one_record_per_unit=True
    )
    return PublicSite(config, UnitData(train=records(sign, number, 1), test=records(sign, number // 2, 2)))


@pytest.fixture(scope="module")
def study(heart_spec: JobSpec) -> Study:
    privacy = heart_spec.privacy.model_copy(update={"target_epsilon": 8.0})
    sites = {"large": site("large", 1.0, 240), "small": site("small", -1.0, 80)}
    return study_of(heart_spec.model_copy(update={"privacy": privacy}), sites)


@pytest.fixture(scope="module")
def scores(study: Study) -> dict[Candidate, float]:
    return try_candidates(study, ["mr_mtl"], RATES, 1, 1, lambda done, total: None)


@pytest.fixture(scope="module")
def comparison(study: Study, scores: dict[Candidate, float]) -> Comparison:
    return measure(study, best_of(scores), 2, 1, lambda done, total: None)


def test_data_that_is_not_registered_public_is_refused() -> None:
    with pytest.raises(PolicyViolation, match="not registered public"):
        site("private", 1.0, 10, public=False)


def test_a_job_whose_updates_have_but_a_share_of_the_noise_is_refused(heart_spec: JobSpec) -> None:
    distributed = {**heart_spec.model_dump()["privacy"], "mechanism": "distributed_dp"}
    aggregation = {"kind": "secagg", "num_colluding_sites": 1}
    changed = {**heart_spec.model_dump(mode="json"), "privacy": distributed, "aggregation": aggregation}
    with pytest.raises(PolicyViolation, match="noise that a site's own update has by itself"):
        study_of(JobSpec.model_validate_json(json.dumps(changed)), {})


@pytest.mark.parametrize(
    "training", [{}, {"local_steps": 2, "server_momentum": 0.5, "proximal": 0.5, "update_bits": 8}]
)
def test_the_global_model_is_the_jobs_to_the_bit(heart_spec: JobSpec, study: Study, training: dict[str, float]) -> None:
    """At its own learning rate and ε: the same federation as a job's, judged on each site's records."""
    spec = heart_spec.model_copy(update={"training": heart_spec.training.model_copy(update=training), "rounds": 5})
    own, sigma = study_of(spec, study.sites), job_events(spec).noise_multiplier
    weights = simulate_federation(
        TASK, study.sites, TrainingPlan.of(spec), noise_multiplier=sigma, rng=UnsafeSeededRandom(3)
    )
    model = TASK.build_model()
    unflatten(model, weights)
    expected = {name: TASK.figures(model, site.data.test)["accuracy"] for name, site in study.sites.items()}
    assert own.plan.noise_multiplier == sigma
    assert own.run(Trial(Candidate(GlobalModel(), 1.0), 3, is_final=True)) == expected


COSTS: dict[Method, int] = {
    GlobalModel(): 20, FedProx(4, 0.1): 20, MrMtl(1.0): 20, FineTune(5, 0.5): 25, Ditto(1.0): 40, PerFedAvg(0.5, 3): 43
}  # fmt: skip


@pytest.mark.parametrize(("method", "steps"), COSTS.items(), ids=lambda case: getattr(case, "name", ""))
def test_what_a_method_costs(study: Study, method: Method, steps: int) -> None:
    """All at one total ε; at the job's own noise, more steps cost more, and no more steps cost nothing more."""
    cost = cost_of(study, Candidate(method, 2.0))
    own = study.plan_of(Candidate(method, 2.0))
    assert cost.num_steps == steps
    assert 7.9 < cost.epsilon <= 8.0
    assert (cost.noise_multiplier > study.plan.noise_multiplier) == (steps > 20)
    assert own.noise_multiplier == cost.noise_multiplier
    assert cost.epsilon_at_job_noise == pld_epsilon((method.event(study.plan),), DELTA)
    assert (cost.extra_epsilon > 1.0) if steps > 20 else cost.extra_epsilon == 0


def test_own_models_win_where_sites_differ(comparison: Comparison) -> None:
    """One feature means opposite things: the global model follows the larger site. Seeded."""
    assert comparison.points("global")[:, 0].mean() > 75
    assert comparison.points("global")[:, 1].mean() < 40
    assert comparison.gains("mr_mtl")[:, 1].mean() > 20


def test_all_is_the_mean_over_test_records(comparison: Comparison) -> None:
    found = comparison.points("mr_mtl")
    assert found.shape == (2, 3)
    assert found[:, 2] == pytest.approx((3 * found[:, 0] + found[:, 1]) / 4)


def test_the_choice_is_the_best_on_held_out_units(
    study: Study, scores: dict[Candidate, float], comparison: Comparison
) -> None:
    own = {candidate: score for candidate, score in scores.items() if candidate.method.name == "mr_mtl"}
    best = comparison.chosen["mr_mtl"]
    run = study.run(Trial(best, FIRST_SPLIT, is_final=False))
    assert list(own) == list(candidates("mr_mtl", study.plan, RATES))
    assert own[best] == max(own.values()) > min(own.values())
    assert own[best] == pytest.approx((3 * run["large"] + run["small"]) / 4)


def test_of_equals_the_first_is_chosen(study: Study) -> None:
    found = candidates("mr_mtl", study.plan, RATES)
    assert best_of({found[2]: 0.5, found[0]: 0.5, found[1]: 0.4}) == {"mr_mtl": found[2]}


def test_choosing_never_sees_a_test_record(study: Study) -> None:
    """Test records of another world change nothing that is chosen."""
    upset = {
        name: PublicSite(site.config, UnitData(site.data.train, records(0.0, 10, 9)))
        for name, site in study.sites.items()
    }
    trial = Trial(Candidate(MrMtl(1.0), 1.0), FIRST_SPLIT, is_final=False)
    assert replace(study, sites=upset).run(trial) == study.run(trial)


def test_every_method_has_candidates_and_no_other(study: Study) -> None:
    for name in METHODS:
        found = candidates(name, study.plan, RATES)
        assert {candidate.method.name for candidate in found} == {name}
        assert len(set(found)) == len(found) >= 3


def test_a_job_of_one_step_has_candidates_too(study: Study) -> None:
    short = replace(study, plan=replace(study.plan, rounds=1))
    for candidate in candidates("fedprox", short.plan, [1.0]):
        assert candidate.method == FedProx(1, candidate.method.proximal)  # type: ignore[attr-defined]
        assert short.plan_of(candidate).noise_multiplier > 0


def test_alone_smaller_steps_are_tried(study: Study) -> None:
    assert [found.rate for found in candidates("alone", study.plan, [1.0, 2.0])] == [0.25, 0.5, 1.0, 2.0]


def test_the_global_model_is_always_among_them() -> None:
    assert in_order(["ditto", "alone"]) == ("global", "alone", "ditto")
    with pytest.raises(PolicyViolation, match="'fedsgd': unknown → one of global, alone"):
        in_order(["fedsgd"])


def test_the_table_has_every_site_and_cost(comparison: Comparison) -> None:
    lines = render_table(comparison)
    assert lines[0].split() == ["large", "small", "all"]
    assert lines[1].split() == ["test", "records", "120", "40", "160"]
    gain = comparison.gains("mr_mtl").mean(axis=0)[1]
    assert f"{gain:+.1f} ±" in next(line for line in lines if line.startswith("mr_mtl, gain"))
    assert any(line.startswith("mr_mtl ") and " 0 " in line and "strength=" in line for line in lines)


def test_every_candidate_that_was_tried_is_listed(scores: dict[Candidate, float]) -> None:
    rows = list(csv.DictReader(io.StringIO(render_choice_csv(scores))))
    assert [float(row["held_out_figure"]) for row in rows] == pytest.approx(list(scores.values()), abs=1e-6)
    assert len({(row["method"], row["hyper_parameters"]) for row in rows}) == len(scores)


def test_csv_and_json_say_the_same(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv(comparison))))
    facts = json.loads(json.dumps(comparison_json(comparison)))
    assert len(rows) == 2 * 2 * 2
    own = [float(row["figure"]) for row in rows if (row["method"], row["site"]) == ("mr_mtl", "small")]
    stated = facts["methods"]["mr_mtl"]["points"]["small"]
    assert stated["mean"] == pytest.approx(100 * sum(own) / 2, abs=1e-3)
    assert stated["deviation"] == pytest.approx(100 * abs(own[0] - own[1]) / math.sqrt(2), abs=1e-3)
    assert facts["methods"]["mr_mtl"]["cost"]["extra_epsilon"] == 0


def test_a_site_without_test_records_counts_nothing(comparison: Comparison) -> None:
    gap = {key: math.nan if key[2] == "small" else figure for key, figure in comparison.figures.items()}
    found = replace(comparison, figures=gap)
    assert found.points("global")[:, 2] == pytest.approx(found.points("global")[:, 0])
    assert comparison_json(found)["methods"]["global"]["points"]["small"] == {"mean": None, "deviation": None}
    assert any(" - " in line for line in render_table(found))


def test_the_plot_is_a_png(comparison: Comparison) -> None:
    assert render_bars(comparison, "title").startswith(b"\x89PNG")
