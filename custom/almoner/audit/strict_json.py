"""JSON out of a pack: read so that nobody can read something else in it, and that nothing behind it stumbles.

One spelling, one meaning: a key that stands twice is refused, since readers differ in which of the two they take. So
are nesting, numbers and text that are JSON and that not every reader, or page, or comparison, can take.
"""

import json
import math
import unicodedata
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from almoner.errors import EvidenceError

M = TypeVar("M", bound=BaseModel)

MAX_DEPTH = 40
_MAX_INTEGER = 2**63
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """Read a JSON mapping.

    *Guarantee*: no key stands twice, and `is_plain` holds.

    Raises:
        EvidenceError: it is none.
    """
    try:
        value = json.loads(data, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise EvidenceError(f"{where}: not JSON, or a key stands in it twice") from None
    if not isinstance(value, dict):
        raise EvidenceError(f"{where}: not a JSON mapping")
    if not is_plain(value):
        raise EvidenceError(f"{where}: nested too deep, or a number or text that is none everywhere")
    return value


def read_model(model: type[M], data: bytes, where: str, what: str) -> M:
    """Read a document of the log or of a kit.

    Args:
        what: what it should be, and what makes one, for the error.

    Raises:
        EvidenceError: it is none.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError:
        raise EvidenceError(f"{where}: not {what}") from None


def is_plain(value: Any) -> bool:
    """Say whether a value can go through recursion, floating point and UTF-8: depth, numbers and text."""
    level = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                deeper += one.keys()
                deeper += one.values()
            elif isinstance(one, list):
                deeper += one
            elif not _is_plain_leaf(one):
                return False
        if not deeper:
            return True
        level = deeper
    return False


def printable(text: str) -> str:
    """Return a text for people: one line, without what moves a cursor or turns the direction of what follows."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in _UNSHOWN else char for char in text)


def _is_plain_leaf(value: Any) -> bool:
    """Say whether a number is finite and of moderate size, and a text can be written as UTF-8."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < _MAX_INTEGER


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a mapping; refuse a key that stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
