"""The brain MRI workload: a network that per-record gradients exist of, images by themselves, equal runs equal."""

import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from image_cases import nifti, settings, write_labels
from monai.networks.nets import resnet10
from numpy.typing import NDArray
from opacus.validators import ModuleValidator

from almoner.errors import DataError, PolicyViolation
from almoner.experiments.public import PublicSite
from almoner.experiments.simulate import TrainingPlan, simulate_federation
from almoner.schema.declarations import load_declarations
from almoner.schema.documents import load_document
from almoner.schema.images import Window
from almoner.schema.job import JobSpec
from almoner.training.gradient_passes import HookedPass, pass_kind
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.brain_mri import BrainMri, features_of
from almoner.workloads.checks import verify_trainable

TASK = BrainMri()


def arrays(number: int = 12, seed: int = 1) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(seed)
    return {
        "images": rng.integers(0, 256, (number, 64, 64), np.uint8),
        "labels": rng.integers(0, 2, number, np.uint8),
        "is_test": np.arange(number) % 3 == 0,
        "ids": np.array([f"group-{place // 6 * 2 + (place % 3 == 0):04}" for place in range(number)]),
    }


def site_file(folder: Path, content: dict[str, NDArray[np.generic]]) -> Path:
    path = folder / "brain.npz"
    np.savez(path, allow_pickle=False, **content)  # type: ignore[arg-type]
    return path


def test_the_network_has_per_record_gradients_by_hooks() -> None:
    """Opacus' validator accepts it, and so do we; MONAI's smallest residual network is refused by both."""
    assert ModuleValidator.validate(TASK.build_model()) == []
    verify_trainable(TASK)
    assert pass_kind(TASK.build_model()) is HookedPass
    other = resnet10(spatial_dims=2, n_input_channels=1, num_classes=1)
    assert ModuleValidator.validate(other) != []
    with pytest.raises(PolicyViolation, match="mixes records"):
        pass_kind(other)


def test_images_of_a_group_are_one_unit(tmp_path: Path) -> None:
    content = arrays() | {"labels": np.array([0, 1, 0, 1, 7, 1, 0, 1, 0, 1, 255, 1], np.uint8)}
    data = TASK.load(site_file(tmp_path, content))
    assert data.train.unit.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.train.targets.tolist() == [1, 0, 1, 1, 0, 1]
    assert data.test.num_units == 2
    outputs = TASK.build_model()(data.train.features)
    assert TASK.loss(outputs, data.train.targets).shape == TASK.predict(outputs).shape == (6,)


def test_a_site_without_images_has_no_units(tmp_path: Path) -> None:
    nobody = TASK.load(site_file(tmp_path, {name: array[:0] for name, array in arrays().items()}))
    assert (nobody.train.num_units, nobody.test.num_units) == (0, 0)
    assert math.isnan(TASK.figures(TASK.build_model(), nobody.test)["accuracy"])


def test_an_image_is_loaded_by_itself(tmp_path: Path) -> None:
    """All other images change: what becomes of this one does not."""
    one, other = arrays(), arrays(seed=2)
    other["images"][1] = one["images"][1]
    first, second = (TASK.load(site_file(tmp_path, content)).train.features for content in (one, other))
    assert torch.allclose(first[0], second[0], atol=1e-5)
    assert not torch.allclose(first[1], second[1])


def test_another_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="→ write the file anew"):
        TASK.load(site_file(tmp_path, arrays() | {"images": np.zeros((12, 28, 28), np.uint8)}))


def test_a_folder_gives_what_the_archive_gives(tmp_path: Path) -> None:
    """The same slice as NIfTI, with the grey levels as its window, has the same features."""
    image = arrays(1)["images"][0]
    nibabel.save(nifti(image[..., None].astype(np.float32)), tmp_path / "slice.nii")
    write_labels(tmp_path, "r1,patient-1,slice.nii,1,train")
    found = TASK.load_images(tmp_path, settings(window=Window(low=0, high=255), spacing_mm=None)).train
    assert found.targets.tolist() == [1]
    assert torch.allclose(found.features, features_of(torch.from_numpy(image)[None].float() / 255), atol=1e-4)


def test_equal_seeds_give_equal_weights(root: Path, tmp_path: Path) -> None:
    """Two rounds of the job with noise; another seed gives others."""
    spec = load_document(root / "jobs" / "brain_mri.yaml", JobSpec).model_copy(update={"rounds": 2})
    declared = load_declarations(root, "radiology").sites["clinic-1"].datasets["brain_mri"]
    config = declared.model_copy(update={"nominal_records": 2})
    path = site_file(tmp_path, arrays())

    def weights(seed: int) -> NDArray[np.float64]:
        site = PublicSite(config, TASK.load(path))
        rng = UnsafeSeededRandom(seed)
        return simulate_federation(TASK, {"a": site}, TrainingPlan.of(spec), noise_multiplier=1.0, rng=rng)

    first, again, other = weights(1), weights(1), weights(2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
