"""What a noised accuracy says: an estimate, how far the noise alone can move it, and one sentence.

The interval covers the accuracy *on these test records*, of one site or pooled over several. It
accounts for the noise and nothing else: how well the model does on other patients is a question of
the number of test records, which it does not answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from almoner.errors import ProtocolError
from almoner.release.accuracy import NoisyAccuracy, event
from almoner.release.laplace_law import quantile

MAX_SITES = 50
MOSTLY_NOISE_WIDTH = 0.5
"""From this width of the interval on, a reading is called mostly noise."""

ROUGH_WIDTH = 0.1
"""From this width of the interval on, a reading is called rough."""


@dataclass(frozen=True)
class AccuracyReading:
    """A noised accuracy, read.

    Args:
        estimate: accuracy in [0, 1]; None when the noisy total is not positive.
        lower: lower end of the interval.
        upper: upper end of the interval.
        confidence: share of releases whose interval holds the true accuracy on these records, at least.
        noisy_total: noised number of test records.
        noise_bound: counts by which either number may be off.
        text: one sentence for a reader who knows no statistics.
    """

    estimate: float | None
    lower: float
    upper: float
    confidence: float
    noisy_total: int
    noise_bound: int
    text: str


def interpret(
    noisy_correct: int, noisy_wrong: int, epsilon: float, confidence: float = 0.95, num_sites: int = 1
) -> AccuracyReading:
    """Read one noised histogram, or the sum of several sites'.

    *Guarantee*: if there is a test record, the interval holds the accuracy on the records with at
    least the stated confidence over the noise: each count gets half of the error probability
    (Bonferroni) and the exact quantile of its discrete Laplace noise.

    Args:
        noisy_correct: noised records right, summed over the sites.
        noisy_wrong: noised records wrong, summed over the sites.
        epsilon: ε of every site's release.
        confidence: in (0, 1).
        num_sites: sites in the sum.

    Raises:
        PolicyViolation: ε is out of range.
        ProtocolError: the confidence or the number of sites is out of range.
    """
    if not 0 < confidence < 1:
        raise ProtocolError(f"accuracy: confidence {confidence!r} is not in (0, 1): 0.95 is usual")
    if not 1 <= num_sites <= MAX_SITES:
        raise ProtocolError(f"accuracy: {num_sites!r} sites, expected 1 to {MAX_SITES}: check who released")
    noise_bound = quantile((1 - confidence) / 2, event(epsilon).epsilon, num_sites)
    total = noisy_correct + noisy_wrong
    lower, upper = _interval(noisy_correct, noisy_wrong, noise_bound) if total > 0 else (0.0, 1.0)
    estimate = min(1.0, max(0.0, noisy_correct / total)) if total > 0 else None
    at = f"ε={epsilon:g}" + (f" from each of {num_sites} sites" if num_sites > 1 else "")
    text = _sentence(total, at, estimate, (lower, upper), confidence)
    return AccuracyReading(estimate, lower, upper, confidence, total, noise_bound, text)


def interpret_sum(releases: Sequence[NoisyAccuracy], epsilon: float, confidence: float = 0.95) -> AccuracyReading:
    """Read several sites' releases as one: the accuracy pooled over all their test records.

    Args:
        releases: one release of each site, all at the same ε.
        epsilon: that ε.
        confidence: in (0, 1).

    Raises:
        PolicyViolation: ε is out of range.
        ProtocolError: no release, too many, or the confidence is out of range.
    """
    noisy_correct = sum(release.noisy_correct for release in releases)
    noisy_wrong = sum(release.noisy_wrong for release in releases)
    return interpret(noisy_correct, noisy_wrong, epsilon, confidence, len(releases))


def _interval(noisy_correct: int, noisy_wrong: int, bound: int) -> tuple[float, float]:
    """Return the least and greatest accuracy of counts within a bound of the noisy ones."""
    few_correct, many_correct = max(0, noisy_correct - bound), max(0, noisy_correct + bound)
    few_wrong, many_wrong = max(0, noisy_wrong - bound), max(0, noisy_wrong + bound)
    lower = few_correct / (few_correct + many_wrong) if few_correct else 0.0
    upper = many_correct / (many_correct + few_wrong) if many_correct + few_wrong else 1.0
    return lower, upper


def _sentence(total: int, at: str, estimate: float | None, interval: tuple[float, float], confidence: float) -> str:
    """Return the reading in words; the interval is rounded outwards."""
    if estimate is None:
        return f"no information: at {at} the noise hides how many test records there are"
    width = interval[1] - interval[0]
    verdict = "mostly noise" if width >= MOSTLY_NOISE_WIDTH else "rough" if width >= ROUGH_WIDTH else "little noise"
    records = "1 test record" if total == 1 else f"{total} test records"
    low, high = math.floor(interval[0] * 100), math.ceil(interval[1] * 100)
    return (
        f"about {records} at {at}: {verdict}; accuracy {estimate * 100:.0f} % on them, "
        f"and the noise alone allows {low} % to {high} % (confidence {confidence * 100:g} %)"
    )
