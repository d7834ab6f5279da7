"""The hyper-parameters that are tried for each method."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from almoner.errors import PolicyViolation
from almoner.training.personalise.alone import Alone
from almoner.training.personalise.ditto import Ditto
from almoner.training.personalise.fine_tune import FineTune
from almoner.training.personalise.method import Method
from almoner.training.personalise.mr_mtl import MrMtl
from almoner.training.personalise.per_fedavg import PerFedAvg
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.shared import FedProx, GlobalModel

METHODS = tuple(method.name for method in (GlobalModel, Alone, FedProx, MrMtl, FineTune, Ditto, PerFedAvg))
"""All methods by name, the one that the others are compared with first."""

RATES = (0.5, 1.0, 2.0)
"""Learning rates, as multiples of the job's."""
_QUARTER = 0.25
"""Of each rate is tried for a site alone too: its noise is not averaged with that of others."""
_PULLS = (0.03, 0.1, 0.3, 1.0)
"""Strength times learning rate, p: a step is taken back by p/(1 + p) of the way to the centre."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A method with hyper-parameters.

    Args:
        method: which holds its own.
        rate: learning rate of the shared training, as a multiple of the job's.
    """

    method: Method
    rate: float

    def plan(self, plan: PersonalPlan) -> PersonalPlan:
        """Return a plan with the candidate's learning rate."""
        return replace(plan, learning_rate=self.rate * plan.learning_rate)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return methods by name, the global model first whether it is named or not.

    Raises:
        PolicyViolation: there is no such method.
    """
    wanted = {GlobalModel.name, *names}
    for name in sorted(wanted.difference(METHODS)):
        raise PolicyViolation(f"method '{name}': unknown → one of {', '.join(METHODS)}")
    return tuple(name for name in METHODS if name in wanted)


def candidates(name: str, plan: PersonalPlan, rates: Sequence[float]) -> tuple[Candidate, ...]:
    """Return what is tried for a method.

    Args:
        name: one of `METHODS`.
        plan: the job's public numbers.
        rates: learning rates, as multiples of the job's.
    """
    tried = {*rates, *(_QUARTER * rate for rate in rates)} if name == Alone.name else set(rates)
    rising = sorted(tried)
    found = (Candidate(method, rate) for rate in rising for method in _methods(name, plan, rate * plan.learning_rate))
    return tuple(dict.fromkeys(found))


def _methods(name: str, plan: PersonalPlan, learning_rate: float) -> Iterable[Method]:
    """Return what is tried at one learning rate."""
    strengths = [pull / learning_rate for pull in _PULLS]
    local_steps = [min(times * plan.local_steps, plan.num_steps) for times in (2, 4)]
    return {
        GlobalModel.name: (GlobalModel(),),
        Alone.name: (Alone(),),
        FedProx.name: (FedProx(steps, pull / learning_rate) for steps, pull in product(local_steps, (0.1, 0.5))),
        MrMtl.name: map(MrMtl, strengths),
        FineTune.name: (FineTune(steps, rate) for steps, rate in product((3, 10), (0.1, 0.3, 1.0))),
        Ditto.name: map(Ditto, strengths),
        PerFedAvg.name: (PerFedAvg(rate, steps) for rate, steps in product((0.1, 0.5), (1, 3))),
    }[name]
