"""The digits' workloads: each image by itself, archives of another form refused, declared first weights."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from almoner.errors import DataError
from almoner.training.flat import flatten, unflatten
from almoner.training.gradients import UnitGradients
from almoner.workloads import digits_scattering
from almoner.workloads.base import Workload
from almoner.workloads.digits_cnn import DigitsCnn
from almoner.workloads.digits_scattering import (
    NUM_FEATURES,
    DigitsScattering,
    features_of,
)
from almoner.workloads.scattering import scatter
from almoner.workloads.strokes import made_up_strokes

BOTH = pytest.mark.parametrize("task", [DigitsScattering(), DigitsCnn()], ids=lambda task: task.name)


def arrays(number: int = 12, seed: int = 1) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(seed)
    return {
        "images": rng.integers(0, 256, (number, 28, 28), np.uint8),
        "labels": rng.integers(0, 10, number, np.uint8),
        "is_test": np.arange(number) % 3 == 0,
        "ids": np.array([f"train-{i:05}" for i in range(number)]),
    }


def site_file(folder: Path, content: dict[str, NDArray[np.generic]]) -> Path:
    path = folder / "digits.npz"
    np.savez(path, allow_pickle=True, **content)  # type: ignore[arg-type]
    return path


@BOTH
def test_images_are_split_as_the_file_says(task: Workload, tmp_path: Path) -> None:
    content = arrays()
    data = task.load(site_file(tmp_path, content))
    assert (data.train.num_units, data.test.num_units) == (8, 4)
    assert data.test.targets.tolist() == content["labels"][::3].tolist()
    assert task.build_model()(data.test.features).shape == (4, 10)
    assert task.loss(task.build_model()(data.train.features), data.train.targets).shape == (8,)


@BOTH
def test_an_image_is_loaded_by_itself(task: Workload, tmp_path: Path) -> None:
    """All other images change: what becomes of this one does not."""
    one, other = arrays(seed=1), arrays(seed=2)
    for name in ("images", "labels"):
        other[name][5] = one[name][5]
    first, second = (task.load(site_file(tmp_path, content)).train for content in (one, other))
    place = [1, 2, 4, 5].index(5)
    assert first.features[place].numpy() == pytest.approx(second.features[place].numpy(), abs=1e-5)
    assert first.targets[place] == second.targets[place]
    assert not torch.allclose(first.features[0], second.features[0])


@BOTH
def test_what_is_no_digit_is_left_out_and_one_id_is_one_unit(task: Workload, tmp_path: Path) -> None:
    content = arrays(4) | {"labels": np.array([3, 10, 255, 4], np.uint8), "is_test": np.zeros(4, np.bool_)}
    content["ids"] = np.array(["b", "c", "d", "b"])
    train = task.load(site_file(tmp_path, content)).train
    assert train.targets.tolist() == [3, 4]
    assert train.unit.tolist() == [0, 0]
    empty = {name: array[:0] for name, array in arrays().items()}
    nobody = task.load(site_file(tmp_path, empty))
    assert (nobody.train.num_units, nobody.test.num_units) == (0, 0)
    assert all(math.isnan(value) for value in task.figures(task.build_model(), nobody.test).values())


@pytest.mark.parametrize(
    "changed",
    [
        {"images": np.zeros((12, 28, 27), np.uint8)},
        {"images": np.zeros((12, 28, 28), np.float32)},
        {"labels": np.zeros(11, np.uint8)},
        {"labels": np.zeros((12, 1), np.uint8)},
        {"is_test": np.zeros(12, np.uint8)},
        {"ids": np.arange(12)},
        {"ids": np.array([{"code": "pickled"}] * 12, dtype=object)},
    ],
)
def test_another_archive_is_refused(changed: dict[str, NDArray[np.generic]], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="→ write the file anew"):
        DigitsScattering().load(site_file(tmp_path, arrays() | changed))


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all", b"\x93NUMPY\x01\x00v\x00"])
def test_a_file_that_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "digits.npz").write_bytes(content)
    with pytest.raises(DataError, match="→ write the file anew"):
        DigitsCnn().load(tmp_path / "digits.npz")
    with pytest.raises(DataError, match="cannot be read"):
        DigitsCnn().load(tmp_path / "none.npz")


@pytest.fixture
def few_strokes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fifty strokes instead of a thousand, and five directions."""
    monkeypatch.setattr(digits_scattering, "NUM_STROKES", 50)
    monkeypatch.setattr(digits_scattering, "NUM_SHRUNK", 5)
    digits_scattering._handwriting.cache_clear()
    yield
    digits_scattering._handwriting.cache_clear()


@pytest.mark.usefixtures("few_strokes")
def test_features_are_those_of_the_formula() -> None:
    """Groups of maps normalised image by image; then centred, and shrunk where strokes differ most."""
    images = torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(1))

    def normalised(pictures: torch.Tensor) -> torch.Tensor:
        groups = scatter(pictures).double().reshape(len(pictures), 27, -1)
        scale = (groups.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
        return ((groups - groups.mean(2, keepdim=True)) / scale).reshape(len(pictures), -1)

    strokes = normalised(made_up_strokes(50))
    centred = strokes - strokes.mean(0)
    _, spreads, directions = torch.linalg.svd(centred, full_matrices=False)
    factors = torch.ones(len(spreads), dtype=torch.float64)
    factors[:5] = spreads[5] / spreads[:5]
    outside = normalised(images) - strokes.mean(0)
    along = outside @ directions.T
    expected = outside + (along * (factors - 1)) @ directions
    assert features_of(images).numpy() == pytest.approx(expected.numpy(), abs=2e-3)
    assert (expected - outside).abs().max() > 0.02
    assert features_of(made_up_strokes(50)).mean(0).abs().max() < 1e-4
    assert NUM_FEATURES == 3969


def test_strokes_are_pictures_that_owe_nothing_to_data() -> None:
    few, many = made_up_strokes(4), made_up_strokes(12)
    assert torch.equal(few, many[:4])
    assert few.shape == (4, 28, 28)
    assert not torch.equal(few[0], few[1])
    assert 0 == many.min() < many.max() == 1
    places = torch.arange(28.0)
    for axis in (1, 2):
        ink = many.sum(axis)
        assert ((ink @ places) / ink.sum(1) - 14).abs().max() < 1
    assert 0.03 < many.mean() < 0.2


def test_first_weights_of_the_network_are_bytes_of_a_public_text() -> None:
    model = DigitsCnn().build_model()
    weights = flatten(model)
    drawn = hashlib.shake_256(b"almoner/digits_cnn/first weights/1").digest(len(weights))
    first = weights[: 16 * 64] / math.sqrt(3 / 64) * 256
    assert first == pytest.approx([2 * byte - 255 for byte in drawn[: 16 * 64]], abs=1e-4)
    assert all(not parameter.any() for name, parameter in model.named_parameters() if name.endswith("bias"))
    assert not flatten(DigitsScattering().build_model()).any()


@BOTH
def test_gradients_of_a_unit_are_those_of_autograd(task: Workload, tmp_path: Path) -> None:
    data = task.load(site_file(tmp_path, arrays())).train
    model = task.build_model()
    task.loss(model(data.features), data.targets).sum().backward()  # type: ignore[no-untyped-call]
    expected = np.concatenate([part.grad.numpy().ravel() for part in model.parameters() if part.grad is not None])
    made = UnitGradients(
        task.build_model(), task.loss, data, max_grad_norm=1000.0, micro_batch_size=4, min_micro_batches=1
    )
    assert made.clipped_sum(flatten(task.build_model()), np.arange(8)) == pytest.approx(expected, abs=2e-3)


@BOTH
def test_strokes_are_learnt_with_clipping(task: Workload, tmp_path: Path) -> None:
    """Upright, lying and slanting strokes at many places, from clipped gradients alone."""
    rng = np.random.default_rng(4)
    content = arrays(90)
    content["images"][:] = 0
    content["labels"] = np.arange(90, dtype=np.uint8) // 30
    for image, label in zip(content["images"], content["labels"], strict=True):
        row, column = rng.integers(4, 10, 2)
        for step in range(14):
            image[row + (0 if label == 1 else step), column + (0 if label == 0 else step)] = 255
    data = task.load(site_file(tmp_path, content))
    made = UnitGradients(
        task.build_model(), task.loss, data.train, max_grad_norm=0.1, micro_batch_size=60, min_micro_batches=1
    )
    model, weights = task.build_model(), flatten(task.build_model())
    before = task.figures(model, data.test)["accuracy"]
    for _ in range(12):
        weights = weights - made.clipped_sum(weights, np.arange(data.train.num_units)) / 3
    unflatten(model, weights)
    assert before < 0.6
    assert task.figures(model, data.test)["accuracy"] > 0.95
