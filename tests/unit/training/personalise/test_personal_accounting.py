"""What each method charges is what it takes: counted at the trainers and at the source of noise."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from personal_cases import NOISY, SILOS, federation, line, loss

from almoner.errors import BudgetExceeded, DataError
from almoner.privacy.pld import pld_epsilon
from almoner.training.dp_sgd import DpSgdTrainer
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.personalise.alone import Alone
from almoner.training.personalise.ditto import Ditto
from almoner.training.personalise.fine_tune import FineTune
from almoner.training.personalise.method import Method, train_models
from almoner.training.personalise.mr_mtl import MrMtl
from almoner.training.personalise.per_fedavg import PerFedAvg
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.shared import FedProx, GlobalModel
from almoner.training.personalise.silos import Meter

PLAN = replace(NOISY, rounds=5, local_steps=2)
"""T = 10."""
CHARGES: dict[Method, int] = {
    GlobalModel(): 10,
    Alone(): 10,
    FedProx(3, 1.0): 9,
    MrMtl(1.0): 10,
    FineTune(4, 0.5): 14,
    Ditto(1.0): 20,
    PerFedAvg(0.5, 3): 23,
}


@dataclass(frozen=True)
class GreedyDitto(Ditto):
    """Charges the job's steps, and takes twice as many."""

    def num_steps(self, plan: PersonalPlan) -> int:
        return plan.num_steps


class CountingSource(UnsafeSeededRandom):
    """Counts how often noise is drawn."""

    def __init__(self) -> None:
        super().__init__(0)
        self.draws = 0

    def gaussian_integers(self, scale: float, size: int) -> NDArray[np.int64]:
        self.draws += 1
        return super().gaussian_integers(scale, size)


class Accesses:
    """Makes DP-SGD trainers, and counts their steps by the size of the data."""

    def __init__(self) -> None:
        self.steps, self.source = Counter[int](), CountingSource()

    def make(
        self, model: Any, loss: Any, data: Any, *, mechanism: str, local_steps: int, **parameters: Any
    ) -> DpSgdTrainer:
        steps = self.steps

        class CountingTrainer(DpSgdTrainer):
            def run_round(self, weights: NDArray[np.float64]) -> NDArray[np.int64]:
                steps[data.num_units] += local_steps
                return super().run_round(weights)

        return CountingTrainer(model, loss, data, local_steps=local_steps, **parameters)

    def train(self, method: Method) -> None:
        train_models(method, line(), loss, SILOS, PLAN, rng=self.source, make=self.make)


@pytest.mark.parametrize(("method", "charged"), CHARGES.items(), ids=lambda case: getattr(case, "name", ""))
def test_a_site_takes_the_steps_it_is_charged(method: Method, charged: int) -> None:
    found = Accesses()
    found.train(method)
    event = method.event(PLAN)
    assert event.count == charged
    assert (event.noise_multiplier, event.sampling_prob) == (PLAN.noise_multiplier, PLAN.sampling_prob)
    assert found.steps == {silo.data.num_units: charged for silo in SILOS.values()}
    assert found.source.draws == charged * len(SILOS), "a step without noise, or noise twice"


def test_a_step_that_was_not_charged_is_refused() -> None:
    found = Accesses()
    with pytest.raises(BudgetExceeded, match="was charged 10"):
        found.train(GreedyDitto(1.0))
    assert max(found.steps.values()) <= 10


def test_without_the_meter_it_would_have_been_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attack with the control off: twice the steps, and more than twice the ε it says."""
    monkeypatch.setattr(Meter, "take", lambda self, steps: None)
    found = Accesses()
    found.train(GreedyDitto(1.0))
    said, real = GreedyDitto(1.0).event(PLAN), Ditto(1.0).event(PLAN)
    assert set(found.steps.values()) == {20}
    assert pld_epsilon((real,), 1e-5) > 1.3 * pld_epsilon((said,), 1e-5)


def test_a_refused_round_is_not_counted_and_the_rest_can_be_taken() -> None:
    meter = Meter(3)
    meter.take(2)
    with pytest.raises(BudgetExceeded, match="step 4 of a site that was charged 3"):
        meter.take(2)
    meter.take(1)
    assert meter.taken == 3


def test_heads_and_whole_models_draw_on_one_meter() -> None:
    sites = federation(2, replace(PLAN, local_steps=1))
    rounds, (heads, head) = sites.rounds(), sites.head_rounds(sites.start)
    rounds.update("a", sites.start)
    heads.update("a", head)
    assert sites.steps_taken == {"a": 2, "b": 0}
    for other in (rounds, heads, sites.rounds(local_steps=1)):
        with pytest.raises(BudgetExceeded):
            other.update("a", sites.start)


def test_nobody_is_no_federation() -> None:
    with pytest.raises(DataError, match="no sites"):
        train_models(GlobalModel(), line(), loss, {}, PLAN, rng=UnsafeSeededRandom(0))
