"""Makes bounds.json anew: python tests/vectors/redteam/make_bounds.py (see SOURCES.md).

Uses mpmath alone, with 30 digits; imports nothing from almoner.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import mpmath
from mpmath import mpf

mpmath.mp.dps = 30
OUT = Path(__file__).with_name("bounds.json")

Needed = Callable[[mpf], mpf]
"""True positive rate -> the least false positive rate that gives it: the inverse of 1 - f."""

ONE_RUN = [
    (300, 300, 300, "0.05", "0"),
    (300, 300, 200, "0.05", "0"),
    (300, 80, 70, "0.05", "0.00001"),
    (1000, 250, 190, "0.04", "0.0001"),
    (100, 50, 25, "0.05", "0.00001"),
]
TRADE_OFF = [
    ("gaussian", "1", 60, 60, 52),
    ("gaussian", "0.3", 200, 50, 38),
    ("gaussian", "2", 120, 60, 60),
    ("pure", "1", 60, 60, 54),
    ("pure", "0.5", 100, 40, 36),
    ("gaussian", "0.5", 50, 50, 30),
]


def tails(trials: int, rate: mpf) -> list[mpf]:
    """P[Binomial(trials, rate) >= k] for k = 0 ... trials, added up term by term."""
    found = [mpf(0)]
    for k in range(trials, -1, -1):
        found.append(found[-1] + math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k))
    return found[:0:-1]


def chance(epsilon: mpf, m: int, guesses: int, correct: int, delta: mpf) -> mpf:
    """arXiv:2305.08846, Appendix D."""
    above = tails(guesses, mpmath.exp(epsilon) / (1 + mpmath.exp(epsilon)))
    beta = above[correct]
    gain = max((above[correct - i] - beta) / i for i in range(1, correct + 1))
    return min(mpf(1), beta + 2 * m * delta * max(mpf(0), gain))


def one_run(m: int, guesses: int, correct: int, significance: str, delta: str) -> mpf:
    """The ε at which the chance is the significance, by bisection; 0 if it is larger there already."""
    low, high = mpf(0), mpf(64)
    if chance(low, m, guesses, correct, mpf(delta)) >= mpf(significance):
        return low
    for _ in range(45):
        middle = (low + high) / 2
        if chance(middle, m, guesses, correct, mpf(delta)) < mpf(significance):
            low = middle
        else:
            high = middle
    return low


def needed(kind: str, parameter: str) -> Needed:
    """The inverse of 1 - f of a Gaussian of parameter μ, or of pure ε."""
    if kind == "gaussian":
        mu = mpf(parameter)
        return lambda rate: mpmath.ncdf(mpmath.sqrt(2) * mpmath.erfinv(2 * rate - 1) - mu) if 0 < rate < 1 else rate
    growth = mpmath.exp(mpf(parameter))
    return lambda rate: max(rate / growth, 1 - growth * (1 - rate))


def total(inverse: Needed, m: int, guesses: int, correct: int, significance: mpf) -> mpf:
    """arXiv:2410.22235, `audit_rh_with_cap` with an alphabet of two: the mass that the recursion ends with."""
    h = {correct: significance * (guesses - correct) / m}
    r = {correct: significance * correct / m}
    for i in range(correct - 1, -1, -1):
        h[i] = max(h[i + 1], inverse(r[i + 1]))
        r[i] = r[i + 1] + mpf(i) / (guesses - i) * (h[i] - h[i + 1])
    return r[0] + h[0]


def smallest_significance(inverse: Needed, m: int, guesses: int, correct: int) -> mpf:
    """The significance at which the mass passes guesses / m, by bisection on its logarithm; 1 if it does not."""
    low, high = mpmath.log(mpf("1e-12")), mpf(0)
    if total(inverse, m, guesses, correct, mpf(1)) <= mpf(guesses) / m:
        return mpf(1)
    for _ in range(18):
        middle = (low + high) / 2
        if total(inverse, m, guesses, correct, mpmath.exp(middle)) > mpf(guesses) / m:
            high = middle
        else:
            low = middle
    return mpmath.exp(high)


def main() -> None:
    """Write all vectors."""
    vectors = {
        "one_run": [
            {
                "m": m,
                "guesses": k,
                "correct": c,
                "significance": float(s),
                "delta": float(d),
                "epsilon": float(one_run(m, k, c, s, d)),
            }
            for m, k, c, s, d in ONE_RUN
        ],
        "trade_off": [
            {
                "curve": kind,
                "parameter": float(p),
                "m": m,
                "guesses": k,
                "correct": c,
                "p_value": float(smallest_significance(needed(kind, p), m, k, c)),
            }
            for kind, p, m, k, c in TRADE_OFF
        ],
        "ceiling": [
            {"m": m, "epsilon": float(mpmath.log(mpf("0.05") ** (mpf(1) / m) / (1 - mpf("0.05") ** (mpf(1) / m))))}
            for m in (100, 300, 1000)
        ],
    }
    OUT.write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
