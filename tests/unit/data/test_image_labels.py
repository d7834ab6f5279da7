"""Which lines of a list of images count, what is train and test, and where files may lie."""

from pathlib import Path

import pytest

from almoner.data.image_labels import MAX_LINES_PER_UNIT, image_path, read_image_labels
from almoner.errors import DataError

HEADER = "record_id,unit_id,file,label"


def write(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_bytes(text.encode())
    return folder


def test_usable_lines(tmp_path: Path) -> None:
    text = f"\ufeff{HEADER},split\r\nr1, p1 ,a/b c.nii,0,train\r\n\r\nr2,p2,d,1,test"
    found = read_image_labels(write(tmp_path, text), 2)
    assert [(label.line, label.unit_id, label.file, label.label, label.split) for label in found.usable] == [
        (2, "p1", "a/b c.nii", 0, "train"),
        (4, "p2", "d", 1, "test"),
    ]
    assert found.unusable == ()


BAD_LINES = """
r,p,f,2,train
r,p,f,-1,train
r,p,f,x,train
r,p,f,,train
r,p,f,²,train
r,p,f,1.0,train
r,p,f,0000000,train
r,p,f,0,both
r,p,f,0
r,p,f,0,train,x
,p,f,0,train
r,,f,0,train
r,p,,0,train
,,,,
r
"""


@pytest.mark.parametrize("line", [*BAD_LINES.split(), "\0"])
def test_a_line_that_is_not_usable_changes_no_other(tmp_path: Path, line: str) -> None:
    good = f"{HEADER},split\nr1,p1,a,0,train\nr2,p2,b,1,test\n"
    alone, beside = (read_image_labels(write(tmp_path, text), 2) for text in (good, good + line + "\n"))
    assert beside.usable == alone.usable
    assert beside.unusable == (4,)


def test_without_a_split_a_unit_is_on_one_side_and_others_do_not_move_it(tmp_path: Path) -> None:
    lines = [f"r{number},p{number % 40},f,0" for number in range(120)]
    whole = read_image_labels(write(tmp_path, "\n".join([HEADER, *lines])), 1).usable
    side = {label.unit_id: label.split for label in whole}
    assert all(side[label.unit_id] == label.split for label in whole)
    assert set(side.values()) == {"train", "test"}
    part = read_image_labels(write(tmp_path, "\n".join([HEADER, *lines[7:60]])), 1).usable
    assert all(side[label.unit_id] == label.split for label in part)


def test_a_unit_on_both_sides_is_in_train_alone(tmp_path: Path) -> None:
    text = f"{HEADER},split\nr1,p1,a,0,test\nr2,p1,b,0,train\nr3,p2,c,0,test\n"
    found = read_image_labels(write(tmp_path, text), 1)
    assert [(label.unit_id, label.split) for label in found.usable] == [("p1", "train"), ("p2", "test")]
    assert found.unusable == (2,)


@pytest.mark.parametrize("text", ["", "record_id,file,label\n", f"{HEADER},split,x\n", f'"{HEADER}"\n'])
def test_another_first_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: the first line is not 'record_id,unit_id,file,label\[,split\]'"):
        read_image_labels(write(tmp_path, text), 2)


def test_no_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: cannot be read: No such file"):
        read_image_labels(tmp_path, 2)


def test_files_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.nii").touch()
    assert image_path(tmp_path, "a/b.nii") == tmp_path.resolve() / "a" / "b.nii"
    assert image_path(tmp_path, "./a") == tmp_path.resolve() / "a"
    with pytest.raises(DataError, match="no such file"):
        image_path(tmp_path, "a/c.nii")


@pytest.mark.threat("T-112")
def test_of_a_unit_no_more_lines_are_read_than_a_site_may_declare(tmp_path: Path) -> None:
    def kept(*others: str) -> set[str]:
        lines = [*others, *(f"r{number},p1,f{number},0" for number in range(MAX_LINES_PER_UNIT + 9)), "q,p2,f,0"]
        found = read_image_labels(write(tmp_path, "\n".join([HEADER, *lines])), 1)
        assert (len(found.too_many), found.unusable) == (9, ())
        return {label.record_id for label in found.usable if label.unit_id == "p1"}

    assert len(kept()) == MAX_LINES_PER_UNIT
    assert kept("r,p3,f,0", "r,p4,f,0") == kept(), "who else is there has no say in it"
