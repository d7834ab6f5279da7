"""Ditto: beside the global model each site trains one of its own, pulled to the global one.

The global model's gradient is taken at the global weights and the own model's at the own weights. Neither can be had
from the other, so a site takes two noised steps where the job takes one: 2T in all. At the job's own σ that is the ε of
2T steps; for the ε of the job, σ is calibrated to 2T. The pull needs no data.

Reference: Li et al., arXiv:2012.04221, algorithm 1, one own round a round; the pull is an exact minimum, see `pull`.
"""

from dataclasses import dataclass
from typing import ClassVar

from almoner.training.personalise.federation import Federation
from almoner.training.personalise.method import Method
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.pull import Weights, pulled


@dataclass(frozen=True, slots=True)
class Ditto(Method):
    """A global model, and an own one that is pulled to it: 2T noised steps at a site.

    Args:
        strength: λ; 0 trains alone, infinity gives the global model.
    """

    name: ClassVar[str] = "ditto"
    strength: float

    def num_steps(self, plan: PersonalPlan) -> int:
        """Return 2T."""
        return 2 * plan.num_steps

    def train(self, federation: Federation) -> dict[str, Weights]:
        """Train the global model and all own ones, round by round."""
        rounds, rate = federation.rounds(), federation.plan.learning_rate
        shared = rounds.descent(federation.start, rate)
        own = {site: rounds.descent(federation.start, rate) for site in federation.sites}
        for _ in range(federation.plan.rounds):
            rounds.shared_step(shared)
            for site, descent in own.items():
                rounds.own_step(site, descent)
                descent.weights = pulled(descent.weights, shared.weights, self.strength, rate)
        return {site: descent.weights for site, descent in own.items()}
