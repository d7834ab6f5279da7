"""The trainer of each mechanism: what a round returns, and what it refuses."""

import numpy as np
import pytest
import torch
from torch import Tensor

from almoner.errors import PolicyViolation
from almoner.privacy.distributed_training import share_sigma
from almoner.schema.job import Mechanism
from almoner.training.distributed import DistributedTrainer
from almoner.training.dp_sgd import DpSgdTrainer
from almoner.training.gradients import UnitGradients
from almoner.training.grid import UpdateGrid, shared_grid, update_grid
from almoner.training.noise import SecureRandom, UnsafeSeededRandom
from almoner.training.plain_sgd import UnsafePlainTrainer
from almoner.training.round import RoundParameters, RoundTrainer
from almoner.training.trainers import make_trainer
from almoner.training.units import UnitRecords

START = np.array([0.5, -0.25, 0.125, 0.0])
FINE = UpdateGrid(2.0**-30, 2**50)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")


def model() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0))


def data(number: int = 60, records_a_unit: int = 2) -> UnitRecords:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(number, 3)).astype(np.float32)
    targets = torch.from_numpy((features[:, 0] > 0).astype(np.float32))
    return UnitRecords(torch.from_numpy(features), targets, np.arange(number) // records_a_unit)


def parameters(**changes: object) -> RoundParameters:
    base = RoundParameters(
        max_grad_norm=1.0,
        sampling_prob=1.0,
        local_steps=1,
        learning_rate=0.5,
        nominal_records=30,
        grid=FINE,
        rng=UnsafeSeededRandom(0),
    )
    return RoundParameters(**{**base, **changes})  # type: ignore[typeddict-item]


def trainer(mechanism: Mechanism, records: UnitRecords | None = None, **changes: object) -> RoundTrainer:
    records, num_shares = data() if records is None else records, int(str(changes.pop("num_shares", 2)))
    own = {"mechanism": mechanism, "noise_multiplier": 2.0, "num_shares": num_shares}
    return make_trainer(model(), loss, records, **own, **parameters(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mechanism", "made"),
    [("dp_sgd", DpSgdTrainer), ("distributed_dp", DistributedTrainer), ("none", UnsafePlainTrainer)],
)
def test_each_mechanism_has_its_trainer(mechanism: Mechanism, made: type[RoundTrainer]) -> None:
    assert type(trainer(mechanism)) is made


def gradient(records: UnitRecords, weights: np.ndarray) -> np.ndarray:
    """Return the plain gradient of the summed loss, by PyTorch on all records at once."""
    module = model().double()
    with torch.no_grad():
        module[0].weight.copy_(torch.from_numpy(weights[:3]).reshape(1, 3))
        module[0].bias.copy_(torch.from_numpy(weights[3:]))
    loss(module(records.features.double()), records.targets.double()).sum().backward()
    return torch.cat([parameter.grad.reshape(-1) for parameter in module.parameters()]).numpy()


class TestWithoutPrivacy:
    @pytest.mark.parametrize("size", [7, 256])
    def test_a_round_is_the_gradient_sum_of_the_sample(self, size: int) -> None:
        """No unit is clipped: a bound of C on each of these would change the sum."""
        records = data()
        found = trainer("none", records, micro_batch_size=size, max_grad_norm=2.0).run_round(START) * FINE.step
        assert found == pytest.approx(gradient(records, START), rel=1e-5)
        clipped = UnitGradients(model(), loss, records, max_grad_norm=0.1, micro_batch_size=64, min_micro_batches=1)
        assert np.linalg.norm(found) > 2 * np.linalg.norm(clipped.clipped_sum(START, np.arange(30)))

    def test_the_sum_is_cut_to_the_norm_as_a_whole(self) -> None:
        found = trainer("none", max_grad_norm=0.01).run_round(START) * FINE.step
        assert np.linalg.norm(found) == pytest.approx(0.01 * 30)
        whole = gradient(data(), START)
        assert found / np.linalg.norm(found) == pytest.approx(whole / np.linalg.norm(whole), rel=1e-4)

    def test_samples_are_of_records_also_of_one_unit(self) -> None:
        rounds = trainer("none", data(records_a_unit=60), sampling_prob=0.5, nominal_records=1, max_grad_norm=99.0)
        found = {rounds.run_round(START).tobytes() for _ in range(5)}
        assert len(found) == 5

    def test_the_proximal_term_and_local_steps_work_as_anywhere(self) -> None:
        records, weights = data(), START
        for _ in range(3):
            weights = weights - 0.5 * (gradient(records, weights) / 30 + 0.7 * (weights - START))
        found = trainer("none", local_steps=3, proximal=0.7, max_grad_norm=9.0).run_round(START) * FINE.step
        assert START - 0.5 / 30 * found == pytest.approx(weights, rel=1e-5)

    def test_what_is_not_finite_or_not_there_is_zero(self) -> None:
        spoilt = data()
        spoilt.features[7] = torch.nan
        assert not trainer("none", spoilt).run_round(START).any()
        assert not trainer("none", data(0)).run_round(START).any()

    def test_its_largest_update_fits_the_grid(self) -> None:
        grid = update_grid(0.01, 0.5, 0.0, 30, 3)
        sent = trainer("none", grid=grid, max_grad_norm=0.01, sampling_prob=0.5, local_steps=3).run_round(START)
        assert 0 < np.abs(sent).max() < grid.limit

    def test_buffers_are_refused(self) -> None:
        module = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.BatchNorm1d(1), torch.nn.Flatten(0))
        with pytest.raises(PolicyViolation, match="buffers"):
            UnsafePlainTrainer(module, loss, data(), **parameters())


class TestSharedNoise:
    GRID = shared_grid(1.0, 2.0, 2, 4)

    def test_a_round_is_the_rounded_sum_with_a_share_of_noise(self) -> None:
        """The sum's rounding is within half a step; the noise is what the seeded source gives after the sample."""
        records, source = data(), UnsafeSeededRandom(0)
        source.uniform_integers(30)
        sigma = share_sigma(2.0, 1.0 / self.GRID.step + 2.0, 2)
        noise = source.discrete_gaussian(sigma, 4)
        clipped = UnitGradients(model(), loss, records, max_grad_norm=1.0, micro_batch_size=64, min_micro_batches=1)
        exact = clipped.clipped_sum(START, np.arange(30)) / self.GRID.step
        found = trainer("distributed_dp", records, grid=self.GRID).run_round(START)
        assert found.dtype == np.int64
        assert np.abs(found - noise - exact).max() <= 0.5

    def test_nothing_saturates(self) -> None:
        """On a grid whose limit is 1, every other mechanism's values would be ±1."""
        grid = UpdateGrid(self.GRID.step, 1)
        assert np.abs(trainer("dp_sgd", grid=grid).run_round(START)).max() == 1
        assert np.abs(trainer("distributed_dp", grid=grid).run_round(START)).min() > 1

    def test_more_shares_are_smaller_ones(self) -> None:
        nobody = data(0)
        noise = {m: trainer("distributed_dp", nobody, num_shares=m, grid=self.GRID).run_round(START) for m in (1, 4)}
        assert noise[1] == pytest.approx(2 * noise[4], abs=2)

    def test_secure_noise_is_fresh_each_round(self) -> None:
        """OpenDP's sampler; two rounds of four draws of 181 steps agree with a chance below 10^-10."""
        rounds = trainer("distributed_dp", data(0), grid=self.GRID, rng=SecureRandom())
        first, second = rounds.run_round(START), rounds.run_round(START)
        assert first.dtype == np.int64
        assert not np.array_equal(first, second)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"local_steps": 2}, "one local step"),
            ({"proximal": 0.1}, "no proximal"),
            ({"num_shares": 0}, "at least 64"),
            ({"grid": UpdateGrid(0.5)}, "at least 64"),
        ],
    )
    def test_what_it_cannot_do_is_refused(self, changes: dict[str, object], words: str) -> None:
        with pytest.raises(PolicyViolation, match=words):
            trainer("distributed_dp", **{"grid": self.GRID, **changes})
