"""An image becomes the same array however it is stored: by axes, spacing, format, and order of its slices."""

import random
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.workloads.image_cases import (
    SHAPE,
    TO_RAS,
    dicom_slice,
    multi_frame,
    nifti,
    phantom,
    scaled,
    series,
    settings,
    stored,
    write_series,
)

from almoner.errors import DataError
from almoner.schema.images import Window
from almoner.workloads.image_reading import read_image


def read(path: Path, shape: tuple[int, ...] = SHAPE, axes: str = "PLS", **changed: object) -> NDArray[np.float32]:
    kind = "nifti" if ".nii" in path.name else "dicom"
    found: NDArray[np.float32] = read_image(path, settings(kind, **changed), shape, axes).numpy()
    assert found.shape == shape
    assert found.dtype == np.float32
    return found


def saved(folder: Path, image: nibabel.Nifti1Image, name: str = "a.nii") -> Path:
    nibabel.save(image, folder / name)
    return folder / name


def same(found: NDArray[Any], wanted: NDArray[Any], within: float = 1e-6) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=within)


@pytest.mark.parametrize("axes", ["PLS", "RAS", "LPI", "SAR", "IPL", "ALS"])
def test_a_nifti_image_along_any_axes_is_one_array(tmp_path: Path, axes: str) -> None:
    same(read(saved(tmp_path, nifti(phantom(), axes))), scaled(phantom()))


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("stored_as", ["<i2", ">i2", "<f4", ">f8", "u1"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_image_of_any_numbers_is_one_array(tmp_path: Path, kind: Any, stored_as: str, name: str) -> None:
    image = phantom() if stored_as != "u1" else np.clip(phantom(), 0, 255)
    header = kind.header_class(endianness=stored_as[0] if len(stored_as) > 2 else "<")
    header.set_data_dtype(stored_as)
    made = kind(image.astype(stored_as)[..., None], TO_RAS, header)
    same(read(saved(tmp_path, made, name)), scaled(image))


def test_slope_and_intercept_of_nifti_count(tmp_path: Path) -> None:
    made = nibabel.Nifti1Image(stored(phantom()), TO_RAS)
    made.header.set_slope_inter(2.0, -1024.0)
    same(read(saved(tmp_path, made)), scaled(phantom()))


def test_axes_are_those_that_the_workload_wants(tmp_path: Path) -> None:
    found = read(saved(tmp_path, nifti(phantom(), "SAR")), shape=(8, 12, 10), axes="IAL")
    same(found, scaled(phantom()).transpose(2, 0, 1)[::-1, ::-1])


def test_sides_of_voxels_become_the_wanted_spacing(tmp_path: Path) -> None:
    """A ramp of so much a millimetre is the same ramp at another spacing, whatever axes it was stored along."""
    place = np.indices((12, 16, 10)).astype(np.float32)
    ramp = 20 * (2 * place[0]) + 10 * (0.5 * place[1]) + 5 * (3 * place[2])  # sides of 2, 0.5 and 3 mm
    path = saved(tmp_path, nifti(ramp, "RAS", (2, 0.5, 3)))
    found = read(path, (8, 4, 12), window=Window(low=0, high=1000)) * 1000
    steps = [np.diff(found, axis=axis)[1:-1, 1:-1, 1:-1] for axis in range(3)]
    for step, wanted in zip(steps, (20, 10, 5), strict=True):
        same(step, np.full_like(step, wanted), 1e-2)


def test_an_oblique_image_keeps_its_axes(tmp_path: Path) -> None:
    angle = 0.2
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    made = nifti(phantom(), "SAR")
    tilted = nibabel.Nifti1Image(np.asarray(made.dataobj), turn @ made.affine)
    same(read(saved(tmp_path, tilted)), scaled(phantom()), 1e-4)


def test_without_a_spacing_the_whole_image_is_resized(tmp_path: Path) -> None:
    image = phantom((24, 20, 4))
    path = saved(tmp_path, nifti(image, "RSA", sides=(1, 2, 5)))
    blocks = scaled(image).reshape(12, 2, 10, 2, 4).mean((1, 3))
    same(read(path, (12, 10, 4), spacing_mm=None), blocks)
    enlarged = read(path, (12, 10, 8), spacing_mm=None)
    same(enlarged[:, :, 1:-1:2], 0.75 * blocks[:, :, :-1] + 0.25 * blocks[:, :, 1:])


def test_with_a_spacing_the_centre_is_kept_and_black_is_added(tmp_path: Path) -> None:
    path = saved(tmp_path, nifti(phantom()))
    same(read(path, (6, 6, 6)), scaled(phantom())[3:9, 2:8, 1:7])
    padded = read(path, (14, 12, 10))
    same(padded[1:-1, 1:-1, 1:-1], scaled(phantom()))
    assert padded[0].max() == padded[-1].max() == padded[:, :, 0].max() == 0


def test_without_a_window_an_image_is_scaled_by_itself(tmp_path: Path) -> None:
    image = np.random.default_rng(0).uniform(100, 200, SHAPE).astype(np.float32)
    one = read(saved(tmp_path, nifti(image)), window=None)
    other = read(saved(tmp_path, nifti(7 * image - 50), "b.nii"), window=None)
    same(one, other, 1e-4)
    assert (one.min(), one.max()) == (0, 1)
    assert not read(saved(tmp_path, nifti(np.full(SHAPE, 3, np.float32)), "c.nii"), window=None).any()


def test_numbers_that_are_none_or_huge_become_finite(tmp_path: Path) -> None:
    image = phantom()
    image[0, 0, :4] = [np.nan, np.inf, -np.inf, 3e38]
    path = saved(tmp_path, nifti(image))
    same(read(path)[0, 0, :4], np.array([0.5, 1, 0, 1]))
    same(read(path)[1:], scaled(phantom())[1:])
    for spacing in (0.7, None):
        assert np.isfinite(read(path, window=None, spacing_mm=spacing)).all()


def test_a_picture_is_a_slice_as_it_is_looked_at(tmp_path: Path) -> None:
    """Rows go to the back, columns to the patient's left; of a volume it is the middle slice."""
    flat = nibabel.Nifti1Image(
        phantom()[:, :, 0].T[::-1], TO_RAS @ [[0, 1, 0, 0], [-1, 0, 0, 9], [0, 0, 1, 0], [0] * 3 + [1]]
    )
    for name, made, place in (("a.nii", flat, 0), ("b.nii", nifti(phantom()[:, :, :1], "RAS"), 0)):
        same(read(saved(tmp_path, made, name), (12, 10)), scaled(phantom())[:, :, place])
    same(read(saved(tmp_path, nifti(phantom(), "SAR")), (12, 10)), scaled(phantom())[:, :, 4])
    dicom_slice(stored(phantom())[:, :, 3], (0, 0, 3)).save_as(tmp_path / "one.dcm", enforce_file_format=True)
    same(read(tmp_path / "one.dcm", (12, 10)), scaled(phantom())[:, :, 3])
    with pytest.raises(DataError, match="plane"):
        read(saved(tmp_path, nifti(phantom()[:1]), "c.nii"), (12, 10))


def test_a_series_is_in_order_whatever_its_files_and_numbers_are(tmp_path: Path) -> None:
    slices = series(phantom())
    for number, found in enumerate(slices):
        found.InstanceNumber = 7 * number % 8  # says another order
    random.Random(3).shuffle(slices)
    folder = write_series(tmp_path / "series", slices)
    (folder / "DICOMDIR").write_bytes(b"an index")
    (folder / ".DS_Store").write_bytes(b"notes of a desktop")
    same(read(folder), scaled(phantom()))


def test_each_slice_has_a_slope_of_its_own(tmp_path: Path) -> None:
    slices = series(phantom())
    slices[2].PixelData = (stored(phantom())[:, :, 2] * 2).astype("<i2").tobytes()
    slices[2].RescaleSlope = 1.0
    same(read(write_series(tmp_path / "series", slices)), scaled(phantom()))


@pytest.mark.parametrize(("depth", "signed"), [(8, 0), (16, 0), (32, 1)])
def test_pixels_of_any_depth_and_odd_number(tmp_path: Path, depth: int, signed: int) -> None:
    image = (np.arange(7 * 9 * 5) % 200).reshape(7, 9, 5)
    slices = []
    for place in range(5):
        made = dicom_slice(image[:, :, place].astype(np.int16), (0, 0, place))
        made.BitsAllocated = made.BitsStored = depth
        made.HighBit, made.PixelRepresentation = depth - 1, signed
        pixels = image[:, :, place].astype(f"<i{depth // 8}" if signed else f"<u{depth // 8}").tobytes()
        made.PixelData = pixels + b"\0" * (len(pixels) % 2)
        slices.append(made)
    same(read(write_series(tmp_path / "series", slices), (7, 9, 5)), scaled((2 * image - 1024).astype(np.float32)))


def test_many_frames_of_one_file_are_a_series(tmp_path: Path) -> None:
    made = multi_frame(phantom())
    made.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    same(read(tmp_path / "enhanced.dcm"), scaled(phantom()))


def test_dicom_and_nifti_say_the_same_of_a_tilted_series(tmp_path: Path) -> None:
    """Sagittal slices, two a millimetre apart, columns to the back and rows downwards."""
    slices = []
    for place in range(6):
        made = dicom_slice(stored(phantom())[:, :, place], (2.0 * place, 0, 0))
        made.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        slices.append(made)
    folder = write_series(tmp_path / "series", slices)
    found = read(folder, (10, 6, 12), spacing_mm=None)
    same(found, scaled(phantom())[::-1, :, :6].transpose(1, 2, 0))
