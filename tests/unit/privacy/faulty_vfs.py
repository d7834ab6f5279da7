"""A disk that loses what was not synced, and one that fails: SQLite VFSes of our own, for tests of the ledger.

`RecordingVfs` passes everything through to real files and writes down each operation that changes one.
`disk_after_cut` computes from such a record what a power cut at one point of it may leave:

- what was written to a file since its last sync is lost, kept, or torn at sector bounds: a random subset;
- creations and deletions of names survive up to any point since the folder's last sync, in their order;
- the folder is synced when SQLite's unix VFS does it: at a journal's first sync, at a delete that asks for it;
- the WAL's index, shared memory, is gone; a test may put anything in its place.

`FailingVfs` raises one error at one operation, or from there on.
"""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import apsw

REAL = "unix"
SECTOR = 512
_JOURNALS = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL


@dataclass(frozen=True)
class Operation:
    """One change of the disk, or a note of the script that ran ("note": `data` says what had returned)."""

    kind: Literal["create", "write", "truncate", "sync", "sync folder", "delete", "note"]
    name: str = ""
    offset: int = 0
    data: Any = b""


class _HookedFile(apsw.VFSFile):
    def __init__(self, vfs: "_HookedVfs", name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._vfs, self._name = vfs, None if path is None else os.path.basename(path)
        self._syncs_folder = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _JOURNALS)
        if path is not None and flags[0] & apsw.SQLITE_OPEN_CREATE and not os.path.exists(path):
            self._tell("create")
        super().__init__(REAL, name, flags)

    def _tell(self, kind: Any, offset: int = 0, data: Any = b"") -> None:
        if self._name is not None:
            self._vfs.before(Operation(kind, self._name, offset, data))

    def excepthook(self, *error: Any) -> bool:
        return True  # what SQLite swallows, as in a checkpoint at closing

    def xWrite(self, data: Any, offset: int) -> None:
        self._tell("write", offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._tell("truncate", newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._tell("sync")
        if self._syncs_folder:
            self._tell("sync folder")
            self._syncs_folder = False
        super().xSync(flags)


class _HookedVfs(apsw.VFS):
    """The default VFS, which tells `before` of each change."""

    def __init__(self) -> None:
        super().__init__(f"hooked-{id(self)}", REAL, makedefault=True)

    def before(self, operation: Operation) -> None:
        raise NotImplementedError

    def excepthook(self, *error: Any) -> bool:
        return True

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _HookedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if os.path.exists(filename):
            self.before(Operation("delete", os.path.basename(filename)))
            if syncdir:
                self.before(Operation("sync folder"))
        super().xDelete(filename, syncdir)


class RecordingVfs(_HookedVfs):
    """Writes down every change of the disk; while it is in use it is SQLite's default."""

    def __init__(self) -> None:
        super().__init__()
        self.record: list[Operation] = []

    def before(self, operation: Operation) -> None:
        self.record.append(operation)

    def note(self, what: Any) -> None:
        """Write down that something had happened by now, as far as the script knows."""
        self.record.append(Operation("note", data=what))


class FailingVfs(_HookedVfs):
    """Raises an error at the change number `at`, counted from 0; with `lasting`, at each one after it too."""

    def __init__(self, code: int, at: int, lasting: bool) -> None:
        super().__init__()
        self.code, self.at, self.lasting, self.seen = code, at, lasting, 0

    def before(self, operation: Operation) -> None:
        number, self.seen = self.seen, self.seen + 1
        if number == self.at or (self.lasting and number > self.at):
            raise apsw.exception_for(self.code)


@contextmanager
def in_use(vfs: _HookedVfs) -> Iterator[Any]:
    """Let SQLite use a VFS for a block."""
    try:
        yield vfs
    finally:
        vfs.unregister()


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)

    def sync(self) -> None:
        for operation in self.pending:
            _apply(self.durable, operation.kind, operation.offset, operation.data)
        self.pending.clear()

    def after_cut(self, rng: random.Random) -> bytes:
        """What is left of the file: pending changes kept, lost, or torn."""
        fate, content = rng.choice(("kept", "lost", "torn")), bytearray(self.durable)
        for operation in self.pending if fate != "lost" else ():
            pieces = range(0, max(len(operation.data), 1), SECTOR)
            for start in pieces if fate == "kept" else (piece for piece in pieces if rng.random() < 0.5):
                piece = operation.data[start : start + SECTOR]
                _apply(content, operation.kind, operation.offset + start, piece)
        return bytes(content)


def _apply(content: bytearray, kind: str, offset: int, data: bytes) -> None:
    """Write or truncate; a hole is zeros."""
    if kind == "truncate":
        del content[offset:]
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def disk_after_cut(
    before: dict[str, bytes], record: list[Operation], cut: int, rng: random.Random
) -> tuple[dict[str, bytes], list[Any]]:
    """Return what a cut after the first `cut` operations leaves, and what the script had noted by then.

    Args:
        before: the folder's files when the record began, all durable.
        record: what a `RecordingVfs` wrote down.
        cut: how many operations had been handed to the system.
        rng: chooses what becomes of changes that were not synced.
    """
    durable = {name: _File(bytearray(content)) for name, content in before.items()}
    present, names, notes = dict(durable), [], []
    for operation in record[:cut]:
        match operation.kind:
            case "note":
                notes.append(operation.data)
            case "create":
                present[operation.name] = _File()
                names.append((operation.name, present[operation.name]))
            case "delete":
                del present[operation.name]
                names.append((operation.name, None))
            case "sync folder":
                _rename(durable, names)
                names.clear()
            case "sync":
                present[operation.name].sync()
            case _:
                present[operation.name].pending.append(operation)
    _rename(durable, names[: rng.randint(0, len(names))])
    return {name: file.after_cut(rng) for name, file in durable.items()}, notes


def _rename(durable: dict[str, _File], names: list[tuple[str, _File | None]]) -> None:
    """Let changes of names reach the disk."""
    for name, file in names:
        if file is None:
            durable.pop(name, None)
        else:
            durable[name] = file


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return a folder's files, the WAL's index left out."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Make a folder hold exactly these files, mode 600."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
