"""The ways to train that the communication study compares: each is a job that could be submitted, but for three.

All variants of a job have its total ε: the noise is calibrated to the steps that the variant takes. Unless it says
otherwise a variant runs under secret sharing, where narrow integers travel in fewer bytes.

Not to be submitted are: updates with entries left out (`sparsify` says why), images beside themselves shifted
(`shifts`), and data dealt anew (`splits`).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from almoner.schema.job import JobSpec, Mechanism

OWN_SPLIT = "as it is"
JOBS_OWN = None
"""A split: each site has its own data."""
EVEN = math.inf
"""A split: all sites have equal shares of each label."""

RATES = (0.5, 1.0, 2.0)
LOWER_RATES = (0.1, 0.3, 1.0)
"""Factors on the learning rate that are tried on held-out training units; the lower where updates drift or are late."""
MAX_LEARNING_RATE = 1000.0
"""The schema's."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to train.

    Args:
        name: in table and plot.
        protection: kind of `aggregation`.
        local_steps: noisy steps a round; with more of them there are fewer rounds. None: as in the job.
        steps: noisy steps of the whole training, as a factor on the job's.
        update_bits, server_momentum: as in `TrainingSpec`; None: as in the job.
        pull: which part of its way a local step goes back to the round's first weights: FedProx with μ = pull / lr.
        mechanism: each site's noise enough by itself, unless it says otherwise.
        sent: which entries of an update are sent: all, the largest at each site, or the same random ones everywhere.
        share: of the entries that are sent.
        copies: of each record, the shifted ones among them; all of one unit.
        alpha: how the data is dealt, see `splits.deal`; None: as it is.
        rates: factors on the learning rate, of which the best one is taken.
    """

    name: str
    protection: Literal["secagg", "he", "plain"] = "secagg"
    local_steps: int | None = None
    steps: float = 1.0
    update_bits: int | None = None
    server_momentum: float | None = None
    pull: float = 0.0
    mechanism: Mechanism = "dp_sgd"
    sent: Literal["all", "largest", "shared"] = "all"
    share: float = 1.0
    copies: int = 1
    alpha: float | None = JOBS_OWN
    rates: tuple[float, ...] = RATES

    @property
    def run(self) -> "Variant":
        """The variant without what does not change its runs: sums are exact under every protection."""
        return replace(self, name="", protection="secagg")

    @property
    def split(self) -> str:
        """How the data is dealt, in words."""
        if self.alpha is JOBS_OWN:
            return OWN_SPLIT
        return "even" if math.isinf(self.alpha) else f"Dirichlet({self.alpha:g})"

    def job(self, spec: JobSpec, rate: float) -> JobSpec:
        """Return the job that a variant makes of another one; without releases, which are charged beside training.

        Args:
            rate: factor on the learning rate, beside one that makes up for another momentum: a steady gradient moves
                the weights as far.
        """
        document, training = spec.model_dump(), spec.training
        local_steps = self.local_steps or training.local_steps
        momentum = training.server_momentum if self.server_momentum is None else self.server_momentum
        learning_rate = training.learning_rate * rate * (1 - momentum) / (1 - training.server_momentum)
        learning_rate = min(learning_rate, MAX_LEARNING_RATE)
        document["training"] |= {
            "local_steps": local_steps,
            "learning_rate": learning_rate,
            "server_momentum": momentum,
            "proximal": self.pull / learning_rate,
            "update_bits": self.update_bits or training.update_bits,
        }
        document["rounds"] = max(1, round(spec.num_steps * self.steps / local_steps))
        document["privacy"]["mechanism"] = self.mechanism
        colluding = {} if self.protection == "plain" else {"num_colluding_sites": max(1, spec.num_colluding_sites)}
        document["aggregation"] = {"kind": self.protection} | colluding
        document["releases"] = ()
        return JobSpec.model_validate(document)


PROTECTIONS = (
    Variant(name="as the job"),
    Variant(name="under encryption", protection="he"),
    Variant(name="in clear", protection="plain"),
)
WIDTHS = tuple(Variant(name=f"{bits} bits", update_bits=bits) for bits in (10, 8, 6, 4))
FEWER_ROUNDS = (
    Variant(name="half the rounds", steps=0.5),
    Variant(name="a quarter of the rounds", steps=0.25),
    Variant(name="5 local steps", local_steps=5, rates=LOWER_RATES),
    Variant(name="10 local steps", local_steps=10, rates=LOWER_RATES),
    Variant(name="5 local steps, 10 bits", local_steps=5, update_bits=10, rates=LOWER_RATES),
)
SPARSE = (
    Variant(name="largest tenth", protection="plain", sent="largest", share=0.1, rates=LOWER_RATES),
    Variant(name="shared random tenth", sent="shared", share=0.1, rates=LOWER_RATES),
)
SHARED_NOISE = Variant(name="distributed noise", mechanism="distributed_dp")
NOISE = tuple(replace(variant, rates=(1.0,)) for variant in (PROTECTIONS[0], SHARED_NOISE))
"""Noise that each site adds for itself, and noise that all add together; both at the job's own learning rate."""
SHIFTED = (NOISE[0], Variant(name="5 copies, shifted", copies=5, rates=(1.0,)))
"""Images alone, and beside themselves shifted."""
COMMUNICATION = (*PROTECTIONS, *WIDTHS, *FEWER_ROUNDS, *SPARSE, SHARED_NOISE)
"""What saves bytes or rounds, on the job's own data."""


def _skew(alpha: float) -> tuple[Variant, ...]:
    """Return what is compared on data dealt with one parameter."""
    found = [
        Variant(
            name=f"{steps} local step{'s' * (steps > 1)}, momentum {momentum:g}",
            local_steps=steps,
            server_momentum=momentum,
            alpha=alpha,
            rates=RATES if steps == 1 else LOWER_RATES,
        )
        for steps in (1, 5, 10)
        for momentum in (0.0, 0.9)
    ]
    pulled = Variant(
        name="10 local steps, FedProx", local_steps=10, server_momentum=0.0, pull=0.1, alpha=alpha, rates=LOWER_RATES
    )
    return (*found, pulled)


SKEWS = (EVEN, 0.5, 0.1)
HETEROGENEITY = tuple(variant for alpha in SKEWS for variant in _skew(alpha))
"""What labels that are unevenly spread do to local steps, and what helps without costing privacy."""
