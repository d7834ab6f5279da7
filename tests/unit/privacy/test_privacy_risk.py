import math

import pytest
from privacy_cases import gaussian, pure

from almoner.privacy.pld import pld_epsilon
from almoner.privacy.risk import FALSE_POSITIVE_RATES, attack_risk


def cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def quantile(p: float) -> float:
    low, high = -10.0, 10.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if cdf(middle) < p else (low, middle)
    return low


@pytest.mark.parametrize(("sigma", "count"), [(1.0, 1), (2.0, 3), (20.0, 50)])
def test_the_gaussian_is_never_under_its_closed_form_and_near_it(sigma: float, count: int) -> None:
    # Dong, Roth, Su, arXiv:1905.02383: the trade-off of Gaussians at μ is Φ(Φ⁻¹(1 - α) - μ)
    mu = math.sqrt(count) / sigma
    risk = attack_risk((gaussian(sigma, 1.0, count),))
    exact = cdf(mu / 2) - cdf(-mu / 2)
    assert exact - 1e-9 <= risk.advantage <= exact + 1e-3
    for rate, found in zip(FALSE_POSITIVE_RATES, risk.true_positive_rates, strict=True):
        exact = 1 - cdf(quantile(1 - rate) - mu)
        assert exact - 1e-9 <= found <= exact + 1e-3


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
def test_randomised_response_is_its_two_points(epsilon: float) -> None:
    p = 1 / (1 + math.exp(-epsilon))
    risk = attack_risk((pure(epsilon),))
    assert risk.advantage == pytest.approx(2 * p - 1, abs=1e-3)
    for rate, found in zip(FALSE_POSITIVE_RATES, risk.true_positive_rates, strict=True):
        assert found == pytest.approx(min(rate * math.exp(epsilon), 1 - (1 - rate) * math.exp(-epsilon)), abs=1e-3)


def test_no_attack_beats_what_epsilon_and_delta_allow() -> None:
    events, delta = (gaussian(7.297, 0.5, 20), pure(0.1)), 1e-4
    risk, epsilon = attack_risk(events), pld_epsilon(events, delta)
    for rate, found in zip(FALSE_POSITIVE_RATES, risk.true_positive_rates, strict=True):
        assert rate < found <= rate * math.exp(epsilon) + delta
    assert 0 < risk.advantage < math.tanh(epsilon / 2) + delta


def test_more_releases_mean_more_risk() -> None:
    one, two = attack_risk((gaussian(5.0, 0.2, 50),)), attack_risk((gaussian(5.0, 0.2, 100),))
    assert one.advantage < two.advantage
    assert all(a < b for a, b in zip(one.true_positive_rates, two.true_positive_rates, strict=True))


def test_nothing_released_leaves_guessing() -> None:
    assert attack_risk(()).true_positive_rates == FALSE_POSITIVE_RATES
    assert attack_risk(()).advantage == 0


def test_what_is_not_affordable_is_not_computed() -> None:
    assert attack_risk((gaussian(0.02, 1.0, 1000),)) is None
    assert attack_risk((gaussian(40.0, 0.01, 1_000_000),)) is None
