"""LiRA, RMIA and their rates on confidences whose distributions are known, and the draw of who is in."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from almoner.errors import PolicyViolation
from almoner.redteam.membership.rates import clopper_pearson, threshold_at, worth_of
from almoner.redteam.membership.scores import MIN_SHADOWS, confidences, lira_scores, rmia_scores
from almoner.redteam.membership.shadows import balanced_draw, units_of
from almoner.training.units import UnitRecords
from almoner.workloads.metrics import auc

MODELS, UNITS = 40, 400


def made(shift: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return log odds that membership shifts, each unit with a level of its own; and who is in."""
    rng, included = np.random.default_rng(seed), balanced_draw(MODELS, UNITS, seed)
    return 4 * rng.normal(size=UNITS) + rng.normal(size=included.shape) + shift * included, included


def losses_of(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.logaddexp(0, -odds)


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.48, 0.52), (1.0, 0.73, 0.78), (3.0, 0.97, 0.99)])
def test_lira_finds_a_shift_as_well_as_can_be(shift: float, low: float, high: float) -> None:
    """The best possible area is Φ(shift/√2): 0.5, 0.760, 0.983."""
    odds, included = made(shift)
    found = auc(lira_scores(odds, included).reshape(-1), included.reshape(-1))
    assert low < found < min(high, norm.cdf(shift / np.sqrt(2)) + 0.02)
    raw = auc(odds.reshape(-1), included.reshape(-1))
    assert found >= raw - 0.02
    assert shift == 0 or found > raw + 0.1  # a threshold for all units is worth much less


def test_rmia_finds_a_shift_and_guesses_without_one() -> None:
    def area(shift: float) -> float:
        odds, included = made(shift)
        outside = np.random.default_rng(1).normal(size=(MODELS, 300)) + 4 * np.random.default_rng(2).normal(size=300)
        scores = rmia_scores(losses_of(odds), included, losses_of(outside))
        assert ((scores >= 0) & (scores <= 1)).all()
        return auc(scores.reshape(-1), included.reshape(-1))

    assert area(0.0) == pytest.approx(0.5, abs=0.02)
    assert area(2.0) > 0.8


def test_confidences_are_log_odds_and_never_infinite() -> None:
    odds = np.array([-20.0, -1.0, 0.0, 3.0, 20.0])
    assert confidences(losses_of(odds)) == pytest.approx(odds, rel=1e-6)
    assert np.isfinite(confidences(np.array([0.0, 1e-300, 800.0]))).all()


def test_too_few_models_or_an_unbalanced_draw_are_refused() -> None:
    odds, included = made(1.0)
    with pytest.raises(PolicyViolation, match="16 models → take 17 or more"):
        lira_scores(odds[:MIN_SHADOWS], included[:MIN_SHADOWS])
    included[:, 0] = True
    with pytest.raises(PolicyViolation, match="balance the draw"):
        lira_scores(odds, included)


def test_each_unit_is_in_half_of_the_models() -> None:
    draw = balanced_draw(17, 50, 3)
    assert (draw.sum(axis=0) == 8).all()
    assert not (draw == balanced_draw(17, 50, 4)).all()
    assert draw.any(axis=1).all()


def test_a_unit_is_in_with_all_of_its_records_or_not_at_all() -> None:
    records = UnitRecords(torch.arange(6.0), torch.arange(6.0), np.array([2, 0, 1, 0, 2, 2]))
    kept = units_of(records, np.array([False, True, True]))
    assert kept.features.tolist() == [0.0, 2.0, 4.0, 5.0]
    assert kept.unit.tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(("hits", "trials"), [(0, 30), (3, 30), (30, 30), (71, 503)])
def test_clopper_pearson(hits: int, trials: int) -> None:
    exact = binomtest(hits, trials).proportion_ci(0.95, "exact")
    assert clopper_pearson(hits, trials) == pytest.approx((exact.low, exact.high))


def test_a_rate_is_measured_only_with_enough_non_members() -> None:
    rng = np.random.default_rng(0)

    def rates(units: int) -> list[float]:
        included = balanced_draw(4, units, 0)
        return [rate.false_positive_rate for rate in worth_of(rng.normal(size=included.shape), included).rates]

    assert rates(99) == []
    assert rates(100) == [0.01]
    assert rates(9_999) == [0.01]
    assert rates(10_000) == [0.01, 0.001]


def test_the_threshold_lets_no_more_non_members_pass_than_said() -> None:
    others = np.random.default_rng(0).integers(0, 50, 1000).astype(np.float64)  # with ties
    for rate in (0.001, 0.01, 0.1):
        assert (others > threshold_at(others, rate)).mean() <= rate
