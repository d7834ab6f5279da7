"""Four chest clinics out of one database: what becomes of a record is its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nodule_cases import SPLIT, THICKNESS, Row, arrays_of, database, square, tables

from almoner.data.lung_contours import Annotation, Outline, read_annotations
from almoner.data.lung_nodules import MEMBER, SIDE, SITES, VOXEL_MM, nodule_files, rasterise, site_of
from almoner.data.registry import LUNG_NODULES, dataset_of_file
from almoner.errors import DataError


def records(content: dict[str, bytes]) -> list[tuple[str, str, int, bool, bytes]]:
    """Return site, patient, label, is test and mask of each record."""
    found = []
    for site, file in content.items():
        read = arrays_of(file)
        for i, patient in enumerate(read["ids"].tolist()):
            found.append((site, patient, int(read["labels"][i]), bool(read["is_test"][i]), read["masks"][i].tobytes()))
    return found


def made(folder: Path, rows: dict[str, list[Row]]) -> list[tuple[str, str, int, bool, bytes]]:
    return records(nodule_files({MEMBER: database(folder, rows)}, SPLIT))


def test_clinic_split_and_label_are_those_of_the_source(tmp_path: Path) -> None:
    rows = tables()
    found = made(tmp_path, rows)
    expected = sorted(
        (SITES[scan % 4], f"LIDC-IDRI-{scan:04}", int(malignancy > 3), SPLIT(f"LIDC-IDRI-{scan:04}") == "test")
        for _, scan, malignancy in rows["annotations"]
        if malignancy != 3
    )
    assert sorted(record[:4] for record in found) == expected


def test_a_patient_of_two_scans_is_at_one_clinic(tmp_path: Path) -> None:
    rows = tables()
    rows["scans"].append((50, "LIDC-IDRI-0003", 1.0, 0.7))
    rows["annotations"].append((5000, 50, 5))
    rows["contours"].append((5000, 1, 3.0, square(100, 5)))
    assert {record[0] for record in made(tmp_path, rows) if record[1] == "LIDC-IDRI-0003"} == {"chest-1"}


BAD: dict[str, tuple[str, int, Any]] = {
    "malignancy": ("annotations", 2, 9),
    "malignancy of text": ("annotations", 2, "many"),
    "no malignancy": ("annotations", 2, None),
    "no scan": ("annotations", 1, 999),
    "hole or not": ("contours", 1, 7),
    "height": ("contours", 2, float("inf")),
    "height of text": ("contours", 2, "1550.5; DROP TABLE contours"),
    "no points": ("contours", 3, ""),
    "two points": ("contours", 3, "1,1\n2,2"),
    "a letter": ("contours", 3, "1,1\n2,x\n3,3"),
    "a number too large": ("contours", 3, "1,1\n2,99999\n3,3"),
    "a million points": ("contours", 3, "\n".join(["1,1"] * 1_000_000)),
    "bytes": ("contours", 3, b"\xff\xfe1,1\n2,2\n3,3"),
    "a number for points": ("contours", 3, 3.5),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_value_takes_its_own_record_out(fault: str, tmp_path: Path) -> None:
    before = made(tmp_path, tables())
    rows = tables()
    table, place, value = BAD[fault]
    number = 100
    for index, row in enumerate(rows[table]):
        if row[0] == number:
            rows[table][index] = (*row[:place], value, *row[place + 1 :])
            break
    after = made(tmp_path, rows)
    gone = list(before)
    for record in after:
        gone.remove(record)
    assert [record[1] for record in gone] == ["LIDC-IDRI-0001"]


@pytest.mark.parametrize("changes", [{1: "LIDC-IDRI-1"}, {1: None}, {2: 0.0}, {2: float("nan")}, {3: -0.7}, {3: 1e9}])
def test_a_bad_scan_takes_its_own_records_out(changes: dict[int, Any], tmp_path: Path) -> None:
    before, rows = made(tmp_path, tables()), tables()
    row = list(rows["scans"][3])
    for place, value in changes.items():
        row[place] = value
    rows["scans"][3] = tuple(row)
    assert made(tmp_path, rows) == [record for record in before if record[1] != "LIDC-IDRI-0004"]


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_what_is_no_such_database_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="not the expected database → fetch"):
        read_annotations(content)


def nodule(*outlines: Outline, thickness: float = 2.0, spacing: float = 1.0) -> Annotation:
    return Annotation("LIDC-IDRI-0001", 5, thickness, spacing, outlines)


def outline(height: float, half: int, inside: bool = True, middle: int = 250) -> Outline:
    points = [line.split(",") for line in square(middle, half).split("\n")]
    return Outline(height, inside, np.array(points, np.int64))


def test_a_cube_is_as_large_as_it_is_and_in_the_middle() -> None:
    mask = rasterise(nodule(*(outline(2.0 * layer, 8) for layer in range(8))))
    filled = np.argwhere(mask)
    assert mask.shape == (SIDE, SIDE, SIDE)
    assert (np.ptp(filled, axis=0) + 1).tolist() == [8, 9, 9], "16 mm, and outlines are part of it"
    assert np.abs(filled.mean(axis=0) - SIDE / 2).max() <= 0.5
    assert mask.sum() == 8 * 9 * 9


def test_holes_and_thick_slices() -> None:
    ring = rasterise(nodule(outline(0.0, 10), outline(0.0, 4, inside=False)))
    assert ring.any()
    assert not ring[SIDE // 2, SIDE // 2, SIDE // 2]
    thick = rasterise(nodule(outline(0.0, 10), thickness=4 * VOXEL_MM))
    assert thick.any(axis=(1, 2)).sum() == 4
    assert rasterise(nodule(outline(0.0, 1), thickness=0.5)).any(), "a small nodule is there"


def test_what_is_outside_is_cut_and_the_order_of_outlines_says_nothing() -> None:
    outlines = [outline(layer * 2.0, 5 + layer % 3) for layer in range(-30, 30)]
    mask = rasterise(nodule(*outlines))
    assert np.array_equal(mask, rasterise(nodule(*reversed(outlines))))
    assert mask.any(axis=(1, 2)).all()
    assert rasterise(nodule(outline(0.0, 400))).shape == (SIDE,) * 3


@pytest.mark.parametrize(("thickness", "site"), [(0.6, 1), (1.25, 1), (1.5, 2), (2.0, 2), (2.5, 3), (3.0, 4), (5.0, 4)])
def test_the_clinic_is_that_of_the_slices(thickness: float, site: int) -> None:
    assert site_of([nodule(outline(0.0, 3), thickness=thickness)]) == f"chest-{site}"
    assert site_of([nodule(outline(0.0, 3), thickness=t) for t in (9.0, thickness)]) == f"chest-{site}"
    assert len(SITES) == len(THICKNESS)


def test_it_is_registered() -> None:
    assert dataset_of_file("data/nodules.npz") is LUNG_NODULES
    assert LUNG_NODULES.privacy_unit == "patient"
