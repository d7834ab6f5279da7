"""Per-FedAvg, first order: a global model that is good after a step at a site rather than before it.

In a round a site looks ahead, w' = w − α·g(w), and sends its update from there, g(w'). What is sent depends on both
gradients, each noised and on a sample of its own, so a round costs twice the noised steps: 2T in all. At the end each
site adapts the model by k steps of rate α, and uses the outcome: 2T + k are charged.

Reference: Fallah et al., arXiv:2002.07948, algorithm 1, the first-order variant.
"""

from dataclasses import dataclass
from typing import ClassVar

from almoner.training.personalise.federation import Federation
from almoner.training.personalise.method import Method
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.pull import Weights
from almoner.training.personalise.rounds import total_of


@dataclass(frozen=True, slots=True)
class PerFedAvg(Method):
    """A global model trained to be adapted: 2T + k noised steps at a site.

    Args:
        rate: α, as a share of the job's learning rate; 0 is FedAvg that throws half of its steps away.
        steps: k, local steps of the last adaptation.
    """

    name: ClassVar[str] = "per_fedavg"
    rate: float
    steps: int

    def num_steps(self, plan: PersonalPlan) -> int:
        """Return 2T + k."""
        return 2 * plan.num_steps + self.steps

    def train(self, federation: Federation) -> dict[str, Weights]:
        """Train the global model on looks ahead, then adapt it at each site."""
        rounds, plan = federation.rounds(), federation.plan
        ahead_rate = self.rate * plan.learning_rate
        shared = rounds.descent(federation.start, plan.learning_rate)
        for _ in range(plan.rounds):
            ahead = {}
            for site in federation.sites:
                look = rounds.descent(shared.weights, ahead_rate)
                rounds.own_step(site, look)
                ahead[site] = look.weights
            shared.apply(total_of(rounds.updates(ahead)), rounds.total_nominal)
        last, models = federation.rounds(local_steps=1), {}
        for site in federation.sites:
            descent = last.descent(shared.weights, ahead_rate)
            for _ in range(self.steps):
                last.own_step(site, descent)
            models[site] = descent.weights
        return models
