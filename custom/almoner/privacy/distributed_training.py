"""DP-SGD whose noise no site makes alone: each adds a share inside secure aggregation, and only the noised total opens.

Of n sites at least t contribute to every total that opens, and c of them may tell the server their shares. So m = t - c
shares must carry all of σ = z·S, with z the noise multiplier and S the sensitivity, and each site adds a discrete
Gaussian of σ_i = σ/√m. Local noise of the same guarantee puts n·σ² into the total; this puts n/m·σ².

What a round is charged is the Poisson-sampled Gaussian of noise multiplier z, at integer Rényi orders α alone:

- A unit is at one site, in its sample with probability q. The site rounds its clipped sum to a grid of step g, so the
  unit moves the total by an integer vector v, |v| ≤ S = C/g + √d steps, of which √d is at most 1/128.
- Were the m shares together one discrete Gaussian P of σ on the integers, its likelihood ratio against the shifted one
  would be exp((2⟨x,v⟩ - |v|²)/(2σ²)), whose k-th moment under P is exp((k² - k)|v|²/(2σ²)) for every integer k: since
  k·v is an integer vector too, completing the square sums over the same lattice. These are the continuous Gaussian's
  moments, and the sampled mechanism's divergence at an integer order is a sum of them, with binomial weights
  (arXiv:1908.10530, section 3.3; arXiv:2004.00010 for the discrete Gaussian). Both directions are covered, since
  x → v - x maps the lattice onto itself and swaps the two (arXiv:1908.10530, Theorem 5). At other orders, and for a
  PLD, this does not hold.
- The sum of m discrete Gaussians is one up to a factor exp(±τ·d), τ = 10·Σ_{k<m} exp(-2π²σ_i²·k/(k+1))
  (arXiv:2102.06387, section 4), which adds at most 3·τ·d to the divergence at an order of at least 2. With σ_i of at
  least 64 steps τ is below 10^-17000; that σ_i is larger by 10^-9 than it need be covers it many times over.
- Values are residues modulo p, the sum wraps, and nothing saturates: what a site cut off after its noise would be
  taken out of the noise of all.

Reference: Mironov, Talwar, Zhang, arXiv:1908.10530; Canonne, Kamath, Steinke, arXiv:2004.00010; Kairouz, Liu, Steinke,
arXiv:2102.06387.
"""

import math

from almoner.errors import PolicyViolation, ProtocolError
from almoner.protection.modulus import MODULUS
from almoner.protection.parties import Parties
from almoner.schema.job import JobSpec

MIN_SITE_SIGMA = 64.0
"""Least σ_i in steps; see the module."""
_LARGEST_ROUNDING = 1 / 128
"""g·√d over C: what rounding may add to the sensitivity."""
_SAFETY = 1 + 1e-9
_RECORDS_SLACK, _NOISE_SIGMAS = 16, 50
"""So many times the declared units, and σ_i of every site at once, fit the modulus."""


def shares_that_count(num_sites: int, num_colluding_sites: int) -> int:
    """Return m = t - c, the shares of noise that the guarantee counts on.

    Raises:
        PolicyViolation: there are too few sites for those that may collude.
    """
    try:
        return Parties(num_sites, num_colluding_sites).threshold - num_colluding_sites
    except ProtocolError as error:
        raise PolicyViolation(str(error)) from None


def assumption_of(spec: JobSpec, num_sites: int) -> str:
    """Return what a job's guarantee rests on beside its mechanism, "" where each site's noise is enough by itself.

    Args:
        num_sites: all sites of the job.

    Raises:
        PolicyViolation: there are too few sites for those that may collude.
    """
    if spec.privacy.mechanism != "distributed_dp":
        return ""
    colluding = spec.num_colluding_sites
    counted = shares_that_count(num_sites, colluding)
    return f"{counted} of {num_sites} sites keep their noise, {colluding} may not, and no unit is at two sites"


def share_sigma(noise_multiplier: float, sensitivity: float, num_shares: int) -> float:
    """Return σ_i, a site's share of the noise, in grid steps.

    *Guarantee*: the sum of `num_shares` such shares hides what one unit changes as a sampled Gaussian of
    `noise_multiplier` does, at every integer Rényi order; see the module.

    Args:
        noise_multiplier: z.
        sensitivity: S, in steps.
        num_shares: m.

    Raises:
        PolicyViolation: no share counts, or σ_i is below `MIN_SITE_SIGMA`.
    """
    sigma = noise_multiplier * sensitivity / math.sqrt(num_shares) * _SAFETY if num_shares > 0 else 0.0
    if not sigma >= MIN_SITE_SIGMA:
        raise PolicyViolation(
            f"distributed noise: σ_i={sigma:g} steps, at least {MIN_SITE_SIGMA:g} needed → a finer grid, or more sites"
        )
    return sigma


def shared_step(max_grad_norm: float, noise_multiplier: float, num_shares: int, dimension: int) -> float:
    """Return the step of the integer grid: the largest power of two on which rounding and shares are as promised.

    Args:
        max_grad_norm: C.
        noise_multiplier: z.
        num_shares: m.
        dimension: d.
    """
    by_rounding = max_grad_norm * _LARGEST_ROUNDING / math.sqrt(dimension)
    by_share = noise_multiplier * max_grad_norm / (MIN_SITE_SIGMA * math.sqrt(num_shares))
    return float(2.0 ** math.floor(math.log2(min(by_rounding, by_share))))


def check_range(clip_steps: float, site_sigma: float, num_sites: int, total_units: int) -> None:
    """Check that no total with its noise wraps, as far as the declared sizes go.

    What wraps is a wrong number, and no leak: values are reduced after the noise, whatever they are.

    Args:
        clip_steps: C in steps.
        site_sigma: σ_i in steps.
        num_sites: all sites of the job.
        total_units: declared units of all of them.

    Raises:
        PolicyViolation: a total could wrap.
    """
    largest = _RECORDS_SLACK * total_units * (clip_steps + 1) + _NOISE_SIGMAS * num_sites * site_sigma
    if largest >= MODULUS / 2:
        raise PolicyViolation("totals could wrap the modulus of secure aggregation → less noise, or fewer parameters")
