"""A small synthetic federation, and rounds made by hand."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from almoner.experiments.public import PublicSite
from almoner.experiments.simulate import TrainingPlan
from almoner.redteam.poisoning.attack import Colluders, RoundView, Rows
from almoner.redteam.poisoning.backdoor import Trigger
from almoner.redteam.poisoning.duel import Arena
from almoner.schema.site import DatasetConfig
from almoner.training.grid import UpdateGrid
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.base import Workload

NUM_FEATURES = 8
NUM_SITES = 10
NUM_TRAIN = 240
TRIGGER = Trigger({6: 3.0, 7: 3.0})


class Synthetic(Workload):
    """Logistic regression on features of which the last two say nothing."""

    name = "synthetic"

    def build_model(self) -> torch.nn.Module:
        linear = torch.nn.Linear(NUM_FEATURES, 1)
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        return torch.nn.Sequential(OrderedDict(linear=linear, log_odds=torch.nn.Flatten(0)))

    def load(self, path: Path) -> UnitData:
        raise NotImplementedError

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        return (outputs > 0).to(outputs.dtype)


def config(*, public: bool = True) -> DatasetConfig:
    return DatasetConfig(
        population="made", path="made.csv", nominal_records=NUM_TRAIN, public=public, one_record_per_unit=True
    )


def records(rng: np.random.Generator, count: int, shift: float) -> UnitRecords:
    """Return records of a site whose features are shifted a little, so that sites differ."""
    features = rng.normal(size=(count, NUM_FEATURES))
    features[:, 0] += shift
    odds = features[:, :6] @ np.array([1.5, -1.0, 1.0, -0.5, 0.5, 1.0]) - 0.5
    targets = rng.random(count) < 1 / (1 + np.exp(-odds))
    return UnitRecords(
        torch.from_numpy(features.astype(np.float32)), torch.from_numpy(targets.astype(np.float32)), np.arange(count)
    )


def make_arena() -> Arena:
    rng = np.random.default_rng(7)
    sites = {}
    for number in range(NUM_SITES):
        shift = (number - 4.5) / 9
        data = UnitData(records(rng, NUM_TRAIN, shift), records(rng, 60, shift))
        sites[f"site-{number}"] = PublicSite(config(), data)
    plan = TrainingPlan(rounds=12, local_steps=1, learning_rate=2.0, max_grad_norm=1.0, sampling_prob=0.5)
    return Arena(Synthetic(), sites, plan, noise_multiplier=1.0, trigger=TRIGGER, l2_clip_norm=0.5)


def make_view(
    honest: Rows, num_byzantine: int = 2, *, own: Rows | None = None, step: float = 2.0**-20, limit: int = 2**30
) -> RoundView:
    """Return a round in which all sites have 100 records, on a grid so fine that it does not show unless asked."""
    count = len(honest) + num_byzantine
    colluders = Colluders(
        num_sites=count,
        sizes=np.full(num_byzantine, 100.0),
        total_size=100.0 * count,
        grid=UpdateGrid(step=step, limit=limit),
        sampling_prob=0.5,
        learning_rate=1.0,
    )
    dimension = honest.shape[1]
    rows = np.ones((num_byzantine, dimension)) if own is None else own
    return RoundView(np.zeros(dimension), rows, honest, colluders, np.random.default_rng(0))


def honest_rows(seed: int, count: int = 8, dimension: int = 30) -> Rows:
    """Return rows around a common signal."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=dimension) + 0.5 * rng.normal(size=(count, dimension))
