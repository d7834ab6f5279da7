"""How a folder of medical images is to be read: what a site declares of it, all of it public."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from almoner.schema.base import Model

MAX_VOXELS = 2**27
"""The largest image that is read where a site says nothing: 512 slices of 512 × 512."""

_Intensity = Annotated[float, Field(ge=-1e6, le=1e6)]


class Window(Model):
    """The intensities that become 0 and 1; others are clipped. For CT in Hounsfield units, for masks 0 and 1."""

    low: _Intensity
    high: _Intensity

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "Window":
        if self.low >= self.high:
            raise ValueError(f"high: {self.high} is not above low {self.low}")
        return self


class ImageFolder(Model):
    """A data set that is a folder: `labels.csv`, and the images that it names.

    Args:
        kind: nifti (`.nii` or `.nii.gz`, a file an image), or dicom (a folder a series, or a file an image).
        window: scales all images alike; without it, each is scaled by its own intensities, as MRI needs it.
        spacing_mm: images are resampled to it, then cropped or padded at their centre to the workload's shape; without
            it, whole images are resized to that shape.
        max_voxels: the largest image that is read, before and after resampling; larger ones are left out.
    """

    kind: Literal["nifti", "dicom"]
    window: Window | None = None
    spacing_mm: Annotated[float, Field(ge=0.05, le=50)] | None = None
    max_voxels: Annotated[int, Field(ge=1, le=2**30)] = MAX_VOXELS
