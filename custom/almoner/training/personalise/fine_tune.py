"""Local heads: each site tunes the last layer of the finished global model on its own records, by DP-SGD.

The k further steps of a site touch its data again, so its models cost T + k noised steps. They are charged although
nothing leaves: the tuned model is deployed beside the global one that its records are also in.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from almoner.training.personalise.federation import Federation
from almoner.training.personalise.method import Method
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.pull import Weights
from almoner.training.personalise.shared import train_shared


@dataclass(frozen=True, slots=True)
class FineTune(Method):
    """Tune the last layer at each site: T + k noised steps at a site.

    Args:
        steps: k.
        rate: learning rate of these steps, as a share of the job's.
    """

    name: ClassVar[str] = "fine_tune"
    steps: int
    rate: float

    def num_steps(self, plan: PersonalPlan) -> int:
        """Return T + k."""
        return plan.num_steps + self.steps

    def train(self, federation: Federation) -> dict[str, Weights]:
        """Train the global model, then each site's last layer."""
        weights = train_shared(federation, federation.rounds(), federation.plan.rounds)
        rounds, head = federation.head_rounds(weights)
        models = {}
        for site in federation.sites:
            descent = rounds.descent(head, self.rate * federation.plan.learning_rate)
            for _ in range(self.steps):
                rounds.own_step(site, descent)
            models[site] = np.concatenate([weights[: len(weights) - len(head)], descent.weights])
        return models
