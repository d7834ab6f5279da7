"""One model for all sites: the job as it is, and FedProx.

FedProx keeps local steps near the round's start by a pull that needs no data. So it costs nothing beyond its noised
steps. With one local step a round the pull is 0, and it is FedAvg; it is of use where a round has several.

Reference: Li et al., arXiv:1812.06127, algorithm 2 (with a fixed number of local steps).
"""

from dataclasses import dataclass
from typing import ClassVar

from almoner.training.personalise.federation import Federation
from almoner.training.personalise.method import Method
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.pull import Weights
from almoner.training.personalise.rounds import Rounds


@dataclass(frozen=True, slots=True)
class GlobalModel(Method):
    """The job as it is: T noised steps at a site."""

    name: ClassVar[str] = "global"

    def num_steps(self, plan: PersonalPlan) -> int:
        """Return T."""
        return plan.num_steps

    def train(self, federation: Federation) -> dict[str, Weights]:
        """Train one model, which all sites use."""
        weights = train_shared(federation, federation.rounds(), federation.plan.rounds)
        return dict.fromkeys(federation.sites, weights)


@dataclass(frozen=True, slots=True)
class FedProx(Method):
    """Fewer rounds of more local steps, pulled back to the round's start: at most T noised steps at a site.

    Args:
        local_steps: of a round; there are ⌊T/local_steps⌋ rounds.
        proximal: μ; 0 is FedAvg with these local steps.
    """

    name: ClassVar[str] = "fedprox"
    local_steps: int
    proximal: float

    def num_steps(self, plan: PersonalPlan) -> int:
        """Return T, less what is short of a whole round."""
        return plan.num_steps // self.local_steps * self.local_steps

    def train(self, federation: Federation) -> dict[str, Weights]:
        """Train one model, which all sites use."""
        rounds = federation.rounds(self.local_steps, self.proximal)
        weights = train_shared(federation, rounds, federation.plan.num_steps // self.local_steps)
        return dict.fromkeys(federation.sites, weights)


def train_shared(federation: Federation, rounds: Rounds, num_rounds: int) -> Weights:
    """Train one model over all sites, as a job does."""
    descent = rounds.descent(federation.start, federation.plan.learning_rate)
    for _ in range(num_rounds):
        rounds.shared_step(descent)
    return descent.weights
