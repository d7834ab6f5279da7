"""How far discrete Laplace noise reaches: exact tails and quantiles of one draw or a sum of several.

One draw has P(Z = z) = (1 - p)/(1 + p) p^|z| with p = e^-ε. It is the difference of two geometric
variables, so a sum of m draws is the difference A - B of two sums of m geometric ones. Strike off equal
parts of A's and B's current terms: both end together with probability (1 - p)/(1 + p), or one
outlasts the other, with p/(1 + p) each, and by lack of memory the rest is geometric again. When B has no
terms left and A has a, the sum exceeds x just if x Bernoulli(1 - p) trials succeed fewer than a times.
"""

import math


def tail(bound: int, epsilon: float, num_draws: int) -> float:
    """Return P(S > bound), S a sum of independent discrete Laplace draws.

    Args:
        bound: in counts, at least 0.
        epsilon: every draw has P(z) proportional to e^(-ε|z|).
        num_draws: number of draws, at least 1.
    """
    weights = _terms_left(epsilon, num_draws)
    return sum(weight * _fewer_successes(bound, left, epsilon) for left, weight in enumerate(weights) if left)


def quantile(miss: float, epsilon: float, num_draws: int) -> int:
    """Return the least k with P(|S| > k) <= miss, in counts.

    Args:
        miss: probability in (0, 1).
        epsilon: as for `tail`.
        num_draws: as for `tail`.
    """
    high = 1
    while 2 * tail(high, epsilon, num_draws) > miss:
        high *= 2
    low = -1
    while high - low > 1:
        middle = (low + high) // 2
        if 2 * tail(middle, epsilon, num_draws) > miss:
            low = middle
        else:
            high = middle
    return high


def _terms_left(epsilon: float, num_draws: int) -> list[float]:
    """Return, for each a, the probability that B runs out of terms while A has a left."""
    p = math.exp(-epsilon)
    both, one = -math.expm1(-epsilon) / (1 + p), p / (1 + p)
    size = num_draws + 1
    reach = [[0.0] * size for _ in range(size)]
    reach[num_draws][num_draws] = 1.0
    for a in range(num_draws, 0, -1):
        for b in range(num_draws, 0, -1):
            reach[a - 1][b - 1] += both * reach[a][b]
            reach[a][b - 1] += one * reach[a][b]
            reach[a - 1][b] += one * reach[a][b]
    return [reach[a][0] for a in range(size)]


def _fewer_successes(trials: int, successes: int, epsilon: float) -> float:
    """Return the probability of fewer than so many successes in trials that fail with e^-ε."""
    if trials < successes:
        return 1.0
    odds = math.expm1(epsilon)
    term = math.exp(-epsilon * trials)
    total = term
    for done in range(1, successes):
        term *= odds * (trials - done + 1) / done
        total += term
    return min(total, 1.0)
