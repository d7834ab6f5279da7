"""A pack is one zip whose every byte is determined by its parts: sorted, stored, without times.

Any unzip program opens it. What we read must be, to the byte, what we would write of the parts found, so that there
is no place in the file where a change, or something hidden, goes unnoticed.
"""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath

from almoner.errors import EvidenceError

MAX_PARTS = 10_000
MAX_BYTES = 1 << 30
_LOCAL = struct.Struct("<4s5H3L2H")
_DATE = (1980, 1, 1, 0, 0, 0)


def write_archive(parts: Mapping[str, bytes]) -> bytes:
    """Return the zip of some parts, the same bytes for the same parts.

    Raises:
        EvidenceError: a name is unusable, or there is too much.
    """
    if len(parts) > MAX_PARTS or sum(map(len, parts.values())) > MAX_BYTES:
        raise EvidenceError(f"pack: over {MAX_PARTS} parts or {MAX_BYTES} bytes → pack fewer jobs")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(parts):
            _check_name(name)
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, parts[name])
    return buffer.getvalue()


def read_archive(data: bytes) -> dict[str, bytes]:
    """Return the parts of a pack by name, in order.

    *Guarantee*: `write_archive` of them gives the same bytes.

    Raises:
        EvidenceError: naming the part at which the file is not what `write_archive` wrote.
    """
    parts, offsets, end = _read_locals(data)
    expected = write_archive(parts)
    if expected == data:
        return parts
    wrong = next((i for i, (a, b) in enumerate(zip(data, expected, strict=False)) if a != b), len(expected))
    if wrong >= end:
        raise EvidenceError(f"pack: the archive's directory was changed at byte {wrong}, or there is more after it")
    name = max((offset, name) for name, offset in offsets.items() if offset <= wrong)[1]
    raise EvidenceError(f"{name}: content and checksum in the archive do not agree: one of them was changed")


def _read_locals(data: bytes) -> tuple[dict[str, bytes], dict[str, int], int]:
    """Return the parts, where each begins, and where the last one ends."""
    parts, offsets, at = dict[str, bytes](), dict[str, int](), 0
    last = "the archive's beginning"
    while data[at : at + 4] == b"PK\x03\x04" and len(data) - at >= _LOCAL.size:
        fields = _LOCAL.unpack_from(data, at)
        packed, size, name_length = fields[7], fields[8], fields[9]
        start = at + _LOCAL.size + name_length
        name = data[at + _LOCAL.size : start].decode("ascii", errors="replace")
        if packed != size or fields[3] != 0 or fields[10] or start + size > len(data) or name in parts:
            raise EvidenceError(f"{_shown(name)}: its header in the archive was changed, or it was cut off")
        _check_name(name)
        parts[name], offsets[name] = data[start : start + size], at
        at, last = start + size, name
    if data[at : at + 4] != b"PK\x01\x02":
        raise EvidenceError(f"pack: what follows {last} in the archive was changed, or cut off")
    return parts, offsets, at


def _check_name(name: str) -> None:
    """Refuse names that would leave a folder, or that have two spellings."""
    path = PurePosixPath(name)
    plain = name.isascii() and name.isprintable() and "\\" not in name and len(name) <= 200
    if not plain or path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
        raise EvidenceError(f"{_shown(name)}: not a name of a part; the archive was changed")


def _shown(name: str) -> str:
    """Return a name fit for one line."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in name)[:120] or "?"
