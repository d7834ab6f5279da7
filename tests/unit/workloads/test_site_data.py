"""However a site's file has it: a unit is in one part, and has as many records as the site declares."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from almoner.data.heart_disease import COLUMNS
from almoner.data.lung_nodules import PACKED_BYTES
from almoner.errors import DataError
from almoner.experiments.public import load_public_sites
from almoner.schema.declarations import Declarations, load_declarations
from almoner.schema.documents import load_document
from almoner.schema.images import ImageFolder
from almoner.schema.job import JobSpec
from almoner.schema.site import DatasetConfig
from almoner.workloads.registry import workload
from almoner.workloads.site_data import load_site_data

ONE = DatasetConfig(population="p", path="f", nominal_records=9, public=True, one_record_per_unit=True)
IDS, IS_TEST = ["p1", "p1", "p2", "p3", "p3"], [True, False, True, False, False]
"""p1 is in both parts; p3 has two records."""


def table(folder: Path) -> Path:
    lines = [",".join(("record_id", "split", *COLUMNS))]
    for number, (name, test) in enumerate(zip(IDS, IS_TEST, strict=True)):
        lines.append(",".join([name, "test" if test else "train", *(str(50 + number) for _ in COLUMNS)]))
    (folder / "heart.csv").write_text("\n".join(lines))
    return folder / "heart.csv"


def archive(name: str, shape: tuple[int, ...]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        content = np.random.default_rng(0).integers(0, 256, (len(IDS), *shape), np.uint8)
        labels = np.zeros(len(IDS), np.uint8)
        np.savez(folder / "a.npz", labels=labels, is_test=np.array(IS_TEST), ids=np.array(IDS), **{name: content})
        return folder / "a.npz"

    return write


def speakers(folder: Path) -> Path:
    lines = [
        f'{{"record_id": "{name}", "split": "{"test" if test else "train"}", "speeches": ["to be or not to be"]}}'
        for name, test in zip(IDS, IS_TEST, strict=True)
    ]
    (folder / "speakers.jsonl").write_text("\n".join(lines))
    return folder / "speakers.jsonl"


FILES = {
    "heart_disease": table,
    "digits_cnn": archive("images", (28, 28)),
    "brain_mri": archive("images", (64, 64)),
    "lung_nodules_3d": archive("masks", (PACKED_BYTES,)),
    "next_word": speakers,
}


@pytest.mark.threat("T-109")
@pytest.mark.parametrize("name", FILES)
def test_a_unit_is_in_one_part_and_has_one_record_where_one_is_declared(tmp_path: Path, name: str) -> None:
    data = load_site_data(workload(name), FILES[name](tmp_path), ONE)
    assert (data.train.unit.tolist(), data.test.unit.tolist()) == ([0, 1], [0])


def test_several_records_of_one_line_are_all_used(tmp_path: Path) -> None:
    path = tmp_path / "speakers.jsonl"
    path.write_text('{"record_id": "a", "split": "train", "speeches": ["%s"]}' % ("to be " * 40))
    assert load_site_data(workload("next_word"), path, ONE).train.unit.tolist() == [0] * 4


def test_of_public_data_nothing_changes(heart_files: dict[str, Path]) -> None:
    task = workload("heart_disease")
    for path in heart_files.values():
        loaded, bounded = task.load(path), load_site_data(task, path, ONE)
        for one, other in ((loaded.train, bounded.train), (loaded.test, bounded.test)):
            assert torch.equal(one.features, other.features)
            assert np.array_equal(one.unit, other.unit)


def test_a_folder_of_images_is_no_public_archive(root: Path, tmp_path: Path) -> None:
    spec = load_document(root / "jobs" / "brain_mri.yaml", JobSpec)
    found = load_declarations(root, "radiology")
    sites = {
        name: site.model_copy(
            update={
                "datasets": {
                    key: dataset.model_copy(update={"images": ImageFolder(kind="nifti")})
                    for key, dataset in site.datasets.items()
                }
            }
        )
        for name, site in found.sites.items()
    }
    declared = Declarations(**{**vars(found), "sites": sites})
    with pytest.raises(DataError, match="a folder of images is no registered public archive → choose a job on a file"):
        load_public_sites(spec, declared, tmp_path)
