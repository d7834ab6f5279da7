"""A site's folder of images holds what others made: files that are huge, lie, lead elsewhere, or name the patient."""

import gzip
import logging
import os
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from threading import Thread

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor, NibabelReader, PydicomReader
from monai.transforms import LoadImage, Spacing
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless
from tests.unit.workloads.image_cases import (
    SHAPE,
    multi_frame,
    nifti,
    phantom,
    series,
    settings,
    stored,
    write_labels,
    write_series,
)

from almoner.schema.images import ImageFolder
from almoner.training.units import UnitData
from almoner.workloads import dicom_files, image_reading, nifti_files
from almoner.workloads.dicom_files import BoundedDicomReader
from almoner.workloads.image_check import check_image_folder
from almoner.workloads.image_folders import load_image_folder

pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")  # said by MONAI's loader of all kinds

NIFTI, DICOM = settings(max_voxels=100_000), settings("dicom", max_voxels=100_000)
PATIENT = "Doe^Jane"


def load(folder: Path, images: ImageFolder = NIFTI) -> UnitData:
    return load_image_folder(folder, images, shape=SHAPE, num_classes=2)


def good_folder(folder: Path, *more: str) -> Path:
    """Write two good images, which are listed before and after other lines."""
    write_labels(folder, "r1,p1,one.nii,0,train", *more, "r2,p2,two.nii,1,train")
    for name in ("one.nii", "two.nii"):
        nibabel.save(nifti(phantom(), "RAS"), folder / name)
    return folder


def good_series(folder: Path, *more: str) -> Path:
    write_labels(folder, "r1,p1,one,0,train", *more, "r2,p2,two,1,train")
    for name in ("one", "two"):
        write_series(folder / name, series(phantom()))
    return folder


def peak_bytes(work: Callable[[], object]) -> int:
    """Return how much memory some work takes at its height."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bomb(shape: tuple[int, ...], offset: int = 352) -> bytes:
    """Return a small file that expands to zeros behind an honest header."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype("u1")
    header.set_sform(np.eye(4), 1)
    header["vox_offset"], header["magic"] = offset, b"n+1"
    return gzip.compress(header.binaryblock + bytes(offset - 348 + int(np.prod(shape))))


LARGE = 1 << 24


@pytest.mark.threat("T-112")
@pytest.mark.parametrize("content", [bomb((256, 256, 256)), bomb((16000, 1, 1040))])
def test_a_file_that_expands_to_more_than_is_read(tmp_path: Path, content: bytes) -> None:
    folder = good_folder(tmp_path, "r3,p3,bomb.nii.gz,0,train")
    (folder / "bomb.nii.gz").write_bytes(content)
    load(folder)  # libraries allocate when they are used first
    assert len(content) < 100_000
    assert peak_bytes(lambda: LoadImage()(folder / "bomb.nii.gz", reader=NibabelReader())) > LARGE / 2
    assert peak_bytes(lambda: load(folder)) < LARGE / 4
    assert len(load(folder).train.targets) == 2


@pytest.mark.threat("T-112")
def test_a_header_that_promises_more_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 900 bytes has 64 MB made ready for it."""
    folder = good_folder(tmp_path, "r3,p3,bomb.nii,0,train")
    content = bytearray(gzip.decompress(bomb((8, 8, 8))))
    content[40:48] = np.array([3, 400, 400, 400], "<i2").tobytes()
    (folder / "bomb.nii").write_bytes(content)
    assert peak_bytes(lambda: load(folder)) < LARGE
    assert list(check_image_folder(folder, NIFTI).problems.values()) == ["more voxels than max_voxels"]
    bounded = nifti_files._verified_length
    monkeypatch.setattr(nifti_files, "_verified_length", lambda header, most: bounded(header, 10**12))
    assert peak_bytes(lambda: load(folder)) > 3 * LARGE


def in_steps_of_a_mm(image: nibabel.Nifti1Image) -> int:
    """Return how many voxels an image becomes that is resampled as asked."""
    made = Spacing(1.0)(MetaTensor(torch.from_numpy(image.get_fdata())[None], affine=torch.from_numpy(image.affine)))
    return int(made.numel())


ASKEW = np.array([[1.0, 0, 80, 0], [0, 1, 0, 0], [0, 0, 20, 0], [0, 0, 0, 1]])
GROWING = {
    "large voxels": nifti(phantom(), sides=(10, 10, 10)),
    "slices askew": nibabel.Nifti1Image(np.zeros((2, 2, 20), np.float32), ASKEW),
}
"""Of 80 voxels, each slice of which is set off by 80 mm, a box of 1,520 × 2 × 380 mm is made."""


@pytest.mark.threat("T-112")
@pytest.mark.parametrize("case", GROWING)
def test_few_voxels_of_which_resampling_makes_many(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = good_folder(tmp_path, "r3,p3,growing.nii,0,train")
    nibabel.save(GROWING[case], folder / "growing.nii")
    assert in_steps_of_a_mm(GROWING[case]) > 7 * NIFTI.max_voxels
    assert list(check_image_folder(folder, NIFTI).problems.values()) == ["more voxels than max_voxels, at spacing_mm"]
    monkeypatch.setattr(image_reading, "_verify_bounded", lambda *arguments: None)
    assert len(load(folder).train.targets) == 3, "it is made whole, and cut to the workload's shape afterwards"


@pytest.mark.threat("T-112")
def test_frames_without_number(tmp_path: Path) -> None:
    """A frame of two bytes takes a thousand times as much once it is read."""
    folder = good_series(tmp_path, "r3,p3,many.dcm,0,train")
    made = series(phantom())[0]
    made.Rows, made.Columns, made.NumberOfFrames, made.PixelData = 1, 1, 12_000, bytes(24_000)
    made.save_as(folder / "many.dcm", enforce_file_format=True)
    content = (folder / "many.dcm").read_bytes()
    frames = dicom_files._frames(content, 100_000, 100_000)
    assert peak_bytes(lambda: list(islice(frames, 100))) > 100 * 2_000
    assert list(check_image_folder(folder, DICOM).problems.values()) == ["more slices than a series has"]


@pytest.mark.threat("T-112")
def test_files_of_many_frames_are_one_series(tmp_path: Path) -> None:
    folder, made = good_series(tmp_path, "r3,p3,many,0,train"), series(phantom())[0]
    made.Rows, made.Columns, made.NumberOfFrames, made.PixelData = 1, 1, 10, bytes(20)
    write_series(folder / "many", [made, made])
    assert list(check_image_folder(folder, DICOM).problems.values()) == ["slices are missing, or there twice"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("almoner.workloads.dicom_files.MAX_SLICES", 19)
        assert list(check_image_folder(folder, DICOM).problems.values()) == ["more slices than a series has"]


def deflated(content: bytes) -> bytes:
    """Return a DICOM file with all behind its meta information deflated, and one long element more."""
    meta = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content)).file_meta
    start = content.index(ExplicitVRLittleEndian.encode())
    end = 144 + meta.FileMetaInformationGroupLength
    head = content[:start] + DeflatedExplicitVRLittleEndian.encode() + content[start + 20 : end]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    grown = bytearray(head)
    grown[140:144] = (len(grown) - 144).to_bytes(4, "little")
    grown[start - 2 : start] = (22).to_bytes(2, "little")
    long = b"\xe1\x7f\x10\x10OB\0\0" + LARGE.to_bytes(4, "little") + bytes(LARGE)
    return bytes(grown) + squeeze.compress(content[end:] + long) + squeeze.flush()


@pytest.mark.threat("T-112")
def test_a_deflated_dicom_file(tmp_path: Path) -> None:
    folder = good_series(tmp_path, "r3,p3,bomb.dcm,0,train")
    series(phantom())[0].save_as(folder / "bomb.dcm", enforce_file_format=True)
    (folder / "bomb.dcm").write_bytes(deflated((folder / "bomb.dcm").read_bytes()))
    load(folder, DICOM)
    assert (folder / "bomb.dcm").stat().st_size < 100_000
    assert peak_bytes(lambda: pydicom.dcmread(folder / "bomb.dcm")) > LARGE / 2
    assert peak_bytes(lambda: load(folder, DICOM)) < LARGE / 4
    assert list(check_image_folder(folder, DICOM).problems.values()) == ["the pixels are compressed"]


@pytest.mark.threat("T-112")
@pytest.mark.parametrize("claimed", [0, 1])
def test_a_dicom_file_that_says_behind_its_meta_information_that_it_is_deflated(tmp_path: Path, claimed: int) -> None:
    """pydicom takes the last transfer syntax it meets, also behind the length that the meta information claims."""
    folder = good_series(tmp_path, "r3,p3,bomb.dcm,0,train")
    series(phantom())[0].save_as(folder / "bomb.dcm", enforce_file_format=True)
    good = (folder / "bomb.dcm").read_bytes()
    end, bad = 144 + int.from_bytes(good[140:144], "little"), deflated(good)
    uid = DeflatedExplicitVRLittleEndian.encode()
    again = b"\x02\0\x10\0UI" + len(uid).to_bytes(2, "little") + uid
    zipped = bad[144 + int.from_bytes(bad[140:144], "little") :]
    length = (end - 144 + claimed * len(again)).to_bytes(4, "little")
    (folder / "bomb.dcm").write_bytes(good[:140] + length + good[144:end] + again + zipped)
    load(folder, DICOM)
    assert peak_bytes(lambda: pydicom.dcmread(folder / "bomb.dcm")) > LARGE / 2
    assert peak_bytes(lambda: load(folder, DICOM)) < LARGE / 4
    assert len(check_image_folder(folder, DICOM).problems) == 1


def ends(work: Callable[[], object], seconds: float) -> bool:
    """Tell whether some work ends in that time; it goes on if not."""
    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


@pytest.mark.threat("T-112")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = good_series(tmp_path, "r3,p3,pipe.dcm,0,train", "r4,p4,with-pipe,0,train", "r5,p5,nested,0,train")
    os.mkfifo(folder / "pipe.dcm")
    os.mkfifo(write_series(folder / "with-pipe", series(phantom())) / "IM9999")
    write_series(folder / "nested" / "deeper", series(phantom()))
    assert not ends((folder / "pipe.dcm").read_bytes, 0.2)
    os.close(os.open(folder / "pipe.dcm", os.O_RDWR))  # it has waited for somebody who may write
    load(good_series(tmp_path / "good"), DICOM)  # libraries are slow when they are used first
    found: list[str] = []
    assert ends(lambda: found.extend(check_image_folder(folder, DICOM).problems.values()), 120)
    assert found == ["not a regular file"] * 3


@pytest.mark.threat("T-113")
def test_a_line_that_leads_out_of_the_folder(tmp_path: Path) -> None:
    """Another ward's image, which this data set's account says nothing about."""
    ward = tmp_path / "ward"
    ward.mkdir()
    nibabel.save(nifti(phantom() * 0), ward / "secret.nii")
    names = ["../ward/secret.nii", str(ward / "secret.nii"), "link.nii", "linked/secret.nii", "a/../one.nii", ".", "~"]
    lines = [f"r{number},q{number},{name},0,train" for number, name in enumerate(names, start=3)]
    folder = good_folder(tmp_path / "scans", *lines)
    (folder / "link.nii").symlink_to(ward / "secret.nii")
    (folder / "linked").symlink_to(ward)
    assert [(folder / name).resolve() == ward / "secret.nii" for name in names[:4]] == [True] * 4  # by a plain join
    assert len(load(folder).train.targets) == 2
    assert list(check_image_folder(folder, NIFTI).problems) == [3, 4, 5, 6, 7, 8, 9]
    (folder / "series").symlink_to(write_series(ward / "series", series(phantom())))
    write_labels(folder, "r1,p1,series,0,train")
    assert list(check_image_folder(folder, DICOM).problems) == [2]


@pytest.mark.threat("T-113")
def test_a_slice_that_is_a_link_to_another_wards(tmp_path: Path) -> None:
    """With the ward's slice in its place the series would be whole."""
    ward, folder = write_series(tmp_path / "ward", series(phantom())), good_series(tmp_path / "scans")
    assert check_image_folder(folder, DICOM).problems == {}
    (folder / "one" / "IM0003").unlink()
    (folder / "one" / "IM0003").symlink_to(ward / "IM0003")
    assert check_image_folder(folder, DICOM).problems == {2: "the file cannot be opened"}


def damaged_files(folder: Path) -> dict[str, bytes]:
    """Return what may stand in place of a NIfTI file, each another way to break a parser."""
    nibabel.save(nifti(phantom()), folder / "source.nii")
    good = (folder / "source.nii").read_bytes()
    nan = bytearray(good)
    nan[280:328] = np.full(12, np.nan, "<f4").tobytes()
    colour = bytearray(good)
    colour[70:74] = np.array([128, 24], "<i2").tobytes()
    unplaced = bytearray(good)
    unplaced[252:256] = bytes(4)
    many = bytearray(good)
    many[40:50] = np.array([4, 12, 10, 4, 2], "<i2").tobytes()
    zero = bytearray(good)
    zero[40:48] = np.array([3, 12, 0, 8], "<i2").tobytes()
    negative = bytearray(good)
    negative[40:48] = np.array([3, -12, -10, 8], "<i2").tobytes()
    pair = bytearray(good)
    pair[344:348] = b"ni1\0"
    singular = bytearray(good)
    singular[280:328] = np.zeros(12, "<f4").tobytes()
    return {
        "empty.nii": b"",
        "short.nii": good[:200],
        "cut.nii": good[:-1],
        "cut.nii.gz": gzip.compress(good)[:-30],
        "sum.nii.gz": gzip.compress(good)[:-8] + bytes(8),
        "noise.nii": bytes(range(256)) * 40,
        "noise.nii.gz": bytes(range(256)) * 40,
        "nan.nii": bytes(nan),
        "singular.nii": bytes(singular),
        "colour.nii": bytes(colour),
        "unplaced.nii": bytes(unplaced),
        "many.nii": bytes(many),
        "zero.nii": bytes(zero),
        "negative.nii": bytes(negative),
        "pair.nii": bytes(pair),
        "far.nii.gz": bomb((8, 8, 8), LARGE),
        "script.nii": b"#!/bin/sh\ntouch /tmp/here\n",
        "other.mgz": gzip.compress(good),
    }


def same(one: UnitData, other: UnitData) -> None:
    for part in ("train", "test"):
        first, second = getattr(one, part), getattr(other, part)
        assert torch.equal(first.features, second.features)
        assert torch.equal(first.targets, second.targets)
        assert np.array_equal(first.unit, second.unit)


def silent(
    load_them: Callable[[], UnitData], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> UnitData:
    """Load, and see that nothing at all was said."""
    caplog.clear()
    capfd.readouterr()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = load_them()
        except Exception as error:  # noqa: BLE001 - whatever it is, a job would end by it
            pytest.fail(f"told by an error: {type(error).__name__}")
    assert [record.getMessage() for record in caplog.records] == []
    assert [str(warning.message) for warning in warned] == []
    assert "".join(capfd.readouterr()) == ""
    return found


@pytest.mark.threat("T-114")
def test_a_damaged_nifti_file_tells_nobody_and_changes_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    alone = load(good_folder(tmp_path / "alone"))
    files = damaged_files(tmp_path)
    lines = [f"x{number},MRN-{number},{name},0,train" for number, name in enumerate(files)]
    folder = good_folder(tmp_path / "beside", *lines)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with pytest.raises(Exception, match="short"):  # what plain reading raises, with the file's name
        LoadImage(reader="NibabelReader")(folder / "short.nii")
    same(silent(lambda: load(folder), caplog, capfd), alone)
    reasons = dict(zip(files, check_image_folder(folder, NIFTI).problems.values(), strict=True))
    assert reasons["cut.nii"] == "the file is cut off"
    assert {name for name, reason in reasons.items() if reason == "not a file of its kind, or damaged"} == {
        *("empty.nii", "short.nii", "cut.nii.gz", "sum.nii.gz", "noise.nii", "noise.nii.gz", "script.nii")
    }


def without(tag: str) -> Callable[[list[pydicom.FileDataset]], None]:
    return lambda slices: delattr(slices[3], tag)


def changed(tag: str, value: object) -> Callable[[list[pydicom.FileDataset]], None]:
    return lambda slices: setattr(slices[3], tag, value)


def odd_letters(slices: list[pydicom.FileDataset]) -> None:
    """pydicom warns of letters that it does not know, also where nothing is read that has letters."""
    slices.pop(3)
    slices[0].SpecificCharacterSet = "ISO_IR 999"


def compressed(slices: list[pydicom.FileDataset]) -> None:
    slices[3].file_meta.TransferSyntaxUID = JPEG2000Lossless
    slices[3].PixelData = pydicom.encaps.encapsulate([b"\xff\x4f" + bytes(40)])


DAMAGE: dict[str, Callable[[list[pydicom.FileDataset]], object]] = {
    "no position": without("ImagePositionPatient"),
    "no pixels": without("PixelData"),
    "no depth": without("BitsAllocated"),
    "short": changed("PixelData", b"\0\0"),
    "tilted": changed("ImageOrientationPatient", [0, 1, 0, 0, 0, -1]),
    "far": changed("ImagePositionPatient", [0, 0, 99]),
    "nowhere": changed("ImagePositionPatient", [0, 0]),
    "twice": changed("ImagePositionPatient", [0, 0, 2]),
    "gap": lambda slices: slices.pop(3),
    "coarse": changed("PixelSpacing", [2.0, 1.0]),
    "flat": lambda slices: [setattr(found, "PixelSpacing", [0.0, 0.0]) for found in slices],
    "colour": changed("SamplesPerPixel", 3),
    "negative film": changed("PhotometricInterpretation", "MONOCHROME1"),
    "wide": changed("Columns", 60_000),
    "frames": changed("NumberOfFrames", 2_000_000_000),
    "compressed": compressed,
    "odd letters": odd_letters,
    "none": lambda slices: slices.clear(),
}


@pytest.mark.threat("T-114")
@pytest.mark.filterwarnings("ignore:Unknown encoding")  # as such a file is written
def test_a_damaged_series_tells_nobody_and_changes_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    alone = load(good_series(tmp_path / "alone"), DICOM)
    names = [*DAMAGE, "not a number", "cut off", "notes", "bare", "frames of nothing"]
    folder = good_series(tmp_path / "beside", *(f"x,MRN-{name},{name},0,train" for name in names))
    for name, damage in DAMAGE.items():
        slices = series(phantom())
        damage(slices)
        write_series(folder / name, slices)
    for name in names[len(DAMAGE) :]:
        write_series(folder / name, series(phantom()))
    path = folder / "not a number" / "IM0003"
    path.write_bytes(path.read_bytes().replace(rb"0.0\3.0", rb"0.0\3.x"))
    path = folder / "cut off" / "IM0003"
    path.write_bytes(path.read_bytes()[:-7])
    (folder / "notes" / "readme.txt").write_text("scanned by night")
    path = folder / "bare" / "IM0003"
    path.write_bytes(path.read_bytes()[132:])
    nothing = multi_frame(phantom())
    nothing.PerFrameFunctionalGroupsSequence = nothing.PerFrameFunctionalGroupsSequence[:2]
    nothing.save_as(folder / "frames of nothing" / "IM0003", enforce_file_format=True)
    same(silent(lambda: load(folder, DICOM), caplog, capfd), alone)
    reasons = dict(zip(names, check_image_folder(folder, DICOM).problems.values(), strict=True))
    assert (reasons["gap"], reasons["compressed"]) == (
        "slices are missing, or there twice",
        "the pixels are compressed",
    )


@pytest.mark.threat("T-115")
def test_nothing_of_a_dicom_file_but_pixels_and_geometry_is_kept(tmp_path: Path) -> None:
    folder = good_series(tmp_path)
    plain = PydicomReader().read(folder / "one")
    assert {str(found.PatientName) for found in plain} == {PATIENT}  # what MONAI's own reader holds
    made = multi_frame(phantom())
    made.SharedFunctionalGroupsSequence[0].PatientName = PATIENT
    made.save_as(folder / "enhanced.dcm", enforce_file_format=True)
    for path in (folder / "one", folder / "enhanced.dcm"):
        reader = BoundedDicomReader(100_000)
        for found in reader.read(path):
            assert PATIENT not in str(found)
            assert {element.tag.group for element in found} <= {0x0020, 0x0028, 0x7FE0}
            assert not any(element.VR in ("PN", "SQ", "UN") for element in found)
        assert PATIENT not in str(LoadImage()(path, reader=reader).meta)
    data = load(folder, DICOM).train
    assert type(data.features) is torch.Tensor  # no MetaTensor, whose meta would have the file's name


@pytest.mark.threat("T-117")
def test_a_file_of_another_kind_is_read_by_no_other_reader(tmp_path: Path) -> None:
    """LoadImage tries every reader it has once the named one fails: a format in disguise chooses its own parser."""
    folder = good_folder(tmp_path, "r3,p3,disguised.nii,0,train", "r4,p4,image.png,0,train")
    with (folder / "disguised.nii").open("wb") as file:
        np.save(file, phantom())
    Image.new("L", SHAPE[:2]).save(folder / "image.png")
    assert LoadImage(reader="NibabelReader")(folder / "disguised.nii").shape == SHAPE
    data = load(folder)
    assert len(data.train.targets) == 2
    assert list(check_image_folder(folder, NIFTI).problems) == [3, 4]


def test_what_these_series_are_made_of_is_good(tmp_path: Path) -> None:
    """The same files without damage are all read: what is left out above is left out for its damage."""
    folder = good_series(tmp_path, "r3,p3,enhanced.dcm,1,test")
    multi_frame(phantom()).save_as(folder / "enhanced.dcm", enforce_file_format=True)
    data = load(folder, DICOM)
    assert torch.equal(data.test.features[0], data.train.features[0])
    assert stored(phantom()).min() >= 0
