"""`almoner site check-images` as a hospital's IT types it, before the first job."""

import json
from pathlib import Path

import nibabel
import pytest
from cli_cases import Shell
from tests.unit.workloads.image_cases import nifti, phantom, settings, write_labels

from almoner.provision import names
from almoner.schema.consortium import Roster
from almoner.schema.declarations import load_declarations


@pytest.fixture
def hospital(root: Path, tmp_path: Path) -> Path:
    """A site's folder: a kit with its configuration, and a folder of two images, one of which is cut off."""
    declared, folder = load_declarations(root), tmp_path / "cleveland"
    config = declared.sites["cleveland"]
    images = {"images": settings(), "path": "data/scans", "columns": None}
    table = config.datasets["cardiology"]
    changed = config.model_copy(update={"datasets": {"table": table, "neuro": table.model_copy(update=images)}})
    roster = Roster(schema_version=1, consortium="trial", sites=())
    policies = {names.POLICY_FILE: declared.policies["cleveland"], names.FLOOR_FILE: declared.floor}
    documents = {**policies, names.SITE_FILE: changed, names.ROSTER_FILE: roster}
    (folder / "kit" / "local").mkdir(parents=True)
    for name, document in documents.items():
        (folder / "kit" / "local" / name).write_text(document.model_dump_json(exclude_none=True))
    (folder / "data").mkdir()
    scans = write_labels(folder / "data" / "scans", "r1,p1,a.nii,0,train", "r2,p2,b.nii,1,test")
    for name in ("a.nii", "b.nii"):
        nibabel.save(nifti(phantom()), scans / name)
    (scans / "b.nii").write_bytes((scans / "b.nii").read_bytes()[:-1])
    return folder


def test_what_was_read_and_what_could_not_be(hospital: Path, almoner: Shell) -> None:
    outcome = almoner("site", "check-images", hospital)
    assert outcome.code == 2
    assert outcome.out.splitlines() == [
        "neuro: 1 images for training, 0 for tests; 1 units with up to 1 images; 1 lines left out",
        "  line 3: the file is cut off",
    ]
    (hospital / "data" / "scans" / "b.nii").write_bytes((hospital / "data" / "scans" / "a.nii").read_bytes())
    parsed = almoner("site", "check-images", hospital, "--json")
    assert parsed.code == 0
    good = {"problems": {}, "records": {"test": 1, "train": 1}, "shared_files": 0, "alike_ids": []}
    good |= {"units": 2, "most_records": 1}
    assert json.loads(parsed.out) == {"neuro": good}


def test_no_list_of_images(hospital: Path, almoner: Shell) -> None:
    (hospital / "data" / "scans" / "labels.csv").unlink()
    outcome = almoner("site", "check-images", hospital)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {hospital.resolve()}/data/scans/labels.csv: cannot be read")


def test_a_folder_that_is_no_site(tmp_path: Path, almoner: Shell) -> None:
    assert almoner("site", "check-images", tmp_path).code == 2
