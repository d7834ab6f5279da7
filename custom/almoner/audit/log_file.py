"""The server's transparency log on disk: one file that only grows, and the newest signed head beside it.

    entries.log   "almoner-log-1\\n", then a frame for each entry: length, CRC-32 of it, leaf hash (32 bytes), entry
    head.json     the newest signed head; what it covers is never cut off again
    log.lock      held by the process that writes

An entry is durable when `append` returns. A frame that a crash left unfinished at the end of the file was never
acknowledged: the next writer cuts it off. A damaged frame before that, or a file shorter than the signed head says,
is an error, since then something that was acknowledged is gone.
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from almoner.audit.hash_tree import HashTree, leaf_hash
from almoner.audit.tree_heads import SignedTreeHead, TreeHead, sign_tree_head
from almoner.data.atomic import write_atomically
from almoner.errors import EvidenceError

MAGIC = b"almoner-log-1\n"
MAX_ENTRY_BYTES = 1 << 20
_LENGTH = struct.Struct("<II")
_HEADER_BYTES = _LENGTH.size + 32


class TransparencyLog:
    """The log in a folder. Several processes may append to it.

    Args:
        folder: is made, mode 700, when the first entry comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "entries.log"
        self._head_path = folder / "head.json"
        self._known = (0, 0)
        """How many entries this object has seen, and where the last of them ends."""

    def append(self, entries: Iterable[bytes]) -> int:
        """Add entries; return the log's size.

        *Guarantee*: on return they are durable, together and in this order.

        Raises:
            EvidenceError: an entry is too long, or the file is damaged.
        """
        new = list(entries)
        if any(len(entry) > MAX_ENTRY_BYTES for entry in new):
            raise EvidenceError(f"{self._path}: an entry is over {MAX_ENTRY_BYTES} bytes → log its digest")
        with self._locked():
            count, end = self._known
            found, end = self._scan(count, end)
            frames = (MAGIC if end == 0 else b"") + b"".join(_header(entry) + entry for entry in new)
            self._write(frames, end)
            self._known = count + len(found) + len(new), end + len(frames)
        return self._known[0]

    def entries(self) -> tuple[bytes, ...]:
        """Return all entries in order.

        Raises:
            EvidenceError: the file is damaged, or shorter than its signed head.
        """
        return tuple(self._scan(0, 0)[0])

    def tree(self) -> HashTree:
        """Return the hash tree over the entries."""
        return HashTree(map(leaf_hash, self.entries()))

    def head(self) -> SignedTreeHead | None:
        """Return the newest signed head, None before the first.

        Raises:
            EvidenceError: its file is damaged.
        """
        if not self._head_path.exists():
            return None
        try:
            return SignedTreeHead.model_validate_json(self._head_path.read_bytes())
        except ValidationError:
            raise EvidenceError(f"{self._head_path}: not a signed head → restore it from its backup") from None

    def publish(self, log_id: str, private_key_pem: bytes) -> SignedTreeHead:
        """Sign the log as it stands, keep the head, and return it; if nothing is new since the newest, return that."""
        with self._locked():
            entries, end = self._scan(0, 0)
            self._write(b"" if end else MAGIC, end)  # a head never covers what is not on disk
            newest = self.head()
            if newest is not None and (newest.head.size, newest.head.log) == (len(entries), log_id):
                return newest
            tree = HashTree(map(leaf_hash, entries))
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            head = TreeHead(log=log_id, size=tree.size, root=tree.root().hex(), time=time)
            signed = sign_tree_head(head, private_key_pem)
            write_atomically(self._head_path, signed.model_dump_json(indent=2).encode() + b"\n")
        return signed

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the one right to write."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / "log.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, data: bytes, end: int) -> None:
        """Cut the file at the end of its last whole frame, add data there, and wait until it is on disk."""
        new = not self._path.exists()
        file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, end)
            os.lseek(file, end, os.SEEK_SET)
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
        finally:
            os.close(file)
        if new:
            _sync_folder(self._folder)

    def _scan(self, count: int, start: int) -> tuple[list[bytes], int]:
        """Return the whole entries that follow the first `count`, which end at `start`, and where the last one ends."""
        data = self._read_from(start)
        body = _after_magic(data, self._path) if start == 0 else 0
        if body is None:
            return [], 0
        entries, end = _read_frames(data, body, self._path, count)
        head = self.head()
        if head is not None and count + len(entries) < head.head.size:
            found = f"has {count + len(entries)} entries, its signed head {head.head.size}"
            raise EvidenceError(f"{self._path}: {found} → restore the log from its backup")
        return entries, start + end

    def _read_from(self, start: int) -> bytes:
        """Return what follows a place in the file; all of a file that is shorter is damage."""
        if not self._path.exists():
            return b""
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < start:
                raise EvidenceError(f"{self._path}: was cut off while in use → restore the log from its backup")
            file.seek(start)
            return file.read()


def _after_magic(data: bytes, path: Path) -> int | None:
    """Return where the frames of a log file begin; None if it was cut off before that."""
    if len(data) < len(MAGIC) and MAGIC.startswith(data):
        return None
    if not data.startswith(MAGIC):
        raise EvidenceError(f"{path}: not a transparency log → restore it from its backup")
    return len(MAGIC)


def _read_frames(data: bytes, end: int, path: Path, first: int) -> tuple[list[bytes], int]:
    """Return the entries of a log file up to an unfinished last frame, and where the last whole one ends.

    Args:
        end: where the frames begin in `data`.
        first: number of the first entry in `data`.
    """
    entries = list[bytes]()
    while len(data) - end >= _HEADER_BYTES and any(data[end : end + _HEADER_BYTES]):
        length, start = _LENGTH.unpack_from(data, end)[0], end + _HEADER_BYTES
        entry = data[start : start + length]
        if data[end:start] != _header(entry, length):
            known_length = data[end : end + _LENGTH.size] == _header(b"", length)[: _LENGTH.size]
            if not known_length or start + length < len(data):
                number = first + len(entries)
                raise EvidenceError(f"{path}: entry {number} is damaged → restore the log from its backup")
            break
        entries.append(entry)
        end = start + length
    return entries, end


def _header(entry: bytes, length: int | None = None) -> bytes:
    """Return what stands before an entry in the file."""
    length = len(entry) if length is None else length
    return _LENGTH.pack(length, zlib.crc32(length.to_bytes(4, "little"))) + leaf_hash(entry)


def _sync_folder(folder: Path) -> None:
    """Wait until a folder's list of files is on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
