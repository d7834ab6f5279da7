"""A site whose data set is a folder of NIfTI files takes part in a job: rounds, release, ledger, as with a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from flare_cases import Driver, SmallWorkload, committed_steps, envelope
from tests.unit.workloads.image_cases import nifti, settings, write_labels

from almoner.data.unit_join import hash_units
from almoner.errors import PolicyViolation
from almoner.flare.job.job_context import JobContext
from almoner.flare.site.dataset_commitments import commit_site_data, current_commitments
from almoner.flare.site.unit_joins import _units_by_dataset
from almoner.flare.training.context import load_training
from almoner.flare.training.local_work import LocalWork
from almoner.schema.images import ImageFolder
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.image_folders import load_image_folder
from almoner.workloads.image_workload import ImageWorkload


class Scans(SmallWorkload, ImageWorkload):
    """Whether the front or the back of a volume is brighter: logistic regression on two means."""

    def load_images(self, path: Path, images: ImageFolder) -> UnitData:
        self.before_load()
        data = load_image_folder(path, images, shape=(2, 2, 2), num_classes=2)
        return UnitData(*(_means(records) for records in (data.train, data.test)))


def _means(records: UnitRecords) -> UnitRecords:
    return UnitRecords(records.features.flatten(2).mean(2), records.targets.float(), records.unit)


def write_scans(folder: Path, *more: str) -> Path:
    """Write 20 patients of two scans each: of those with label 1, the back is brighter."""
    lines = []
    for number in range(40):
        label, image = number // 2 % 2, np.full((4, 4, 4), -800, np.float32)
        image[2:] += 400 * label
        name = f"scan-{number}.nii"
        lines.append(f"r{number},p{number // 2},{name},{label},{'train' if number < 30 else 'test'}")
        folder.mkdir(parents=True, exist_ok=True)
        nibabel.save(nifti(image, "RAS" if number % 2 else "SAR"), folder / name)
    return write_labels(folder, *lines, *more)


@pytest.fixture
def scans(context: JobContext) -> Any:
    """The site's context, its data set a folder of images."""
    site = context.site
    write_scans(site.folder / "data" / "scans")
    changed = {"path": "data/scans", "images": settings(spacing_mm=None), "columns": None}
    dataset = site.config.datasets["cardiology"].model_copy(update=changed)
    config = site.config.model_copy(update={"datasets": {"cardiology": dataset}})
    return replace(context, site=replace(site, config=config), workload=Scans())


def test_a_site_trains_and_releases_on_a_folder_of_images(scans: Any) -> None:
    opened: list[list[str]] = []
    context = replace(scans, workload=Scans(lambda: opened.append(committed_steps(scans))))
    driver = Driver(context)
    driver.set_up()
    updates = [np.array(driver.train(number).body) for number in (1, 2)]
    driver.release()
    assert all(update.any() and update.dtype == np.int64 for update in updates)
    assert opened == [["train-0001"]]  # once, after the first round was durable in the ledger
    assert len(committed_steps(context)) == 3


def test_the_units_are_patients_and_the_model_learns_them(scans: Any) -> None:
    work = LocalWork(scans, scans.workload.build_model())
    assert work._open_data().train.num_units == 15
    assert len(work._open_data().train.targets) == 15, "one of the two scans, as the site declares one record a patient"
    assert work.count_test_records(np.array([-100.0, 100.0, -5.0])) == (5, 0)


def test_a_workload_without_folders_is_refused_before_anything_is_read(scans: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("almoner.flare.training.context._verified_workload", lambda *_: SmallWorkload())
    with pytest.raises(PolicyViolation, match="small: takes no image folders → choose a data set without images"):
        load_training(scans.job_id, scans.site, envelope(), scans.plan)


def test_the_folders_units_are_joined_and_its_files_committed_to(scans: Any) -> None:
    site, folder = scans.site, scans.site.folder / "data" / "scans"
    (found,) = _units_by_dataset(site, b"salt")
    assert found == {scans.dataset.population: hash_units(b"salt", [f"p{number}" for number in range(20)])}
    made = commit_site_data(site)
    assert current_commitments(site.config, site.folder) == made
    (folder / "scan-3.nii").touch()
    assert current_commitments(site.config, site.folder) == {"cardiology": ""}
