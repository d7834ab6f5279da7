"""What a method of personalisation is: how many noised steps it takes, and how it takes them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from almoner.schema.receipt import SampledGaussian
from almoner.training.gradients import Loss
from almoner.training.noise import RandomSource
from almoner.training.personalise.federation import Federation, TrainerMaker
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.pull import Weights
from almoner.training.personalise.silos import Silo
from almoner.training.trainers import make_trainer


@dataclass(frozen=True, slots=True)
class Method(ABC):
    """One way to models of the sites' own; holds its hyper-parameters, and no state."""

    name: ClassVar[str]

    @abstractmethod
    def num_steps(self, plan: PersonalPlan) -> int:
        """Return how many noised steps each site takes, from public numbers alone."""

    @abstractmethod
    def train(self, federation: Federation) -> dict[str, Weights]:
        """Train, and return the model that each site uses, float64[d] by site."""

    def event(self, plan: PersonalPlan) -> SampledGaussian:
        """Return what the method costs each site: the deployed models of all sites and all that was sent for them."""
        return SampledGaussian(
            kind="sampled_gaussian",
            noise_multiplier=plan.noise_multiplier,
            sampling_prob=plan.sampling_prob,
            count=self.num_steps(plan),
        )


def train_models(
    method: Method,
    model: torch.nn.Module,
    loss: Loss,
    silos: Mapping[str, Silo],
    plan: PersonalPlan,
    *,
    rng: RandomSource,
    make: TrainerMaker = make_trainer,
) -> dict[str, Weights]:
    """Train every site's model by a method.

    Guarantee: all that a site sends, and all models, are together a function of at most `method.event(plan)` on its
    data, under adding or removing one unit with all of its records; a method that asks for a step more ends with an
    error instead. Nothing is written to a ledger, so callers use public data.

    Args:
        method: with its hyper-parameters.
        model: architecture with the first weights.
        loss: gives one loss a record.
        silos: what each site trains on, by name.
        plan: the public numbers.
        rng: randomness of all sites.
        make: makes the trainers; each local step of one must be one noised access.

    Returns:
        float64[d] by site.

    Raises:
        BudgetExceeded: when the method takes more steps than it states.
        PolicyViolation: when the noise is not positive or does not fit the grid.
        DataError: when there are no sites.
    """
    charged = method.num_steps(plan)
    return method.train(Federation(model, loss, silos, plan, charged=charged, rng=rng, make=make))
