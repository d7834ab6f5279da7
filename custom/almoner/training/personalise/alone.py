"""Each site by itself, with all its budget: what personalisation must be better than, as well as the global model.

Nothing leaves, but the model is used: its T noised steps are charged.
"""

from dataclasses import dataclass
from typing import ClassVar

from almoner.training.personalise.federation import Federation
from almoner.training.personalise.method import Method
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.pull import Weights


@dataclass(frozen=True, slots=True)
class Alone(Method):
    """DP-SGD at each site without the others: T noised steps at a site."""

    name: ClassVar[str] = "alone"

    def num_steps(self, plan: PersonalPlan) -> int:
        """Return T."""
        return plan.num_steps

    def train(self, federation: Federation) -> dict[str, Weights]:
        """Train each site's model on its own."""
        rounds, plan, models = federation.rounds(), federation.plan, {}
        for site in federation.sites:
            descent = rounds.descent(federation.start, plan.learning_rate)
            for _ in range(plan.rounds):
                rounds.own_step(site, descent)
            models[site] = descent.weights
        return models
