"""Makes accounting.json anew: python tests/vectors/privacy/make_accounting.py (see SOURCES.md).

Uses mpmath and dp_accounting directly; imports nothing from almoner.
"""

import json
from pathlib import Path
from typing import Any

import dp_accounting
import mpmath
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import RdpAccountant
from mpmath import mpf

mpmath.mp.dps = 200
OUT = Path(__file__).with_name("accounting.json")


def budget(epsilon: float, delta: float, order: int) -> mpf:
    """B = ε - ln((α-1)/α) + (ln δ + ln α)/(α-1), from the decimal values as written."""
    alpha = mpf(order)
    return (
        mpf(repr(epsilon))
        - mpmath.log((alpha - 1) / alpha)
        + (mpmath.log(mpf(repr(delta))) + mpmath.log(alpha)) / (alpha - 1)
    )


def gaussian_rdp(sigma: str, q: str, order: int) -> mpf:
    """RDP of the sampled Gaussian from its definition: log of the α-th moment by the binomial sum."""
    sigma_, q_ = mpf(sigma), mpf(q)
    moment = mpmath.fsum(
        mpmath.binomial(order, i) * q_**i * (1 - q_) ** (order - i) * mpmath.exp(mpf(i * i - i) / (2 * sigma_**2))
        for i in range(order + 1)
    )
    return mpmath.log(moment) / (order - 1)


def integrated_rdp(sigma: str, q: str, order: int) -> tuple[mpf, mpf]:
    """RDP of the sampled Gaussian from the integral over the two densities: (a unit removed, a unit added)."""
    with mpmath.workdps(30):
        s, q_, alpha = mpf(sigma), mpf(q), mpf(order)

        def ratio(x: mpf) -> mpf:
            return 1 - q_ + q_ * mpmath.exp((2 * x - 1) / (2 * s**2))

        def moment(power: mpf) -> mpf:
            # the integrand peaks at 0 without a unit, at up to `power` with it
            bounds = [-15 * s, -5 * s, 0, *range(1, abs(int(power)) + 1), order + 5 * s, order + 15 * s]
            return mpmath.quad(lambda x: mpmath.npdf(x, 0, s) * ratio(x) ** power, sorted(bounds))

        return mpmath.log(moment(alpha)) / (alpha - 1), mpmath.log(moment(1 - alpha)) / (alpha - 1)


def pure_rdp(epsilon: str, order: int) -> mpf:
    """Rényi divergence of randomised response with p = 1 / (1 + e^-ε)."""
    p = 1 / (1 + mpmath.exp(-mpf(epsilon)))
    return mpmath.log(p**order * (1 - p) ** (1 - order) + (1 - p) ** order * p ** (1 - order)) / (order - 1)


def _discrete_weights(sigma: mpf, reach: int) -> dict[int, mpf]:
    """Unnormalised weights of the discrete Gaussian."""
    return {z: mpmath.exp(-(mpf(z) ** 2) / (2 * sigma**2)) for z in range(-reach, reach + 1)}


def discrete_gaussian_rdp(sigma: str, order: int) -> mpf:
    """Rényi divergence of the discrete Gaussian from itself moved by 1, summed over the integers."""
    with mpmath.workdps(40):
        s = mpf(sigma)
        weights = _discrete_weights(s, int(60 * s) + 60)
        moved = {z: -(mpf(z - 1) ** 2) / (2 * s**2) for z in weights}
        terms = (weights[z] ** order * mpmath.exp((1 - order) * moved[z]) for z in weights)
        return mpmath.log(mpmath.fsum(terms) / mpmath.fsum(weights.values())) / (order - 1)


def discrete_gaussian_delta(sigma: str, epsilon: str) -> mpf:
    """δ at ε of one discrete Gaussian release of sensitivity 1: the hockey-stick divergence, summed."""
    with mpmath.workdps(40):
        s, lift = mpf(sigma), mpmath.exp(mpf(epsilon))
        weights = _discrete_weights(s, int(60 * s) + 60)
        excess = mpmath.fsum(max(mpf(0), weights[z] - lift * weights.get(z - 1, mpf(0))) for z in weights)
        return excess / mpmath.fsum(weights.values())


def continuous_gaussian_delta(sigma: str, epsilon: str) -> mpf:
    """δ at ε of one Gaussian release: Balle and Wang, arXiv:1805.06530, Theorem 8."""
    mu, e = 1 / mpf(sigma), mpf(epsilon)
    return mpmath.ncdf(mu / 2 - e / mu) - mpmath.exp(e) * mpmath.ncdf(-mu / 2 - e / mu)


def _solve(delta_at: Any, delta: str, high: int) -> mpf:
    """Bisect for the ε at which a falling δ(ε) reaches δ."""
    low, top, target = mpf(0), mpf(high), mpf(delta)
    for _ in range(120):
        middle = (low + top) / 2
        low, top = (middle, top) if delta_at(middle) > target else (low, middle)
    return top


def exact_pure_epsilon(epsilon: str, count: int, delta: str) -> mpf:
    """ε of `count` randomised responses: the hockey-stick divergence over all binomial outcomes."""
    e = mpf(epsilon)
    p = 1 / (1 + mpmath.exp(-e))
    outcomes = [
        (e * (2 * k - count), mpmath.binomial(count, k) * p**k * (1 - p) ** (count - k)) for k in range(count + 1)
    ]
    return _solve(lambda x: mpmath.fsum(w * (1 - mpmath.exp(x - loss)) for loss, w in outcomes if loss > x), delta, 40)


def exact_gaussian_epsilon(sigma: str, count: int, delta: str) -> mpf:
    """ε of `count` plain Gaussians: Balle and Wang, arXiv:1805.06530, Theorem 8, at μ = √count / σ."""
    mu = mpmath.sqrt(count) / mpf(sigma)
    return _solve(lambda x: mpmath.ncdf(mu / 2 - x / mu) - mpmath.exp(x) * mpmath.ncdf(-mu / 2 - x / mu), delta, 200)


def library_pld(q: float, sigma: float, count: int, delta: float, grid: float) -> float:
    """dp_accounting's PLD on a stated grid."""
    one = pld.from_gaussian_mechanism(sigma, value_discretization_interval=grid, sampling_prob=q)
    return float(one.self_compose(count).get_epsilon_for_delta(delta))


def library_rdp(event: dp_accounting.DpEvent, count: int, delta: float) -> float:
    """dp_accounting's RDP ε at the best of its default, fractional orders."""
    return float(RdpAccountant().compose(event, count).get_epsilon(delta))


def vectors() -> dict[str, Any]:
    """Compute every vector."""
    sampled = dp_accounting.PoissonSampledDpEvent(256 / 60000, dp_accounting.GaussianDpEvent(1.1))
    laplace = pld.from_laplace_mechanism(10.0, value_discretization_interval=1e-4).self_compose(300)
    budgets = [
        (3.0, 1e-4, 8),
        (3.0, 1e-4, 6),
        (8.0, 1e-4, 3),
        (1.0, 1e-4, 14),
        (3.0, 1e-5, 8),
        (8.0, 1e-5, 4),
        (1.0, 1e-5, 18),
    ]
    gaussians = [("7.297", "0.5", 8), ("7.297", "0.5", 6), ("15.551", "0.5", 8), ("0.3", "0.001", 4), ("1.1", "1", 2)]
    gaussians += [("1", "1e-8", 8), ("100", "1e-9", 18), ("1000", "0.001", 32), ("2", "0.01", 64), ("0.8", "0.2", 512)]
    integrated = [("7.297", "0.5", 6), ("1.1", "0.01", 8), ("0.7", "0.2", 4), ("3", "0.9", 8), ("2", "1", 5)]
    pure = [("0.1", 8), ("0.1", 6), ("1e-6", 2), ("1", 18), ("10", 4), ("100", 512)]
    return {
        "budget": [{"epsilon_cap": e, "delta": d, "order": a, "budget": float(budget(e, d, a))} for e, d, a in budgets],
        "gaussian_rdp": [
            {"sigma": float(s), "q": float(q), "order": a, "rdp": float(gaussian_rdp(s, q, a))} for s, q, a in gaussians
        ],
        "integrated_rdp": [
            {"sigma": float(s), "q": float(q), "order": a, "removed": float(removed), "added": float(added)}
            for s, q, a in integrated
            for removed, added in (integrated_rdp(s, q, a),)
        ],
        "pure_rdp": [{"epsilon": float(e), "order": a, "rdp": float(pure_rdp(e, a))} for e, a in pure],
        "discrete_gaussian_rdp": [
            {"sigma": float(s), "order": a, "rdp": float(discrete_gaussian_rdp(s, a))}
            for s, a in [("0.5", 2), ("1", 6), ("1", 18), ("5", 8)]
        ],
        "discrete_gaussian_delta": [
            {
                "sigma": float(s),
                "epsilon": float(e),
                "exact": float(discrete_gaussian_delta(s, e)),
                "continuous_too_low": float(continuous_gaussian_delta(s, e)),
            }
            for s, e in [("1", "4"), ("2", "2")]
        ],
        "mnist_dp_sgd": {
            "q": 256 / 60000,
            "sigma": 1.1,
            "count": 14062,
            "delta": 1e-5,
            "rdp_library": library_rdp(sampled, 14062, 1e-5),
            "pld_grid_1e-3": library_pld(256 / 60000, 1.1, 14062, 1e-5, 1e-3),
            "pld_grid_1e-4": library_pld(256 / 60000, 1.1, 14062, 1e-5, 1e-4),
        },
        "sixty_gaussians": {
            "sigma": 1.1,
            "count": 60,
            "delta": 1e-5,
            "exact": float(exact_gaussian_epsilon("1.1", 60, "1e-5")),
            "rdp_library": library_rdp(dp_accounting.GaussianDpEvent(1.1), 60, 1e-5),
        },
        "three_hundred_counts": {
            "epsilon": 0.1,
            "count": 300,
            "delta": 1e-5,
            "exact": float(exact_pure_epsilon("0.1", 300, "1e-5")),
            "laplace_pld_too_low": float(laplace.get_epsilon_for_delta(1e-5)),
        },
        "heart_job": {
            "target_epsilon": 1.0,
            "delta": 1e-4,
            "q": 0.5,
            "count": 20,
            "pld_at_7.297": library_pld(0.5, 7.297, 20, 1e-4, 1e-3),
            "pld_at_7.296": library_pld(0.5, 7.296, 20, 1e-4, 1e-3),
        },
    }


if __name__ == "__main__":
    OUT.write_text(json.dumps(vectors(), indent=1) + "\n")
