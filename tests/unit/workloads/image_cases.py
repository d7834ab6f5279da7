"""Medical images made for tests: a phantom whose voxels tell where they are, along any axes, as NIfTI or DICOM."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from almoner.schema.images import ImageFolder, Window

SHAPE = (12, 10, 8)
SLOPE, INTERCEPT = 2.0, -1024.0
WINDOW = Window(low=-1024.0, high=1024.0)
TO_RAS = np.array([[0.0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""From indices in the order posterior, left, superior to RAS."""


def phantom(shape: tuple[int, int, int] = SHAPE) -> NDArray[np.float32]:
    """Return whole intensities of the window, another one in each voxel; axes PLS."""
    return (np.arange(np.prod(shape), dtype=np.float32) * 2 - 1024).reshape(shape)


def settings(kind: str = "nifti", **changed: object) -> ImageFolder:
    """Return what a site declares."""
    return ImageFolder.model_validate({"kind": kind, "window": WINDOW, "spacing_mm": 1.0} | changed)


def scaled(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image as the window scales it."""
    return np.clip((image - WINDOW.low) / (WINDOW.high - WINDOW.low), 0, 1).astype(np.float32)


def nifti(image: NDArray[np.generic], axes: str = "PLS", sides: Sequence[float] = (1, 1, 1)) -> nibabel.Nifti1Image:
    """Store an image, whose axes are PLS, along other axes; sides are those of a voxel in PLS."""
    made = nibabel.Nifti1Image(image, TO_RAS @ np.diag([*sides, 1]))
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(made.affine), nibabel.orientations.axcodes2ornt(tuple(axes))
    )
    return made.as_reoriented(turn)


def dicom_slice(pixels: NDArray[np.int16], position: Sequence[float], name: str = "Doe^Jane") -> FileDataset:
    """Return an axial slice of 1 mm pixels, which names its patient."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.PatientName, made.PatientID, made.InstitutionName = name, "MRN-0017", "General Hospital"
    made.Rows, made.Columns = pixels.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.RescaleSlope, made.RescaleIntercept = SLOPE, INTERCEPT
    made.PixelSpacing = [1.0, 1.0]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.ImagePositionPatient = list(position)
    made.PixelData = pixels.astype("<i2").tobytes()
    return made


def stored(image: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return what a scanner stores of intensities."""
    return ((image - INTERCEPT) / SLOPE).astype(np.int16)


def series(image: NDArray[np.float32]) -> list[FileDataset]:
    """Return an image, whose axes are PLS, as slices from below upwards."""
    pixels = stored(image)
    return [dicom_slice(pixels[:, :, place], (0, 0, place)) for place in range(pixels.shape[2])]


def multi_frame(image: NDArray[np.float32]) -> FileDataset:
    """Return an image, whose axes are PLS, as one enhanced file."""
    pixels = stored(image)
    made = dicom_slice(np.moveaxis(pixels, 2, 0), (0, 0, 0))
    made.NumberOfFrames = pixels.shape[2]
    for tag in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope", "RescaleIntercept"):
        del made[tag]
    shared, measures, plane, values = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, plane.ImageOrientationPatient = [1.0, 1.0], [1, 0, 0, 0, 1, 0]
    values.RescaleSlope, values.RescaleIntercept = SLOPE, INTERCEPT
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Items([measures]), Items([plane])
    shared.PixelValueTransformationSequence = Items([values])
    made.SharedFunctionalGroupsSequence = Items([shared])
    made.PerFrameFunctionalGroupsSequence = Items([_frame(place) for place in range(pixels.shape[2])])
    return made


def _frame(place: int) -> Dataset:
    """Return what a frame says of itself."""
    frame, position = Dataset(), Dataset()
    position.ImagePositionPatient = [0, 0, place]
    frame.PlanePositionSequence = Items([position])
    return frame


def write_series(folder: Path, slices: Iterable[FileDataset]) -> Path:
    """Write slices in the given order, as files of growing names."""
    folder.mkdir(parents=True)
    for number, found in enumerate(slices):
        found.save_as(folder / f"IM{number:04}", enforce_file_format=True)
    return folder


def write_labels(folder: Path, *lines: str, header: str = "record_id,unit_id,file,label,split") -> Path:
    """Write a folder's list."""
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("".join(f"{line}\n" for line in (header, *lines)))
    return folder
