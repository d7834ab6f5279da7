"""Reads DICOM slices for MONAI: a folder that holds one series, or one file of one or more frames.

Of each file geometry and pixels are kept, and nothing else: what names the patient is passed over as the file is read.
Slices are put in order by where they lie, whatever files or numbers they have. Pixels must not be compressed.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import PydicomReader
from monai.utils import ensure_tuple
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from almoner.data.bounded_files import read_at_most
from almoner.errors import DataError

MAX_SLICES = 10_000
_PIXELS = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit")
_GEOMETRY = {"PixelSpacing": 2, "ImagePositionPatient": 3, "ImageOrientationPatient": 6}
_RESCALE = ("RescaleSlope", "RescaleIntercept")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_GROUP_OF = {
    "PixelSpacing": "PixelMeasuresSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
_NAMES = (*_PIXELS, "PixelRepresentation", "NumberOfFrames", "PixelData", *_GEOMETRY, *_RESCALE, *_GROUPS)
_TAGS = [Tag(name) for name in _NAMES]

_PREFIX_AT, _META_AT = 128, 144
"""Where a file says what it is, and where its meta information begins, after the element that tells its length."""

_MAX_META_BYTES = 1 << 14
_MAX_BYTES_BESIDE = 1 << 26
"""What a series may have beside its pixels."""

_SAME = 1e-3
"""Slices of a volume have one orientation and pixel size, up to this; …"""

_EVEN = 0.05
"""… and lie one distance apart, up to this share of it."""


class BoundedDicomReader(PydicomReader):  # type: ignore[misc]  # MONAI has no types
    """MONAI's reader of DICOM, which gets slices that were read within bounds and form one volume.

    Args:
        max_voxels: the largest image that is read.
    """

    def __init__(self, max_voxels: int) -> None:
        super().__init__(prune_metadata=True)
        self._max_voxels = max_voxels

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: object) -> list[Dataset]:
        """Read a file's frames, or a folder's slices, in the order in which they lie.

        Raises:
            DataError: they are too many, not grey, compressed, cut off, or no volume; what else is wrong raises what
                pydicom raises.
        """
        slices = _in_order(_read_slices(Path(ensure_tuple(data)[0]), self._max_voxels))
        for number, found in enumerate(slices, start=1):
            found.InstanceNumber = number
        self.has_series, self.filenames = True, [["slice"] * len(slices)]
        return slices


def _read_slices(path: Path, max_voxels: int) -> list[Dataset]:
    """Read all slices, as long as they are within the bounds."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if not file.name.startswith(".") and file.name != "DICOMDIR")
    left_voxels, left_bytes = max_voxels, 4 * max_voxels + _MAX_BYTES_BESIDE
    if len(files) > MAX_SLICES:
        raise DataError("more slices than a series has")
    slices: list[Dataset] = []
    for file in files:
        content = read_at_most(file, left_bytes)
        left_bytes -= len(content)
        for found in _frames(content, left_voxels, MAX_SLICES - len(slices)):
            left_voxels -= found.Rows * found.Columns
            slices.append(found)
    return slices


def _frames(content: bytes, max_voxels: int, max_frames: int) -> Iterator[Dataset]:
    """Yield each frame of a file with its pixels, and what is needed of its geometry."""
    file = _elements(content)
    number = int(file.get("NumberOfFrames") or 1)
    depth, voxels = int(file.BitsAllocated), int(file.Rows) * int(file.Columns)
    if file.PhotometricInterpretation != "MONOCHROME2" or file.SamplesPerPixel != 1 or depth not in (8, 16, 32):
        raise DataError("not grey (MONOCHROME2) of 8, 16 or 32 bits")
    if not 1 <= number <= max_frames:
        raise DataError("more slices than a series has")
    if not 1 <= number * voxels <= max_voxels:
        raise DataError("more voxels than max_voxels")
    size = voxels * depth // 8
    if len(file.PixelData) < number * size:
        raise DataError("the file is cut off")
    for frame in range(number):
        found = Dataset()
        found.file_meta = FileMetaDataset()
        found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        for tag in (*_PIXELS, "PixelRepresentation"):
            found.add(file[tag])
        for tag in (*_GEOMETRY, *_RESCALE):
            if (element := _element(file, tag, frame)) is not None:
                found.add(element)
        found.PixelData = file.PixelData[frame * size : (frame + 1) * size]
        yield found


def _element(file: Dataset, tag: str, frame: int) -> Any:
    """Return an element of a frame: its own, that of all frames, or the file's."""
    groups = [file[name].value for name in reversed(_GROUPS) if name in file]
    of_frame = [group[frame if len(group) > 1 else 0] for group in groups]
    for holder in (*(item[_GROUP_OF[tag]].value[0] for item in of_frame if _GROUP_OF[tag] in item), file):
        if tag in holder:
            return holder[tag]
    return None


def _elements(content: bytes) -> Dataset:
    """Read what is needed of a file, as its meta information says, but by no `dcmread`: that inflates without bound."""
    end = _META_AT + int.from_bytes(content[_META_AT - 4 : _META_AT], "little")
    if content[_PREFIX_AT : _PREFIX_AT + 10] != b"DICM\x02\x00\x00\x00UL" or end > _META_AT + _MAX_META_BYTES:
        raise DataError("not a DICOM file")
    meta = read_dataset(io.BytesIO(content[_META_AT:end]), is_implicit_VR=False, is_little_endian=True)
    if meta.TransferSyntaxUID not in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        raise DataError("the pixels are compressed")
    file = io.BytesIO(content)
    file.seek(end)
    return read_dataset(file, meta.TransferSyntaxUID == ImplicitVRLittleEndian, True, specific_tags=_TAGS)


def _in_order(slices: list[Dataset]) -> list[Dataset]:
    """Sort slices by where they lie, and check that they form one volume."""
    if not slices:
        raise DataError("the series has no slices")
    for tag, size in _GEOMETRY.items():
        if any(tag not in found or len(found[tag].value or ()) != size for found in slices):
            raise DataError("a slice does not say where it lies")
    placed = {tag: np.array([[float(part) for part in found[tag].value] for found in slices]) for tag in _GEOMETRY}
    turned, position = placed["ImageOrientationPatient"], placed["ImagePositionPatient"]
    if not all(np.isfinite(values).all() for values in placed.values()):
        raise DataError("a slice does not say where it lies")
    sizes = {(found.Rows, found.Columns) for found in slices}
    if len(sizes) > 1 or np.ptp(turned, axis=0).max() > _SAME or np.ptp(placed["PixelSpacing"], axis=0).max() > _SAME:
        raise DataError("the slices are not of one series")
    order = np.argsort(position @ np.cross(turned[0, :3], turned[0, 3:]), kind="stable")
    if len(slices) > 1:
        _verify_even(position[order], np.cross(turned[0, :3], turned[0, 3:]))
    return [slices[place] for place in order]


def _verify_even(position: np.ndarray[Any, np.dtype[np.float64]], normal: np.ndarray[Any, Any]) -> None:
    """Check that slices lie one distance apart: none twice, none missing between two others."""
    step = (position[-1] - position[0]) / (len(position) - 1)
    wanted = position[0] + step * np.arange(len(position))[:, None]
    if step @ normal < _SAME or np.abs(position - wanted).max() > _EVEN * (step @ normal):
        raise DataError("slices are missing, or there twice")
