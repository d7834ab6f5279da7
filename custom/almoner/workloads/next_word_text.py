"""From what a speaker says to sequences of word numbers, by a declared vocabulary; sites fit nothing.

All speeches of a speaker are one stream, in which each speech begins with a mark of its own, and which is cut into
pieces of `LENGTH`. A piece's targets are its words moved by one. The beginning of a speech is never a target, and
neither is what fills up the last piece.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.data.records import ID_COLUMN, SPLIT_COLUMN
from almoner.data.shakespeare import SPEECHES
from almoner.errors import DataError
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.next_word_vocabulary import CLASS_OF, ELIDED, ENDINGS, MARKS, PADDING, SPEECH, UNKNOWN

LENGTH = 24
"""Words in a piece, or record; a speaker has many."""

_PADDING, _UNKNOWN, _SPEECH = CLASS_OF[PADDING], CLASS_OF[UNKNOWN], CLASS_OF[SPEECH]
_ELIDED, _ENDINGS, _MARKS = ("|".join(map(re.escape, listed)) for listed in (ELIDED, ENDINGS, MARKS))
_WORD = re.compile(rf"(?<![a-z])(?:{_ELIDED})(?![a-z])|(?:{_ENDINGS})(?![a-z])|[a-z]+?(?=n't(?![a-z]))|[a-z]+|{_MARKS}")


def words(text: str) -> list[str]:
    """Cut a text into words and marks; total: what is neither is dropped.

    Args:
        text: any. Case does not matter, nor does the kind of apostrophe or dash.
    """
    return _WORD.findall(text.lower().replace("’", "'").replace("—", "--"))


def load_speakers(path: Path) -> UnitData:
    """Load a site's file; lines with one id are one unit, in train alone if one of them is.

    A line that is no JSON object with an id, a split and a list of speeches is left out, and so is who says nothing.

    Args:
        path: a JSON object a line: `record_id`, `split` ("train" or "test"), `speeches`.

    Raises:
        DataError: when the file is missing.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → correct the site's configuration") from None
    streams: dict[str, dict[str, list[int]]] = {"train": {}, "test": {}}
    for record_id, split, speeches in _lines(text):
        streams[split].setdefault(record_id, []).extend(encode(speeches))
    test = {name: stream for name, stream in streams["test"].items() if name not in streams["train"]}
    return UnitData(train=_unit_records(streams["train"]), test=_unit_records(test))


def encode(speeches: Iterable[str]) -> list[int]:
    """Return the stream of word numbers of some speeches."""
    return [number for speech in speeches for number in (_SPEECH, *_numbers(speech))]


def _numbers(speech: str) -> list[int]:
    return [CLASS_OF.get(word, _UNKNOWN) for word in words(speech)]


def _lines(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield id, split and speeches of each usable line."""
    for line in text.split("\n"):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(fields, dict):
            continue
        record_id, split, speeches = (fields.get(name) for name in (ID_COLUMN, SPLIT_COLUMN, SPEECHES))
        if isinstance(record_id, str) and record_id and split in ("train", "test") and isinstance(speeches, list):
            yield record_id, split, [speech for speech in speeches if isinstance(speech, str)]


def _unit_records(streams: dict[str, list[int]]) -> UnitRecords:
    """Cut each speaker's stream into pieces; a speaker is one unit."""
    pieces = [cut(stream) for stream in streams.values()]
    spoken = [piece for piece in pieces if len(piece[0])]
    inputs = np.concatenate([np.empty((0, LENGTH), np.int64), *(piece[0] for piece in spoken)])
    targets = np.concatenate([np.empty((0, LENGTH), np.int64), *(piece[1] for piece in spoken)])
    unit = np.repeat(np.arange(len(spoken)), [len(piece[0]) for piece in spoken])
    return UnitRecords(torch.from_numpy(inputs), torch.from_numpy(targets), unit.astype(np.int64))


def cut(stream: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the inputs and targets of a stream, int64[n, LENGTH] each; n is 0 where no word follows another."""
    num_pieces = -(-max(len(stream) - 1, 0) // LENGTH)
    padded = np.full(num_pieces * LENGTH + 1, _PADDING, np.int64)
    padded[: len(stream)] = stream[: len(padded)]
    following = np.where(padded[1:] == _SPEECH, _PADDING, padded[1:])
    return padded[:-1].reshape(-1, LENGTH), following.reshape(-1, LENGTH)
