"""How often guesses about many canaries of one run may be right: pure functions, no randomness.

In one run each of m canaries is in the data or not, by a fair coin of its own. Whoever sees the run's result guesses
for some of them, and abstains from the others. If the mechanism keeps its claim, more than so many right guesses are
unlikely: that turns a count of right guesses into a statement about the claim.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom

from almoner.errors import PolicyViolation

Curve = Callable[[float], float]
"""A symmetric, convex trade-off function f: false alarm rate -> least miss rate."""

_BISECTIONS = 40
_LEAST = 1e-12


def refutes(curve: Curve, num_canaries: int, num_guesses: int, num_correct: int, significance: float) -> bool:
    """Say whether so many right guesses are less likely than `significance` under f-DP.

    Guarantee: for every mechanism that is f-DP under adding or removing one canary, and every way of guessing, the
    chance that this answers True is at most `significance`.

    Args:
        curve: f of the claim.
        num_canaries: m, each in the data by a fair coin.
        num_guesses: how many were guessed, fixed in advance.
        num_correct: how many guesses were right.
        significance: in (0, 1).

    Raises:
        PolicyViolation: the counts do not fit each other.

    Reference: Mahloujifar, Melis, Chaudhuri, arXiv:2410.22235, recursion `audit_rh_with_cap`; two outcomes a canary.
    """
    _check(num_canaries, num_guesses, num_correct)
    right = significance * num_correct / num_canaries
    wrong = significance * (num_guesses - num_correct) / num_canaries
    for count in range(num_correct - 1, -1, -1):
        most_wrong = max(wrong, curve(1.0 - right))
        if most_wrong == wrong:
            break
        right = min(1.0, right + count / (num_guesses - count) * (most_wrong - wrong))
        wrong = most_wrong
    return right + wrong > num_guesses / num_canaries


def p_value(curve: Curve, num_canaries: int, num_guesses: int, num_correct: int) -> float:
    """Return the smallest significance at which `refutes` is true, 1.0 if there is none; within a factor of 1.001."""
    low, high = math.log(_LEAST), 0.0
    if refutes(curve, num_canaries, num_guesses, num_correct, _LEAST):
        return _LEAST
    if num_correct == 0 or not refutes(curve, num_canaries, num_guesses, num_correct, 1.0 - _LEAST):
        return 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if refutes(curve, num_canaries, num_guesses, num_correct, math.exp(middle)):
            high = middle
        else:
            low = middle
        if high - low < 1e-3:
            break
    return math.exp(high)


def one_run_epsilon(num_canaries: int, num_guesses: int, num_correct: int, significance: float, delta: float) -> float:
    """Return a lower bound on ε at δ that right guesses show by themselves, whatever the mechanism is; 0 if none.

    Guarantee: if the mechanism is (ε, δ)-DP, the chance that this exceeds ε is at most `significance`.

    Args:
        num_canaries: m, each in the data by a fair coin.
        num_guesses: how many were guessed, fixed in advance.
        num_correct: how many guesses were right.
        significance: in (0, 1).
        delta: δ.

    Raises:
        PolicyViolation: the counts do not fit each other.

    Reference: Steinke, Nasr, Jagielski, arXiv:2305.08846, the p-value at (ε, δ) of Appendix D.
    """
    _check(num_canaries, num_guesses, num_correct)

    def excess(epsilon: float) -> float:
        return _chance(epsilon, num_canaries, num_guesses, num_correct, delta) - significance

    if excess(0.0) >= 0:
        return 0.0
    high = 1.0
    while excess(high) < 0:
        high *= 2
    return float(brentq(excess, 0.0, high, xtol=1e-9))


def ceiling(num_canaries: int, significance: float = 0.05) -> float:
    """Return the largest ε that guesses about m canaries can ever show: ln(p/(1-p)), p = significance^(1/m).

    It is what `one_run_epsilon` gives at δ = 0 if every guess is right.
    """
    right = significance ** (1 / num_canaries)
    return math.log(right / (1 - right))


def _chance(epsilon: float, num_canaries: int, num_guesses: int, num_correct: int, delta: float) -> float:
    """Bound the chance of so many right guesses or more under (ε, δ)-DP."""
    right = expit(epsilon)
    tail = float(binom.sf(num_correct - 1, num_guesses, right))
    fewer = np.arange(1, num_correct + 1)
    gains = (binom.sf(num_correct - fewer - 1, num_guesses, right) - tail) / fewer
    return min(1.0, tail + 2 * num_canaries * delta * float(gains.max(initial=0.0)))


def _check(num_canaries: int, num_guesses: int, num_correct: int) -> None:
    if not 0 <= num_correct <= num_guesses <= num_canaries or num_guesses < 1:
        raise PolicyViolation(
            f"audit: {num_correct} right of {num_guesses} guesses about {num_canaries} canaries → correct the counts"
        )
