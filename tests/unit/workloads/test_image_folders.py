"""A folder becomes units of a workload; the site is told what is left out."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from tests.unit.workloads.image_cases import SHAPE, nifti, phantom, scaled, series, settings, write_labels, write_series

from almoner.errors import DataError
from almoner.workloads.image_check import check_image_folder, render_check
from almoner.workloads.image_folders import load_image_folder
from almoner.workloads.image_workload import ImageWorkload
from almoner.workloads.registry import workload

LINES = (
    "r1,p1,a.nii,0,train",
    "r2,p2,b.nii.gz,1,test",
    "r3,p1,b.nii.gz,2,train",
    "r4,p3,sub/a.nii,1,train",
    "r5,p3,none.nii,1,train",
    "r6,p3,a.nii,7,train",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (write_labels(tmp_path / "scans", *LINES) / "sub").mkdir()
    for name, image in (("a.nii", phantom()), ("b.nii.gz", phantom() / 2), ("sub/a.nii", -phantom())):
        nibabel.save(nifti(image, "RAS"), tmp_path / "scans" / name)
    return tmp_path / "scans"


def test_records_and_units(folder: Path) -> None:
    data = load_image_folder(folder, settings(), shape=SHAPE, num_classes=3)
    assert data.train.targets.tolist() == [0, 2, 1]
    assert data.train.unit.tolist() == [0, 0, 1]
    assert data.test.targets.tolist() == [1]
    wanted = np.stack([scaled(phantom()), scaled(phantom() / 2), scaled(-phantom())])
    np.testing.assert_allclose(data.train.features.numpy(), wanted, atol=1e-6)
    assert load_image_folder(folder, settings(), shape=(6, 5), num_classes=3).train.features.shape == (3, 6, 5)


def test_a_folder_of_nothing_usable(tmp_path: Path) -> None:
    data = load_image_folder(write_labels(tmp_path / "scans"), settings(), shape=SHAPE, num_classes=2)
    assert data.train.features.shape == data.test.features.shape == (0, *SHAPE)
    assert data.train.num_units == 0


@pytest.mark.parametrize(("shape", "axes"), [((4,), "PLS"), ((4, 4), "PL"), ((4, 4, 4), "PAS"), ((4, 4, 4), "pls")])
def test_a_workload_that_asks_for_no_image(folder: Path, shape: tuple[int, ...], axes: str) -> None:
    with pytest.raises(DataError, match="give two or three sizes, and axes such as PLS"):
        load_image_folder(folder, settings(), shape=shape, num_classes=2, axes=axes)


@pytest.mark.parametrize("name", ["brain_mri", "lung_nodules_3d"])
def test_the_workloads_of_images_take_folders(folder: Path, name: str) -> None:
    task = workload(name)
    assert isinstance(task, ImageWorkload)
    train = task.load_images(folder, settings(spacing_mm=None)).train
    assert train.unit.tolist() == [0, 1]  # p1 has label 0, and one with a label that these have not
    losses = task.loss(task.build_model()(train.features), train.targets)
    assert losses.shape == (2,)
    assert torch.isfinite(losses).all()


def test_what_the_site_is_told(folder: Path) -> None:
    check = check_image_folder(folder, settings())
    assert (check.records, check.units, check.most_records) == ({"train": 4, "test": 1}, 3, 2)
    assert check.shared_files == 2
    assert check.problems == {6: "there is no such file"}
    assert render_check("neuro", check) == [
        "neuro: 4 images for training, 1 for tests; 3 units with up to 2 images; 1 lines left out",
        "  line 6: there is no such file",
        "  2 files are named by lines of several units: correct unit_id",
    ]


def test_the_site_is_told_of_one_patient_by_many_names(tmp_path: Path) -> None:
    names = ["Jos\u00e9", "Jose\u0301", "JOS\u00c9", "Jos\u00e9\u200b", "Jos\u00e9\0", "Jose"]
    files = ["one", "./one", ".//one", "one/IM0000", "one/IM0000", "two"]
    lines = [f"r{number},{name},{file},0,train" for number, (name, file) in enumerate(zip(names, files, strict=True))]
    folder = write_labels(tmp_path / "scans", *lines)
    for name in ("one", "two"):
        write_series(folder / name, series(phantom()))
    check = check_image_folder(folder, settings("dicom"))
    assert check.alike_ids == ((2, 3, 4, 5, 6),)
    assert check.shared_files == 2, "the series, and its first slice"
    told = "  lines 2, 3, 4, 5, 6: unit ids that look alike and count as several: correct unit_id"
    assert render_check("neuro", check)[-1] == told


def test_the_site_is_told_of_lines_that_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("almoner.data.image_labels.MAX_LINES_PER_UNIT", 2)
    folder = write_labels(tmp_path / "scans", *(f"r{number},p1,none,0,train" for number in range(3)))
    problems = list(check_image_folder(folder, settings()).problems.values())
    assert sorted(problems) == ["the unit has more than 1000 lines", *["there is no such file"] * 2]
