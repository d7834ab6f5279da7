"""All sites' records in one process, reached through metered rounds of noised steps."""

import copy
from collections.abc import Callable, Mapping

import torch

from almoner.errors import DataError
from almoner.training.flat import flatten
from almoner.training.gradients import Loss
from almoner.training.grid import UpdateGrid, update_grid
from almoner.training.noise import RandomSource
from almoner.training.personalise.heads import features_of, split_head
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.pull import Weights
from almoner.training.personalise.rounds import Rounds
from almoner.training.personalise.silos import Meter, Silo
from almoner.training.round import RoundParameters, RoundTrainer
from almoner.training.trainers import make_trainer
from almoner.training.units import UnitRecords

TrainerMaker = Callable[..., RoundTrainer]
"""Takes what `make_trainer` takes; each local step of what it returns is one noised access to data."""


class Federation:
    """Sites that train together and for themselves.

    Guarantee: the data of a site is reached through `rounds` and `head_rounds` alone, so by at most `charged` noised
    steps in all, each a Poisson-subsampled Gaussian mechanism with the plan's σ and q; one beyond is refused before it
    touches data.

    Args:
        model: architecture with the first weights.
        loss: gives one loss a record.
        silos: what each site trains on, by name.
        plan: the public numbers.
        charged: noised steps that every site is charged.
        rng: randomness of all sites.
        make: makes the trainers.

    Raises:
        DataError: when there are no sites.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Loss,
        silos: Mapping[str, Silo],
        plan: PersonalPlan,
        *,
        charged: int,
        rng: RandomSource,
        make: TrainerMaker = make_trainer,
    ) -> None:
        if not silos:
            raise DataError("personalisation: no sites → give at least one")
        self.plan, self.start = plan, flatten(model)
        self._model, self._loss, self._rng, self._make = model, loss, rng, make
        self._silos = dict(silos)
        self._nominal = {site: silo.nominal_records for site, silo in silos.items()}
        self._meters = {site: Meter(charged) for site in silos}

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites' names, in order."""
        return tuple(self._silos)

    @property
    def steps_taken(self) -> dict[str, int]:
        """Noised steps that each site has taken so far."""
        return {site: meter.taken for site, meter in self._meters.items()}

    def rounds(self, local_steps: int | None = None, proximal: float | None = None) -> Rounds:
        """Return rounds of the whole model.

        Args:
            local_steps: noised steps of a round; the plan's if None.
            proximal: μ, how strongly local steps are pulled back to the round's start; the plan's if None.
        """
        steps = self.plan.local_steps if local_steps is None else local_steps
        pull = self.plan.proximal if proximal is None else proximal
        records = {site: silo.data for site, silo in self._silos.items()}
        return self._rounds(self._model, records, steps, pull)

    def head_rounds(self, weights: Weights) -> tuple[Rounds, Weights]:
        """Return rounds of one step of the last layer on top of given weights, and the last layer's own weights.

        Raises:
            PolicyViolation: when the model has no last layer; see `split_head`.
        """
        split = split_head(copy.deepcopy(self._model), weights)
        records = {site: features_of(split.body, silo.data) for site, silo in self._silos.items()}
        return self._rounds(split.head, records, 1, 0.0), flatten(split.head)

    def _rounds(
        self, model: torch.nn.Module, records: Mapping[str, UnitRecords], local_steps: int, proximal: float
    ) -> Rounds:
        """Make a trainer a site, all on the grid that the largest site needs."""
        plan, grid = self.plan, self._grid(local_steps)
        trainers = {}
        for site, data in records.items():
            parameters = RoundParameters(
                max_grad_norm=plan.max_grad_norm,
                sampling_prob=plan.sampling_prob,
                local_steps=local_steps,
                learning_rate=plan.learning_rate,
                nominal_records=self._nominal[site],
                grid=grid,
                rng=self._rng,
                proximal=proximal,
            )
            sigma = plan.noise_multiplier
            trainers[site] = self._make(
                model, self._loss, data, mechanism="dp_sgd", noise_multiplier=sigma, **parameters
            )
        return Rounds(plan, local_steps, grid, trainers, self._nominal, self._meters)

    def _grid(self, local_steps: int) -> UpdateGrid:
        """Return the grid that a job of such rounds has."""
        plan, largest = self.plan, max(self._nominal.values())
        return update_grid(
            plan.max_grad_norm, plan.sampling_prob, plan.noise_multiplier, largest, local_steps, plan.update_limit
        )
