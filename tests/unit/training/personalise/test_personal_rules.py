"""Each method against two rounds that were worked out by hand, and at the ends of its strength."""

import math
from dataclasses import replace

import numpy as np
import pytest
from personal_cases import NOISY, PLAN, ROUNDING, SILOS, federation, followed, noisy

from almoner.training.personalise.alone import Alone
from almoner.training.personalise.ditto import Ditto
from almoner.training.personalise.fine_tune import FineTune
from almoner.training.personalise.method import Method
from almoner.training.personalise.mr_mtl import MrMtl, step_to_the_mean
from almoner.training.personalise.per_fedavg import PerFedAvg
from almoner.training.personalise.pull import pulled
from almoner.training.personalise.shared import FedProx, GlobalModel

BY_HAND: dict[Method, tuple[float, float]] = {
    # w₁ = 0 − (3·(−1) + 4)/4/8 = −1/32;  w₂ = −1/32 − (3·(−33/32) + 4·31/32)/4/8 = −57/1024
    GlobalModel(): (-0.0556640625, -0.0556640625),
    # a: 1/8, 1/8 + 7/8/8;  b: −1/2, −1/2 − 2/8
    Alone(): (0.234375, -0.75),
    # λ·lr = 1 moves half the way to the mean: a: (1/8 − 1/32)/2 = 3/64, b: (−1/2 − 1/32)/2 = −17/64, mean −1/32; then
    # a: 3/64 + 61/64/8 = 85/512, b: −17/64 − 47/16/8 = −81/128, mean (3·85 − 324)/2048 = −69/2048; half the way again
    MrMtl(8.0): (0.066162109375, -0.333251953125),
    # the same with the global model, −1/32 and −57/1024, as the centre
    Ditto(8.0): (0.05517578125, -0.34423828125),
    # from the global −57/1024, two steps of lr/2 = 1/16: a: w + (1 − w)/16, b: w − (4w + 4)/16
    FineTune(2, 0.5): (0.0721702575, -0.4688110352),
    # look ahead of lr/2 = 1/16: a: 1/16, b: −1/4, so w₁ = −(3·(−15/16) + 3)/4/8 = −3/512, and so on; one step of 1/16
    PerFedAvg(0.5, 1): (0.0525114536, -0.2579908371),
    # one round of two local steps, pulled by lr·μ = 1/2. a moves by −3, and is at 1/8; then by −3/2 + 3·(1/8 − 1),
    # −33/8 in all. b by 4, and is at −1/2; then by 4/2 + 2 = 4. w = −(−33/8 + 4)/4/8
    FedProx(2, 4.0): (0.00390625, 0.00390625),
}


@pytest.mark.parametrize(("method", "expected"), BY_HAND.items(), ids=lambda case: getattr(case, "name", ""))
def test_two_rounds_as_by_hand(method: Method, expected: tuple[float, float]) -> None:
    assert followed(method) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("local_steps", [1, 2])
@pytest.mark.parametrize("method", [MrMtl(0.0), Ditto(0.0)], ids=lambda method: method.name)
def test_without_a_pull_each_trains_alone(method: Method, local_steps: int, momentum: float) -> None:
    plan = replace(PLAN, local_steps=local_steps, server_momentum=momentum)
    assert followed(method, plan) == followed(Alone(), plan)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("local_steps", [1, 2])
@pytest.mark.parametrize("method", [MrMtl(math.inf), Ditto(math.inf)], ids=lambda method: method.name)
def test_an_infinite_pull_gives_the_global_model(method: Method, local_steps: int, momentum: float) -> None:
    plan = replace(PLAN, local_steps=local_steps, server_momentum=momentum)
    assert followed(method, plan) == followed(GlobalModel(), plan)


def test_with_noise_too_the_mean_of_all_is_the_global_model_to_the_bit() -> None:
    """The same updates, drawn in the same order: what leaves is what a job sends."""
    assert noisy(MrMtl(math.inf)) == noisy(GlobalModel())
    assert noisy(MrMtl(1.0)) != noisy(GlobalModel())


def test_fedprox_without_a_pull_is_fedavg_to_the_bit() -> None:
    assert noisy(FedProx(1, 0.0)) == noisy(GlobalModel())
    assert noisy(FedProx(2, 0.0)) == noisy(GlobalModel(), replace(NOISY, rounds=1, local_steps=2))
    assert noisy(FedProx(2, 4.0)) != noisy(FedProx(2, 0.0))


def test_the_pull_of_one_local_step_is_nothing() -> None:
    assert noisy(FedProx(1, 4.0)) == noisy(GlobalModel())


def test_momentum_is_the_jobs() -> None:
    """Alone, β = 1/2. a: v = −1/8, then −1/16 − 7/64; b: v = 1/2, then 1/4 + 1/4."""
    assert followed(Alone(), replace(PLAN, server_momentum=0.5)) == pytest.approx((0.296875, -1.0), abs=ROUNDING)


def test_the_pull_is_the_minimum() -> None:
    weights, centre = np.array([1.0, -2.0]), np.array([0.5, 0.0])
    found = pulled(weights, centre, 3.0, 0.25)
    gradient = (found - weights) / 0.25 + 3.0 * (found - centre)
    assert np.abs(gradient).max() < 1e-12


def test_the_pull_is_exact_at_both_ends() -> None:
    weights, centre = np.random.default_rng(0).normal(size=(2, 1000))
    assert np.array_equal(pulled(weights, centre, 0.0, 0.1), weights)
    assert np.array_equal(pulled(weights, centre, math.inf, 0.1), centre)


def test_the_mean_of_all_models_is_what_the_sum_moves() -> None:
    """Which is why nothing but the sum need be fetched: one more round, all to the mean, finds it where they are."""
    plan = replace(PLAN, server_momentum=0.5)
    rounds = federation(5, plan).rounds()
    mean = rounds.descent(np.zeros(1), plan.learning_rate)
    own = {site: rounds.descent(np.zeros(1), plan.learning_rate) for site in SILOS}
    for _ in range(5):
        step_to_the_mean(rounds, mean, own, 2.0, plan.learning_rate)
        assert (3 * own["a"].weights + own["b"].weights) / 4 == pytest.approx(mean.weights, abs=1e-12)
        assert abs(own["a"].weights - own["b"].weights) > 0.05
