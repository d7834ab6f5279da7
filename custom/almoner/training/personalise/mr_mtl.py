"""Mean-regularised multi-task learning: every site trains its own model, pulled to the mean of all.

A site's gradient is taken at its own weights, and what it sends is just this noised update. The mean of the models,
weighted by declared size, moves by the sum of the updates as the global model of a job does, because pulls to the mean
leave the mean where it is. So the sum is the only thing that is fetched, under the job's own aggregation, and a site's
model is post-processing of its own T noised updates and of the mean: nothing beyond the training itself is charged.

The mean over sites is the model that λ = ∞ gives every site, which is the global one; with λ = 0 each trains alone.

Reference: Liu et al., arXiv:2206.07902; the pull is an exact minimum, see `pull`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from almoner.training.descent import Descent
from almoner.training.personalise.federation import Federation
from almoner.training.personalise.method import Method
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.pull import Weights, pulled
from almoner.training.personalise.rounds import Rounds, total_of


@dataclass(frozen=True, slots=True)
class MrMtl(Method):
    """Own models that are pulled to their mean: T noised steps at a site.

    Args:
        strength: λ; 0 trains alone, infinity gives the global model.
    """

    name: ClassVar[str] = "mr_mtl"
    strength: float

    def num_steps(self, plan: PersonalPlan) -> int:
        """Return T."""
        return plan.num_steps

    def train(self, federation: Federation) -> dict[str, Weights]:
        """Train all own models, round by round."""
        rounds, rate = federation.rounds(), federation.plan.learning_rate
        mean = rounds.descent(federation.start, rate)
        own = {site: rounds.descent(federation.start, rate) for site in federation.sites}
        for _ in range(federation.plan.rounds):
            step_to_the_mean(rounds, mean, own, self.strength, rate)
        return {site: descent.weights for site, descent in own.items()}


def step_to_the_mean(
    rounds: Rounds, mean: Descent, own: Mapping[str, Descent], strength: float, learning_rate: float
) -> None:
    """Take one round: an own step each, the sum of which moves the mean, and the pull to it.

    Guarantee: where `mean` was the mean of the own weights by declared size, it is so afterwards, up to rounding.
    """
    updates = rounds.updates({site: descent.weights for site, descent in own.items()})
    mean.apply(total_of(updates), rounds.total_nominal)
    for site, descent in own.items():
        descent.apply(updates[site], rounds.nominal_records[site])
        descent.weights = pulled(descent.weights, mean.weights, strength, learning_rate)
