"""Makes an array of a workload's shape of one medical image, by MONAI. An image is scaled and placed by itself alone.

Intensities become 0 … 1 first: then no value is too large to be interpolated, and what is added around is black.
"""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from monai.data import MetaTensor
from monai.data.utils import compute_shape_offset, zoom_affine
from monai.transforms import (
    Compose,
    EnsureChannelFirst,
    LoadImage,
    Orientation,
    Resize,
    ResizeWithPadOrCrop,
    ScaleIntensityRange,
    ScaleIntensityRangePercentiles,
    Spacing,
    Transform,
)
from torch import Tensor

from almoner.errors import DataError
from almoner.schema.images import ImageFolder
from almoner.workloads.dicom_files import BoundedDicomReader
from almoner.workloads.nifti_files import BoundedNiftiReader

_AXES = (("L", "R"), ("P", "A"), ("I", "S"))
_PERCENTILES = 0.5, 99.5
_LARGEST = 1e30
_VOXEL_MM = 0.01, 100.0
"""What the side of a voxel may be; other sides are errors of units."""

_TALKERS = ("pydicom", "nibabel.global", "LoadImage", "monai.data.nvimgcodec_pydicom_plugin")


def read_image(path: Path, images: ImageFolder, shape: tuple[int, ...], axes: str) -> Tensor:
    """Read one image, float32[*shape] from 0 to 1; nothing that it says is logged.

    Args:
        path: see `almoner.data.image_labels.image_path`.
        images: what the site declares.
        shape: two or three sizes.
        axes: where the three axes point to, such as PLS: to posterior, left and superior.

    Raises:
        DataError: the image breaks a bound, or is not of its kind. What else is wrong with a file raises whatever the
            library raises that finds it.
    """
    with _silence():
        image = _volume(_load(path, images))
        image = _flat(Orientation(axes, labels=_AXES)(_scaling(images)(image)), shape)
        placed = _placed(image, images, shape)
    return torch.nan_to_num(placed).clamp(0, 1).to(torch.float32).reshape(shape).clone()


def _load(path: Path, images: ImageFolder) -> MetaTensor:
    """Read the file by the reader of the declared kind, and by no other: on failure LoadImage would try all it has."""
    reader = BoundedNiftiReader if images.kind == "nifti" else BoundedDicomReader
    return _loader()(path, reader=reader(images.max_voxels))


@lru_cache(maxsize=1)
def _loader() -> LoadImage:
    """Make it once: it logs each time which other readers are not installed."""
    return LoadImage(expanduser=False)


def _volume(image: MetaTensor) -> MetaTensor:
    """Return an image as one channel of three dimensions, its affine that of a volume; all its values are finite."""
    affine = image.affine.double().clone()
    if image.ndim == 2:
        image, across = image[..., None], torch.linalg.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = across / across.norm()
    if not all(_VOXEL_MM[0] <= side <= _VOXEL_MM[1] for side in _sides(affine)):  # NaN is not either
        raise DataError(f"the side of a voxel is not between {_VOXEL_MM[0]} and {_VOXEL_MM[1]:.0f} mm")
    image = EnsureChannelFirst(channel_dim="no_channel")(image.reshape(image.shape[:3]))
    image.affine = affine
    return torch.nan_to_num(image, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST).clamp(-_LARGEST, _LARGEST)


def _scaling(images: ImageFolder) -> Transform:
    """Return what scales intensities to 0 … 1."""
    if images.window is None:
        return ScaleIntensityRangePercentiles(*_PERCENTILES, 0.0, 1.0, clip=True)
    return ScaleIntensityRange(images.window.low, images.window.high, 0.0, 1.0, clip=True)


def _flat(image: MetaTensor, shape: tuple[int, ...]) -> MetaTensor:
    """Of a volume, keep the middle slice if a picture is wanted."""
    if len(shape) == 3:
        return image
    if 1 in image.shape[1:3]:
        raise DataError("the picture does not lie in the plane that the workload wants")
    middle = image.shape[3] // 2
    return image[..., middle : middle + 1]


def _verify_bounded(image: MetaTensor, images: ImageFolder, spacing: list[float]) -> None:
    """Check how large the image would become, as MONAI reckons it: slices that lie askew make it larger than itself."""
    affine = image.affine.numpy()
    wanted, _ = compute_shape_offset(image.shape[1:], affine, zoom_affine(affine, spacing, diagonal=False))
    if not math.prod(wanted) <= images.max_voxels:  # NaN is not either
        raise DataError("more voxels than max_voxels, at spacing_mm")


def _sides(affine: Tensor) -> list[float]:
    """Return the sides of a voxel in mm."""
    sides: list[float] = affine[:3, :3].norm(dim=0).tolist()
    return sides


def _placed(image: MetaTensor, images: ImageFolder, shape: tuple[int, ...]) -> Tensor:
    """Bring a volume to its shape; without a spacing, shrink it by means over voxels and enlarge it by lines."""
    whole = (*shape, 1)[:3]
    if images.spacing_mm is None:
        smaller = [min(sizes) for sizes in zip(image.shape[1:], whole, strict=True)]
        steps = [Resize(smaller, mode="area"), Resize(whole, mode="trilinear")]
    else:
        spacing = [images.spacing_mm] * len(shape) + [-1.0] * (3 - len(shape))  # -1: as it is
        _verify_bounded(image, images, spacing)
        steps = [Spacing(spacing, mode="bilinear", padding_mode="border"), ResizeWithPadOrCrop(whole)]
    placed: Tensor = Compose(steps)(image).as_tensor()
    return placed


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what libraries say of a file out of the logs: they quote it."""
    talkers = [logging.getLogger(name) for name in _TALKERS]
    before = [talker.disabled for talker in talkers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for talker in talkers:
            talker.disabled = True
        try:
            yield
        finally:
            for talker, was in zip(talkers, before, strict=True):
                talker.disabled = was
