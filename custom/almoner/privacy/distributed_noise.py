"""Noise that no site makes alone: each adds a share inside secure aggregation, so that only the noised total opens.

A part of the request whose target is ρ needs σ = Δ/√(2ρ) in the total. Of n sites at least t contribute to every sum
that opens, and c of them may tell the server their shares; so σ is what any t - c shares must reach, and each site
adds σ_i = σ/√(t - c). Sizing by n - c instead would leave σ·√((t - c)/(n - c)) once sites drop out: 0.76 σ of ten sites
with c = 3.

A sum of discrete Gaussians is not quite one. With m = t - c shares and d cells the total is ½ε²-zCDP for

    ε = Δ/σ + τ·√d,   τ = 10·Σ_{k=1}^{m-1} exp(-2π²·σ_i²·k/(k+1))

and with σ_i of at least 4 steps τ is below 10^-65. So that σ_i is that large, integers are sent in steps of 1/g of a
unit where a target allows less noise: times g, the least that is enough, and Δ with them.

Reference: Kairouz, Liu, Steinke, "The distributed discrete Gaussian mechanism", arXiv:2102.06387, Theorem 1 (with n
there the number of honest contributors, m here).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

from almoner.errors import PolicyViolation, ProtocolError
from almoner.privacy.plan import JobPlan, PlannedStep
from almoner.privacy.statistics_plan import STATISTICS_STEP, Part, statistics_parts
from almoner.privacy.zcdp import largest_rho
from almoner.protection.parties import Parties
from almoner.schema.receipt import ZcdpRelease
from almoner.schema.statistics import StatisticsSpec

MIN_SITE_SIGMA = 4.0
"""In steps of the integers that are sent. Below, sums of shares are no longer close to a discrete Gaussian."""

_SAFETY = 1 + 1e-12
"""Covers the rounding of a few floating-point operations, on the safe side."""


@dataclass(frozen=True)
class SharedNoise:
    """What each site adds to the cells of one part.

    Args:
        steps: g, how many steps a unit has.
        step_sigma: σ_i of the discrete Gaussian that a site draws for each cell, in steps.
        num_shares: t - c, the shares that the guarantee counts on.
    """

    part: Part
    steps: int
    step_sigma: float
    num_shares: int

    @property
    def site_sigma(self) -> float:
        """σ_i in units."""
        return self.step_sigma / self.steps

    @property
    def sigma(self) -> float:
        """What the shares that count amount to at least, in units."""
        return self.site_sigma * math.sqrt(self.num_shares)

    @property
    def rho(self) -> float:
        """What the part is charged: ½ε², see the module."""
        bound = self.part.bound * self.steps
        epsilon = distributed_epsilon(bound, self.step_sigma, self.num_shares, self.part.num_cells)
        return epsilon**2 / 2 * _SAFETY


def distributed_epsilon(bound: float, site_sigma: float, num_shares: int, num_cells: int) -> float:
    """Return ε such that the sum of shares is ½ε²-zCDP.

    Args:
        bound: Δ, the most that one unit of privacy moves the cells in the L2 norm, in steps.
        site_sigma: σ_i, in steps.
        num_shares: m, the shares in the sum that nobody else knows.
        num_cells: d.

    Raises:
        PolicyViolation: σ_i is below `MIN_SITE_SIGMA`, or there is no share.
    """
    if num_shares < 1 or not site_sigma >= MIN_SITE_SIGMA:
        raise PolicyViolation(
            f"distributed noise: σ_i={site_sigma:g} steps, at least {MIN_SITE_SIGMA:g} needed → lower target_epsilon"
        )
    exponents = (-2 * math.pi**2 * site_sigma**2 * k / (k + 1) for k in range(1, num_shares))
    tau = 10 * math.fsum(math.exp(exponent) for exponent in exponents)
    return (bound / (site_sigma * math.sqrt(num_shares)) + tau * math.sqrt(num_cells)) * _SAFETY


@lru_cache(maxsize=64)
def shared_noise(spec: StatisticsSpec, num_sites: int) -> tuple[SharedNoise, ...]:
    """Return what each site of a distributed request adds, part by part.

    *Guarantee*: as long as at least t sites are in the total and at most c of them tell their shares, the parts
    together are (target_epsilon, target_delta)-DP for one unit under add-or-remove-one, against the server, the
    analyst and the c sites.

    Args:
        num_sites: n, all sites of the job.

    Raises:
        PolicyViolation: the request is not distributed, or there are too few sites for those that may collude.
    """
    if spec.trust.kind != "distributed":
        raise PolicyViolation(f"request {spec.name}: its noise is not shared → set trust.kind to distributed")
    try:
        threshold = Parties(num_sites, spec.trust.num_colluding_sites).threshold
    except ProtocolError as error:
        raise PolicyViolation(str(error)) from None
    num_shares = threshold - spec.trust.num_colluding_sites
    rho = largest_rho(spec.privacy.target_epsilon, spec.privacy.target_delta)
    return tuple(_share_of(part, rho * part.share, num_shares) for part in statistics_parts(spec))


def _share_of(part: Part, rho: float, num_shares: int) -> SharedNoise:
    """Return the least σ_i that keeps a part to its ρ, on the coarsest grid on which it is large enough."""
    needed = part.bound / math.sqrt(2 * rho * num_shares) * (1 + 1e-9)
    steps = max(1, math.ceil(MIN_SITE_SIGMA / needed))
    return SharedNoise(part, steps, max(MIN_SITE_SIGMA, needed * steps), num_shares)


def distributed_plan(spec: StatisticsSpec, num_sites: int) -> JobPlan:
    """Return the one step of a distributed request at each of its sites.

    The events name what they rest on, so that the ledger does.

    Raises:
        PolicyViolation: see `shared_noise`.
    """
    shares = shared_noise(spec, num_sites)
    counted, colluding = shares[0].num_shares, spec.num_colluding_sites
    assumed = f"{counted} of {num_sites} sites keep their noise, {colluding} may not, and no unit is at two sites"
    events = tuple(ZcdpRelease(kind="zcdp_release", rho=each.rho, count=1, assumption=assumed) for each in shares)
    return JobPlan(0.0, (PlannedStep(STATISTICS_STEP, events),))
