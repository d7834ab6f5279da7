"""The folder of a running server or site that no other user can enter, and that one process at a time holds."""

import fcntl
import os
import stat
from pathlib import Path

from almoner.errors import FederationError

FOLDER = "run"
"""Beside the kit: `<home>/run`, of mode 0700, with the lock and the sockets for job processes."""

_LOCK = "lock"
_held: list[int] = []


def private_folder(home: Path) -> Path:
    """Return where a participant's private folder is.

    Args:
        home: the participant's folder, which holds kit, stores, data and ledger.
    """
    return home / FOLDER


def hold_private_folder(home: Path) -> None:
    """Make the private folder if there is none, and hold it until this process ends.

    *Guarantee*: on return the folder is the caller's own, of mode 0700 and no link, and no other process of this
    function holds it. The kernel lets go of it when the process ends, however it ends.

    Raises:
        FederationError: another process holds it, it is somebody else's or open to others, or cannot be made.
    """
    folder = private_folder(home)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise FederationError(f"{folder}: not a folder of mode 700 of this user → remove it and start again")
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FederationError(f"{folder}: cannot be made: {error.strerror} → see the disk and its rights") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise FederationError(f"{home}: is running already → stop the other process first") from None
    _held.append(lock)
