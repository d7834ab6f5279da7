"""What a site may declare of a folder of images, and how it is told what is wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from almoner.errors import DocumentError
from almoner.schema.documents import load_document
from almoner.schema.images import ImageFolder
from almoner.schema.site import SiteConfig

NEURO: dict[str, Any] = {
    "population": "clinic-1-patients",
    "path": "data/mri",
    "nominal_records": 400,
    "public": False,
    "one_record_per_unit": True,
    "images": {"kind": "dicom", "window": {"low": -1000, "high": 400}, "spacing_mm": 1, "max_voxels": 1000},
}


def load(folder: Path, dataset: dict[str, Any]) -> SiteConfig:
    path = folder / "clinic-1.yaml"
    path.write_text(yaml.safe_dump({"schema_version": 1, "site": "clinic-1", "datasets": {"neuro": dataset}}))
    return load_document(path, SiteConfig)


def test_what_may_be_declared(tmp_path: Path) -> None:
    images = load(tmp_path, NEURO).datasets["neuro"].images
    assert images is not None
    assert images.window is not None
    assert (images.kind, images.window.low, images.spacing_mm) == ("dicom", -1000, 1)
    bare = load(tmp_path, NEURO | {"images": {"kind": "nifti"}}).datasets["neuro"].images
    assert bare is not None
    assert (bare.window, bare.spacing_mm, bare.max_voxels) == (None, None, 2**27)


def test_the_example_that_is_copied(root: Path, tmp_path: Path) -> None:
    text = (root / "site_configs" / "README.md").read_text()
    example = text.partition("```yaml\n")[2].partition("```")[0]
    example = example.replace("\n      # ", "\n      ")  # with all that may be said
    images = load(tmp_path, yaml.safe_load(example)["datasets"]["neuro"]).datasets["neuro"].images
    assert images is not None
    assert images.model_fields_set == set(ImageFolder.model_fields)


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ({}, "images.kind: Field required"),
        ({"kind": "png"}, "images.kind: Input should be 'nifti' or 'dicom'"),
        ({"kind": "nifti", "spacing": 1}, "images.spacing: "),
        ({"kind": "nifti", "spacing_mm": 0}, "images.spacing_mm: Input should be greater than or equal to 0.05"),
        ({"kind": "nifti", "spacing_mm": "1"}, "images.spacing_mm: Input should be a valid number"),
        ({"kind": "nifti", "max_voxels": 0}, "images.max_voxels: Input should be greater than or equal to 1"),
        ({"kind": "nifti", "window": {"low": 1}}, "images.window.high: Field required"),
        ({"kind": "nifti", "window": {"low": 1, "high": 1}}, "images.window: high: 1.0 is not above low 1.0"),
        ({"kind": "nifti", "window": {"low": 0, "high": float("inf")}}, "images.window.high: "),
    ],
)
def test_what_may_not(tmp_path: Path, images: dict[str, Any], problem: str) -> None:
    with pytest.raises(DocumentError) as error:
        load(tmp_path, NEURO | {"images": images})
    assert f"datasets.neuro.{problem}" in str(error.value)


@pytest.mark.parametrize("extra", [{"unit_column": "id"}, {"columns": {"note": {"kind": "text"}}}, {"identifiers": {}}])
def test_a_folder_has_no_columns(tmp_path: Path, extra: dict[str, Any]) -> None:
    with pytest.raises(DocumentError, match=f"{next(iter(extra))}: a folder of images has no columns"):
        load(tmp_path, NEURO | extra)
