"""Compares the privacy units of a site's populations, and remembers every unit that a population ever had.

Two ids are one unit if they are equal once the spaces around them are gone. Nothing else is folded: case,
leading zeros and other spellings make another unit, and so does a second number of the same person. Ids are
held and compared as HMAC-SHA256 under the site's salt, cut to 128 bits; an id itself is never kept. Who has
the salt can try ids one by one, as with the commitments: it stays beside the ledger.

Accounts are for life, so the comparison is too: a unit that was in one population at an earlier join is
still in it. Otherwise moving its records would charge it in two accounts, one after the other.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path

from almoner.data.atomic import write_atomically
from almoner.errors import DataError

HASH_BYTES = 16
_DOMAIN = b"almoner-unit-1\0"

Units = Mapping[str, frozenset[bytes]]
"""Population → the keyed hashes of its units."""


def read_unit_ids(path: Path, column: str) -> Iterator[str]:
    """Yield the id of each line of a site's CSV file, stripped.

    The file is read as the workloads read it, one line a record, without quoting; but what they would pass
    over stops here, since an id that was not seen was not compared.

    Raises:
        DataError: naming file and line: no such column, a quote, a wrong number of fields, no id, not UTF-8.
    """
    try:
        with path.open("rb") as file:
            header = _fields(next(file, b"").removeprefix(b"\xef\xbb\xbf"), path, 1)
            if header.count(column) != 1:
                raise DataError(f"{path}: has not one column {column} → correct unit_column in site_configs/")
            place = header.index(column)
            for number, line in enumerate(file, start=2):
                fields = _fields(line, path, number)
                if fields == [""]:
                    continue
                if len(fields) != len(header) or not fields[place]:
                    raise DataError(f"{path}:{number}: no {column}, or not {len(header)} fields → correct the line")
                yield fields[place]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → correct the site's configuration") from None


def _fields(line: bytes, path: Path, number: int) -> list[str]:
    """Split one line."""
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise DataError(f"{path}:{number}: not UTF-8 → write the file anew") from None
    if '"' in text or "\r" in text:
        raise DataError(f"{path}:{number}: a quote or a lone carriage return → write the file without them")
    return [field.strip() for field in text.split(",")]


def hash_units(salt: bytes, ids: Iterable[str]) -> frozenset[bytes]:
    """Return the keyed hashes of ids."""
    return frozenset(hmac.digest(salt, _DOMAIN + unit.encode(), hashlib.sha256)[:HASH_BYTES] for unit in ids)


def united(*parts: Units) -> Units:
    """Return the units that each population has in any of the parts."""
    names = sorted({name for part in parts for name in part})
    return {name: frozenset().union(*(part.get(name, ()) for part in parts)) for name in names}


def shared_units(units: Units) -> dict[tuple[str, str], int]:
    """Return for each pair of populations how many units are in both."""
    return {(one, other): len(units[one] & units[other]) for one, other in combinations(sorted(units), 2)}


def write_register(folder: Path, salt: bytes, units: Units) -> str:
    """Keep the units of all populations in a file that is named by its digest under the salt.

    Returns:
        The digest, for the ledger: by it `read_register` knows the file again, and the salt.
    """
    lines = [f"{name} {unit.hex()}\n" for name, found in sorted(units.items()) for unit in sorted(found)]
    content = "".join(lines).encode()
    register = _digest(salt, content)
    write_atomically(_register_path(folder, register), content)
    return register


def read_register(folder: Path, salt: bytes, register: str) -> Units:
    """Read the units that the ledger's last join has kept.

    Raises:
        DataError: the file is missing or was changed, or the salt is another one.
    """
    path = _register_path(folder, register)
    content = path.read_bytes() if path.exists() else b""
    if _digest(salt, content) != register:
        raise DataError(f"{path}: missing, changed or of another salt → restore it and the salt from the backup")
    units: dict[str, set[bytes]] = {}
    for line in content.decode().splitlines():
        name, _, unit = line.partition(" ")
        units.setdefault(name, set()).add(bytes.fromhex(unit))
    return {name: frozenset(found) for name, found in units.items()}


def forget_registers(folder: Path, but: str) -> None:
    """Delete registers that a newer one has replaced."""
    for path in folder.glob("units-*.register"):
        if path != _register_path(folder, but):
            path.unlink()


def _digest(salt: bytes, content: bytes) -> str:
    """Return the keyed digest of a register; that of a commitment has another domain."""
    return hmac.digest(salt, b"almoner-units-1\0" + content, hashlib.sha256).hex()


def _register_path(folder: Path, register: str) -> Path:
    """Return where a register lies."""
    return folder / f"units-{register}.register"
