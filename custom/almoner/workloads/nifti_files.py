"""Reads one NIfTI file for MONAI. What its header says is compared with the bounds before anything is expanded."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.config import PathLike
from monai.data import NibabelReader
from monai.utils import ensure_tuple

from almoner.data.bounded_files import open_unzipped
from almoner.errors import DataError

SUFFIXES = (".nii", ".nii.gz")
_HEADER_BYTES = 540
"""A NIfTI-2 header, and a NIfTI-1 header with room to spare."""

_MAX_OFFSET = 1 << 20
"""Where pixels begin at the latest; extensions of the header stand before them."""


class BoundedNiftiReader(NibabelReader):  # type: ignore[misc]  # MONAI has no types
    """MONAI's reader of NIfTI, which gets a file that was read within bounds.

    Args:
        max_voxels: the largest image that is read.
    """

    def __init__(self, max_voxels: int) -> None:
        super().__init__(channel_dim="no_channel")
        self._max_voxels = max_voxels

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: object) -> nibabel.Nifti1Image:
        """Read one file into memory; its pixels are not interpreted yet.

        Raises:
            DataError: it is too large, cut off, or not grey; what else is wrong raises what nibabel raises.
        """
        self.filenames = ensure_tuple(data)
        return _read_nifti(Path(self.filenames[0]), self._max_voxels)


def _read_nifti(path: Path, max_voxels: int) -> nibabel.Nifti1Image:
    """Read header and pixels, and never more bytes than they have."""
    if not path.name.endswith(SUFFIXES):
        raise DataError("the name does not end in .nii or .nii.gz")
    with open_unzipped(path) as file:
        start = file.read(_HEADER_BYTES)
        kind = nibabel.Nifti1Image if nibabel.Nifti1Header.may_contain_header(start) else nibabel.Nifti2Image
        header = kind.header_class(start[: kind.header_class.sizeof_hdr])
        length = _verified_length(header, max_voxels)
        content = start + file.read(length - len(start) + 1)  # one more, so that gzip compares its checksum at the end
    if len(content) < length:
        raise DataError("the file is cut off")
    return kind.from_bytes(content)


def _verified_length(header: Any, max_voxels: int) -> int:
    """Return how long the file must be."""
    shape, offset = [int(size) for size in header.get_data_shape()], int(header.get_data_offset())
    stored: np.dtype[Any] = header.get_data_dtype()
    if header["magic"].item() != header.single_magic:
        raise DataError("header and pixels are in two files")
    if not 2 <= len(shape) <= 4 or min(shape) < 1 or math.prod(shape[3:]) != 1 or stored.kind not in "iuf":
        raise DataError("not one grey image of two or three dimensions")
    if math.prod(shape) > max_voxels:
        raise DataError("more voxels than max_voxels")
    if not header.single_vox_offset <= offset <= _MAX_OFFSET:
        raise DataError("pixels begin within the header, or too far behind it")
    if not (header["sform_code"] or header["qform_code"]):
        raise DataError("the header does not say how the image lies (sform and qform are 0)")
    return offset + math.prod(shape) * stored.itemsize
