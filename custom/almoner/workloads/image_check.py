"""Tells a site what its folder of images holds for jobs. All of it is private: for the site's own terminal."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from almoner.data.image_labels import MAX_CLASSES, MAX_LINES_PER_UNIT, ImageLabel, image_path, read_image_labels
from almoner.errors import DataError
from almoner.schema.images import ImageFolder
from almoner.workloads.image_folders import read_or_reason

_SHAPE, _AXES = (16, 16, 16), "PLS"
_BAD_LINE = (
    "not the right number of fields, an empty one, or no such label or split; or a unit's test line beside train"
)
_TOO_MANY = f"the unit has more than {MAX_LINES_PER_UNIT} lines"
_UNSEEN = ("Cc", "Cf")
"""Unicode's categories of control and format characters."""


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """What a folder holds.

    Args:
        records: how many images can be read, by train and test.
        units: how many units they belong to.
        most_records: how many images a unit has at most.
        shared_files: files, or folders of slices, that lines of several units name, in whatever spelling.
        alike_ids: of unit ids that look the same and are not, the lines where each is first.
        problems: the line's number in `labels.csv` → why it is left out.
    """

    records: dict[str, int]
    units: int
    most_records: int
    shared_files: int
    alike_ids: tuple[tuple[int, ...], ...]
    problems: dict[int, str]


def check_image_folder(path: Path, images: ImageFolder) -> FolderCheck:
    """Read all that a folder's `labels.csv` names, as a workload would.

    What a workload wants beside it is not known here: how many classes there are, and the plane of a picture.

    Raises:
        DataError: when the folder has no such list.
    """
    labels = read_image_labels(path, MAX_CLASSES)
    read = {label.line: read_or_reason(path, label, images, _SHAPE, _AXES) for label in labels.usable}
    problems = {line: found for line, found in read.items() if isinstance(found, str)}
    good = [label for label in labels.usable if label.line not in problems]
    sizes = Counter(label.unit_id for label in good)
    left_out = dict.fromkeys(labels.unusable, _BAD_LINE) | dict.fromkeys(labels.too_many, _TOO_MANY)
    return FolderCheck(
        records={part: sum(label.split == part for label in good) for part in ("train", "test")},
        units=len(sizes),
        most_records=max(sizes.values(), default=0),
        shared_files=sum(len(units) > 1 for units in _owners(path, labels.usable).values()),
        alike_ids=_alike(labels.usable),
        problems=dict(sorted((problems | left_out).items())),
    )


def render_check(name: str, check: FolderCheck) -> list[str]:
    """Return what is printed of a data set, a line each."""
    lines = [
        f"{name}: {check.records['train']} images for training, {check.records['test']} for tests; {check.units} units "
        f"with up to {check.most_records} images; {len(check.problems)} lines left out"
    ]
    lines += [f"  line {line}: {problem}" for line, problem in check.problems.items()]
    if check.shared_files:
        lines.append(f"  {check.shared_files} files are named by lines of several units: correct unit_id")
    for found in check.alike_ids:
        lines.append(
            f"  lines {', '.join(map(str, found))}: unit ids that look alike and count as several: correct unit_id"
        )
    return lines


def _owners(folder: Path, labels: Iterable[ImageLabel]) -> dict[Path, set[str]]:
    """Return the units of each file and folder that lines name; a slice's are those of its series as well."""
    owners: dict[Path, set[str]] = defaultdict(set)
    for label in labels:
        try:
            owners[image_path(folder, label.file)].add(label.unit_id)
        except DataError:
            continue
    for path in list(owners):
        if path.parent in owners:
            owners[path.parent] |= owners[path]
    return owners


def _alike(labels: Iterable[ImageLabel]) -> tuple[tuple[int, ...], ...]:
    """Return where unit ids first stand that look the same."""
    first: dict[str, dict[str, int]] = defaultdict(dict)
    for label in labels:
        first[_look(label.unit_id)].setdefault(label.unit_id, label.line)
    return tuple(tuple(lines.values()) for lines in first.values() if len(lines) > 1)


def _look(unit_id: str) -> str:
    """Return an id without capitals, ways to write one letter, and characters that are not seen."""
    seen = "".join(letter for letter in unit_id if unicodedata.category(letter) not in _UNSEEN)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
