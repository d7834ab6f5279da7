"""Who was in the data: found where few patients are learnt by heart, and not where the job's ε is kept."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from almoner.errors import PolicyViolation
from almoner.experiments.public import PublicSite
from almoner.experiments.simulate import TrainingPlan
from almoner.privacy.calibration import calibrate_noise, training_event
from almoner.redteam.audit.tradeoff import trade_off
from almoner.redteam.membership.rates import worth_of
from almoner.redteam.membership.scores import confidences, lira_scores
from almoner.redteam.membership.shadows import Train, balanced_draw, by_plan, num_units, train_shadows
from almoner.redteam.membership.study import FEW_STEPS, few_units, infer_membership, most_auc
from almoner.schema.job import JobSpec
from almoner.schema.receipt import SampledGaussian
from almoner.schema.site import DatasetConfig
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.registry import workload

MODELS, SETS = 18, 2
FIGURES = Path(__file__).resolve().parents[1] / "vectors" / "redteam" / "figures.json"


def made_records(count: int, seed: int) -> UnitRecords:
    """Return patients whose diagnosis has nothing to do with what was measured: who knows it has seen it."""
    generator = torch.Generator().manual_seed(seed)
    measured = 4 * torch.randn(count, workload("heart_disease").dimension - 1, generator=generator)
    return UnitRecords(measured, torch.randint(0, 2, (count,), generator=generator).float(), np.arange(count))


@pytest.fixture(scope="module")
def sites() -> dict[str, PublicSite]:
    config = DatasetConfig(
        population="made", path="made.csv", nominal_records=48, public=True, one_record_per_unit=True
    )
    return {"made": PublicSite(config, UnitData(made_records(48, 1), made_records(24, 2)))}


def area(sites: dict[str, PublicSite], train: Train) -> float:
    """Return LiRA's area under the ROC curve over some small sets of patients."""
    scores, draws = [], []
    for number, part in enumerate(few_units(sites, 0)[:SETS]):
        draw = balanced_draw(MODELS, num_units(part), 1)
        found = train_shadows(workload("heart_disease"), part, train, draw, number)
        scores.append(lira_scores(confidences(found.losses), draw))
        draws.append(draw)
    return worth_of(np.hstack(scores), np.hstack(draws)).auc


@pytest.mark.threat("T-124")
def test_members_are_found_without_privacy_and_not_with_it(sites: dict[str, PublicSite], heart_spec: JobSpec) -> None:
    task, noise = workload("heart_disease"), calibrate_noise(1.0, 1e-4, 1.0, FEW_STEPS)
    plan = replace(
        TrainingPlan.of(heart_spec),
        rounds=1,
        local_steps=FEW_STEPS,
        sampling_prob=1.0,
        learning_rate=1.0,
        update_bits=32,
    )
    open_area, private_area = (
        area(sites, by_plan(task, replace(plan, mechanism=mechanism), noise)) for mechanism in ("none", "dp_sgd")
    )
    assert open_area > 0.7
    bound = trade_off((training_event(round(noise * 1000), 1.0, FEW_STEPS),))
    assert bound is not None
    assert most_auc(bound) < 0.65
    assert private_area < most_auc(bound)
    expected = json.loads(FIGURES.read_text())["areas of few patients"]
    assert [open_area, private_area] == pytest.approx([expected["without privacy"], expected["ε=1"]], abs=0.01)


def test_too_few_models_are_refused(sites: dict[str, PublicSite], heart_spec: JobSpec) -> None:
    task = workload("heart_disease")
    with pytest.raises(PolicyViolation, match="take 17 or more"):
        infer_membership(heart_spec, task, sites, models=16, seed=0, say=print)


def test_the_bound_of_a_gaussian() -> None:
    event = SampledGaussian(kind="sampled_gaussian", noise_multiplier=1.0, sampling_prob=1.0, count=1)
    bound = trade_off((event,))
    assert bound is not None
    assert most_auc(bound) == pytest.approx(0.7602, abs=2e-3)  # Φ(μ/√2), μ = 1
