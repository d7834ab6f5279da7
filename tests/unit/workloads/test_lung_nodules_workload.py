"""The nodules' workload: a patient with many records, archives of another form refused, declared first weights."""

import hashlib
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from image_cases import nifti
from numpy.typing import NDArray
from opacus.validators import ModuleValidator

from almoner.data.lung_nodules import PACKED_BYTES, SIDE
from almoner.errors import DataError
from almoner.flare.training import local_work
from almoner.schema.declarations import load_declarations
from almoner.schema.documents import load_document
from almoner.schema.images import ImageFolder, Window
from almoner.schema.job import JobSpec
from almoner.training.flat import flatten
from almoner.training.gradients import UnitGradients
from almoner.training.grid import shared_grid
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.checks import verify_trainable
from almoner.workloads.lung_nodules_3d import LungNodules3d
from almoner.workloads.registry import WORKLOADS

TASK = LungNodules3d()
PATIENTS = dict.fromkeys((f"LIDC-IDRI-{number:04}" for number in range(11)), 8) | {"LIDC-IDRI-0011": 2}
"""Patient → annotations."""


def arrays(patients: dict[str, int], seed: int = 1, test: tuple[str, ...] = ()) -> dict[str, NDArray[Any]]:
    """Return so many records of each patient."""
    rng, ids = np.random.default_rng(seed), [name for name, number in patients.items() for _ in range(number)]
    return {
        "masks": rng.integers(0, 256, (len(ids), PACKED_BYTES), np.uint8),
        "labels": rng.integers(0, 2, len(ids), np.uint8),
        "is_test": np.array([name in test for name in ids], np.bool_),
        "ids": np.array(ids, np.str_),
    }


def site_file(folder: Path, content: dict[str, NDArray[Any]]) -> Path:
    path = folder / "nodules.npz"
    np.savez(path, allow_pickle=True, **content)  # type: ignore[arg-type]
    return path


def test_a_patient_is_one_unit_with_all_records(tmp_path: Path) -> None:
    content = arrays({"a": 3, "b": 1, "c": 2}, test=("c",))
    data = TASK.load(site_file(tmp_path, content))
    assert data.train.unit.tolist() == [0, 0, 0, 1]
    assert data.test.num_units == 1
    assert data.train.features.shape == (4, SIDE, SIDE, SIDE)
    assert torch.equal(data.train.features[1].flatten(), torch.from_numpy(np.unpackbits(content["masks"][1])))
    assert TASK.loss(TASK.build_model()(data.train.features), data.train.targets).shape == (4,)
    figures = TASK.figures(TASK.build_model(), data.train)
    assert list(figures) == ["auc", "accuracy"]


def test_a_folder_of_masks_is_read_as_outlines_are_drawn(tmp_path: Path) -> None:
    """Slices upwards, rows to the back, columns to the left, whatever the file's own axes are."""
    drawn = np.zeros((SIDE, SIDE, SIDE), np.uint8)
    drawn[4:9, 10:12, 3:20] = 1
    nibabel.save(nifti(drawn.transpose(1, 2, 0), axes="RAS", sides=(2, 2, 2)), tmp_path / "a.nii.gz")
    (tmp_path / "labels.csv").write_text("record_id,unit_id,file,label,split\nr1,p1,a.nii.gz,1,train\n")
    images = ImageFolder(kind="nifti", window=Window(low=0.0, high=1.0), spacing_mm=2.0)
    data = TASK.load_images(tmp_path, images)
    assert np.array_equal(data.train.features[0].numpy(), drawn)
    assert (data.train.targets.tolist(), data.train.features.dtype, len(data.test.unit)) == ([1], torch.uint8, 0)


def test_what_has_no_label_is_left_out_and_nobody_is_no_error(tmp_path: Path) -> None:
    content = arrays({"a": 3}) | {"labels": np.array([1, 2, 255], np.uint8)}
    assert TASK.load(site_file(tmp_path, content)).train.targets.tolist() == [1]
    nobody = TASK.load(site_file(tmp_path, arrays({})))
    assert (nobody.train.num_units, nobody.test.num_units) == (0, 0)
    assert all(math.isnan(value) for value in TASK.figures(TASK.build_model(), nobody.test).values())


@pytest.mark.parametrize(
    "changed",
    [
        {"masks": np.zeros((3, PACKED_BYTES - 1), np.uint8)},
        {"masks": np.zeros((3, PACKED_BYTES), np.float32)},
        {"labels": np.zeros(2, np.uint8)},
        {"ids": np.arange(3)},
        {"ids": np.array([{"code": "pickled"}] * 3, dtype=object)},
    ],
)
def test_another_archive_is_refused(changed: dict[str, NDArray[Any]], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="→ write the file anew"):
        TASK.load(site_file(tmp_path, arrays({"a": 3}) | changed))


def test_the_network_is_one_that_opacus_and_the_trainer_take() -> None:
    model, known = TASK.build_model(), WORKLOADS["lung_nodules_3d"]
    assert ModuleValidator.validate(model, strict=False) == []
    verify_trainable(TASK)
    assert hashlib.sha256(flatten(model).astype("<f8").tobytes()).hexdigest() == known.initial_weights
    assert len(flatten(model)) == known.dimension


def rows_of_steps(path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.int64]]:
    """Train four steps of the job as shipped at a clinic; return how many rows of each unit a step's passes got."""
    heard: list[NDArray[np.int64]] = []
    passed = UnitGradients._run

    def listening(self: UnitGradients, records: NDArray[np.int64]) -> object:
        heard.append(self._data.unit[records])
        return passed(self, records)

    monkeypatch.setattr(UnitGradients, "_run", listening)
    monkeypatch.setattr(local_work, "SecureRandom", lambda: UnsafeSeededRandom(1))
    spec, declared = load_document(root / "jobs" / "lung_nodules_3d.yaml", JobSpec), load_declarations(root, "chest")
    weights = flatten(TASK.build_model())
    context = SimpleNamespace(
        workload=TASK,
        data_path=path,
        dataset=declared.sites["chest-2"]
        .datasets["lung_nodules"]
        .model_copy(update={"nominal_records": len(PATIENTS)}),
        spec=spec,
        plan=SimpleNamespace(noise_multiplier=1.0),
        grid=shared_grid(spec.privacy.max_grad_norm, 1.0, 2, len(weights)),
        envelope=SimpleNamespace(sites=tuple(declared.sites)),
    )
    work, steps = local_work.LocalWork(context, TASK.build_model()), []  # type: ignore[arg-type]
    for _ in range(4):
        heard.clear()
        work.train(weights)
        steps.append(np.bincount(np.concatenate([[], *heard]).astype(np.int64), minlength=len(PATIENTS)))
    return steps


@pytest.mark.threat("T-109")
def test_a_patient_of_eight_annotations_has_four_rows_in_a_step(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the job as shipped: whoever is drawn is in the step with four records, or with both of two."""
    steps = rows_of_steps(site_file(tmp_path, arrays(PATIENTS)), root, monkeypatch)
    seen = [set(rows.tolist()) for rows in np.stack(steps, axis=1)]
    assert set().union(*seen[:-1]) == {0, 4}
    assert seen[-1] == {0, 2}
    drawn = [int((rows > 0).sum()) for rows in steps]
    assert 0 < max(drawn) < len(PATIENTS)
