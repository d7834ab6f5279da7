"""Two sites so small that every method can be followed by hand.

The model is one weight w, without noise. Site a has three units with x = 1 and y = 1, so its mean gradient is w − 1.
Site b has one with x = 2 and y = −2: 4w + 4. Together it is (3(w − 1) + (4w + 4))/4. The learning rate is 1/8.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from almoner.training.dp_sgd import UnsafeNoiselessTrainer
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.personalise.federation import Federation
from almoner.training.personalise.method import Method, train_models
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.silos import Silo
from almoner.training.round import RoundTrainer
from almoner.training.units import UnitRecords

PLAN = PersonalPlan(
    rounds=2, local_steps=1, learning_rate=0.125, max_grad_norm=8.0, sampling_prob=1.0, noise_multiplier=0.0
)
NOISY = replace(PLAN, sampling_prob=0.5, noise_multiplier=1.0)
ROUNDING = 2e-4
"""More than rounding to the grid moves a weight in a few rounds: its step is 2^-10, times the learning rate."""


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square() / 2


def line() -> torch.nn.Sequential:
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Flatten(0))
    torch.nn.init.zeros_(model[0].weight)
    return model


def records(x: float, y: float, number: int) -> UnitRecords:
    return UnitRecords(torch.full((number, 1), x), torch.full((number,), y), np.arange(number))


SILOS = {"a": Silo(records(1.0, 1.0, 3), 3), "b": Silo(records(2.0, -2.0, 1), 1)}


def noiseless(*args: Any, mechanism: str, noise_multiplier: float, **parameters: Any) -> RoundTrainer:
    return UnsafeNoiselessTrainer(*args, **parameters)


def followed(method: Method, plan: PersonalPlan = PLAN) -> tuple[float, float]:
    """Train without noise, and return the two weights."""
    models = train_models(method, line(), loss, SILOS, plan, rng=UnsafeSeededRandom(0), make=noiseless)
    return float(models["a"].item()), float(models["b"].item())


def noisy(method: Method, plan: PersonalPlan = NOISY, seed: int = 0) -> dict[str, list[float]]:
    """Train with noise; equal seeds draw equally where equally many steps are taken in the same order."""
    models = train_models(method, line(), loss, SILOS, plan, rng=UnsafeSeededRandom(seed))
    return {site: weights.tolist() for site, weights in models.items()}


def federation(charged: int, plan: PersonalPlan = PLAN) -> Federation:
    return Federation(line(), loss, SILOS, plan, charged=charged, rng=UnsafeSeededRandom(0), make=noiseless)
