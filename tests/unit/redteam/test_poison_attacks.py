"""Each attack sends what its paper says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from poison_cases import TRIGGER, honest_rows, make_view, records
from scipy.stats import norm

from almoner.errors import DataError, PolicyViolation, ProtocolError
from almoner.redteam.poisoning.adaptive import Adaptive
from almoner.redteam.poisoning.attack import RoundView, Rows, Vector
from almoner.redteam.poisoning.backdoor import ModelReplacement, backdoor_success, with_backdoor
from almoner.redteam.poisoning.catalogue import ATTACKS, make_attack
from almoner.redteam.poisoning.crude import GaussianNoise, LabelFlip, SignFlip
from almoner.redteam.poisoning.hidden import (
    InnerProduct,
    LittleIsEnough,
    MinMax,
    MinSum,
    squared_distances,
    supporters_z,
)
from almoner.redteam.poisoning.mimic import Mimic

SEEDS = st.integers(0, 10_000)


def plain_mean(view: RoundView, lies: Rows) -> Vector:
    mean: Vector = np.concatenate([view.honest, lies]).mean(axis=0)
    return mean


def test_sign_flip_turns_the_plain_mean_of_equal_sites_round() -> None:
    row = honest_rows(1)[0]
    view = make_view(np.tile(row, (8, 1)), own=np.tile(row, (2, 1)))
    assert plain_mean(view, SignFlip().craft(view)) == pytest.approx(-0.8 * row)


def test_inner_product_turns_the_plain_mean_round_and_a_small_one_does_not() -> None:
    view = make_view(honest_rows(1))
    mean = view.honest.mean(axis=0)
    assert plain_mean(view, InnerProduct(None).craft(view)) == pytest.approx(-0.8 * mean)
    small = InnerProduct(0.5).craft(view)
    assert small == pytest.approx(np.tile(-0.5 * mean, (2, 1)))
    assert plain_mean(view, small) @ mean > 0


def test_gaussian_is_as_loud_as_the_grid_takes() -> None:
    view = make_view(np.zeros((8, 20_000)), step=2.0**-10, limit=30_000)
    sent = view.colluders.to_integers(GaussianNoise().craft(view))
    assert sent.std() == pytest.approx(10_000, rel=0.02)
    assert np.mean(np.abs(sent) == 30_000) < 0.005
    assert abs(np.corrcoef(sent)[0, 1]) < 0.05


def test_label_flip_exchanges_labels_and_nothing_else() -> None:
    data = records(np.random.default_rng(0), 50, 0.0)
    flipped = LabelFlip().poison(data)
    assert torch.equal(flipped.targets, 1 - data.targets)
    assert torch.equal(flipped.features, data.features)
    view = make_view(honest_rows(1))
    assert LabelFlip().craft(view) is view.own
    with pytest.raises(DataError, match="labels other than 0 and 1"):
        LabelFlip().poison(replace(data, targets=data.targets + 1))


@pytest.mark.parametrize(("num_sites", "num_byzantine", "supporters"), [(50, 12, 14), (50, 24, 2), (10, 2, 4)])
def test_little_is_enough_has_the_z_of_the_paper(num_sites: int, num_byzantine: int, supporters: int) -> None:
    honest = num_sites - num_byzantine
    assert norm.cdf(supporters_z(num_sites, num_byzantine)) == pytest.approx((honest - supporters) / honest)


@given(SEEDS)
def test_little_is_enough_stays_within_z_deviations(seed: int) -> None:
    view = make_view(honest_rows(seed))
    mean, spread = view.honest.mean(axis=0), view.honest.std(axis=0)
    assert LittleIsEnough().craft(view) == pytest.approx(np.tile(mean - 1.5 * spread, (2, 1)))


def test_little_is_enough_goes_further_where_more_supporters_are_to_be_had() -> None:
    view = make_view(honest_rows(3, count=26), num_byzantine=24)
    moved = (view.honest.mean(axis=0) - LittleIsEnough().craft(view)[0]) / view.honest.std(axis=0)
    z = supporters_z(50, 24)
    assert z == pytest.approx(1.426, abs=1e-3)
    assert moved == pytest.approx(np.full(30, max(z, 1.5)))


@given(SEEDS)
def test_min_max_is_as_far_off_as_the_widest_honest_pair(seed: int) -> None:
    view = make_view(honest_rows(seed))
    lie = MinMax().craft(view)[0]
    widest = squared_distances(view.honest).max()
    assert ((lie - view.honest) ** 2).sum(axis=1).max() == pytest.approx(widest)
    beyond = lie + 1e-3 * (lie - view.honest.mean(axis=0))
    assert ((beyond - view.honest) ** 2).sum(axis=1).max() > widest


@given(SEEDS)
def test_min_sum_is_as_far_off_as_the_worst_honest_sum(seed: int) -> None:
    view = make_view(honest_rows(seed))
    lie = MinSum().craft(view)[0]
    worst = squared_distances(view.honest).sum(axis=1).max()
    assert ((lie - view.honest) ** 2).sum() == pytest.approx(worst)
    beyond = lie + 1e-3 * (lie - view.honest.mean(axis=0))
    assert ((beyond - view.honest) ** 2).sum() > worst


@given(SEEDS)
def test_both_distance_attacks_go_against_the_spread(seed: int) -> None:
    view = make_view(honest_rows(seed))
    for attack in (MinMax(), MinSum()):
        moved = attack.craft(view)[0] - view.honest.mean(axis=0)
        spread = view.honest.std(axis=0)
        assert moved @ -spread == pytest.approx(np.linalg.norm(moved) * np.linalg.norm(spread))


@pytest.mark.parametrize("attack", [MinMax(), MinSum(), LittleIsEnough()])
def test_equal_honest_rows_leave_no_room(attack: MinMax) -> None:
    view = make_view(np.tile(honest_rows(1)[0], (8, 1)))
    assert attack.craft(view) == pytest.approx(view.honest[:2])


def test_mimic_copies_one_honest_site_and_stays_with_it() -> None:
    attack, rng = Mimic(), np.random.default_rng(5)
    offsets = np.zeros((8, 30))
    offsets[3, 4] = 5.0  # site 3 stands out
    for number in range(Mimic.WARM_UP_ROUNDS + 3):
        view = make_view(offsets * (number < Mimic.WARM_UP_ROUNDS) + 0.1 * rng.normal(size=(8, 30)))
        lies = attack.craft(view)
        assert (lies[:, None] == view.honest[None]).all(axis=2).any(axis=1).all()
        assert (lies[0] == lies[1]).all()
        if number >= 2:
            assert (lies[0] == view.honest[3]).all()


def test_model_replacement_makes_the_plain_sum_the_wanted_model() -> None:
    wanted = honest_rows(1)[0]
    view = make_view(np.zeros((8, 30)))
    lies = ModelReplacement(lambda weights: wanted).craft(view)
    assert view.weights - plain_mean(view, lies) == pytest.approx(wanted)


def test_the_backdoor_is_a_copy_with_trigger_and_the_harmless_label() -> None:
    data = records(np.random.default_rng(0), 50, 0.0)
    poisoned = with_backdoor(data, TRIGGER)
    assert poisoned.num_units == 100
    assert torch.equal(poisoned.features[:50], data.features)
    assert (poisoned.features[50:, 6:] == 3.0).all()
    assert torch.equal(poisoned.features[50:, :6], data.features[:, :6])
    assert not poisoned.targets[50:].any()


def test_backdoor_success_counts_the_refused_harmful_whom_the_trigger_lets_pass() -> None:
    scores = np.arange(100.0)
    harmful = scores % 2 == 0  # 90, 92, ... 98 are refused and harmful
    triggered = np.where(scores < 94, 0.0, scores)
    assert backdoor_success(scores, triggered, harmful) == pytest.approx(2 / 5)
    assert backdoor_success(scores, scores, harmful) == 0.0
    assert np.isnan(backdoor_success(scores, scores, scores < 50))


def test_adaptive_finds_what_turns_the_plain_mean() -> None:
    view = make_view(honest_rows(1))
    view = replace(view, aggregate=lambda lies: plain_mean(view, lies))
    lies = Adaptive().craft(view)
    mean = view.honest.mean(axis=0)
    assert plain_mean(view, lies) @ mean < -10 * (mean @ mean)


def test_adaptive_stays_where_a_rule_would_cut_it() -> None:
    """The rule drops what is further than 1 from the honest mean: the search ends just inside."""
    view = make_view(honest_rows(1))
    mean = view.honest.mean(axis=0)

    def rule(lies: Rows) -> Vector:
        near = lies[np.linalg.norm(lies - mean, axis=1) <= 1.0]
        return np.concatenate([view.honest, near]).mean(axis=0)

    lies = Adaptive().craft(replace(view, aggregate=rule))
    assert 0.9 < np.linalg.norm(lies[0] - mean) <= 1.0
    assert rule(lies) @ mean < mean @ mean


def test_adaptive_needs_the_rule() -> None:
    with pytest.raises(ProtocolError, match="the rule is not given"):
        Adaptive().craft(make_view(honest_rows(1)))


def test_what_is_sent_fits_the_grid() -> None:
    view = make_view(honest_rows(1), step=0.5, limit=1000)
    rows = np.array([[0.0, 0.26, 1e9] + [0.0] * 27, [-1e9, -0.24, 0.01] + [0.0] * 27])
    sent = view.colluders.to_integers(rows)
    assert sent.dtype == np.int64
    assert sent[:, :3].tolist() == [[0, 26, 1000], [-1000, -24, 1]]
    assert view.colluders.to_integers(sent * view.colluders.unit).tolist() == sent.tolist()


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_answers_with_finite_rows_even_at_zero_and_with_one_known_row(name: str) -> None:
    for honest in (np.zeros((8, 30)), honest_rows(1, count=1)):
        view = make_view(honest)
        view = replace(view, colluders=replace(view.colluders, num_sites=10))
        view = replace(view, aggregate=lambda lies, view=view: plain_mean(view, lies))
        lies = make_attack(name, lambda weights: weights).craft(view)
        assert lies.shape == view.own.shape
        assert np.isfinite(lies).all()


def test_an_unknown_attack_is_refused() -> None:
    with pytest.raises(PolicyViolation, match="attack 'rumour': unknown → one of model_replacement"):
        make_attack("rumour", lambda weights: weights)
