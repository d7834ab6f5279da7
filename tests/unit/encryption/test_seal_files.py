"""SEAL's file is private and emptied at once; what SEAL parses is constant but for coefficients and seed."""

import os
import stat
from pathlib import Path

import pytest
import tenseal.sealapi as seal

from almoner.encryption.bfv_parameters import context
from almoner.encryption.seal_files import Workspace
from almoner.encryption.seal_frames import Frame, frames
from almoner.errors import ProtocolError


class Spy:
    """Saves and loads like SEAL's objects, and remembers the file."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def save(self, path: str) -> None:
        self.path = Path(path)
        self.path.write_bytes(b"content")
        if self.error:
            raise self.error

    def load(self, _: object, path: str) -> None:
        self.path = Path(path)
        self.folder_mode = stat.S_IMODE(self.path.parent.stat().st_mode)
        self.content = self.path.read_bytes()
        if self.error:
            raise self.error


def names_of(descriptor_path: Path) -> str:
    return str(descriptor_path.readlink())


def test_the_file_has_no_name_and_is_empty_after_each_use():
    saved, loaded = Spy(), Spy()
    with Workspace() as work:
        assert work.save(saved) == b"content"
        assert saved.path.read_bytes() == b""
        work.load(loaded, b"secret", "it")
        assert (loaded.content, saved.path.read_bytes()) == (b"secret", b"")
        # "(deleted)": no folder of the system lists it, so nothing is left of it when the process is killed.
        assert names_of(loaded.path) == "/memfd:seal (deleted)"
    assert not saved.path.exists() or "memfd:seal" not in names_of(saved.path)


def test_two_workspaces_do_not_share():
    first, second = Spy(), Spy()
    with Workspace() as one, Workspace() as other:
        one.save(first)
        other.save(second)
        assert first.path != second.path


@pytest.mark.parametrize("error", [RuntimeError("I/O error"), ValueError("bad"), OSError("disk full")])
def test_errors_are_wrapped_and_leave_nothing(error):
    spy = Spy(error)
    with Workspace() as work:
        with pytest.raises(ProtocolError, match="free some memory"):
            work.save(spy)
        assert spy.path.read_bytes() == b""
        with pytest.raises(ProtocolError, match="the thing: "):
            work.load(spy, b"x", "the thing")
        assert spy.path.read_bytes() == b""


def test_other_errors_pass_but_leave_nothing():
    spy = Spy(KeyError("a defect"))
    with Workspace() as work:
        with pytest.raises(KeyError):
            work.load(spy, b"x", "it")
        assert spy.path.read_bytes() == b""


def test_without_files_in_memory_a_private_folder_does(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    key, spy = seal.KeyGenerator(context()).secret_key(), Spy()
    with Workspace() as work:
        saved = work.save(key)
        work.load(seal.SecretKey(), saved, "key")
        work.load(spy, b"secret", "it")
        assert spy.path.parent.parent == tmp_path
        assert (spy.folder_mode, stat.S_IMODE(spy.path.stat().st_mode)) == (0o700, 0o600)
        assert spy.path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == []


def test_frames_fit_every_fresh_ciphertext():
    encryptor = seal.Encryptor(context(), seal.KeyGenerator(context()).secret_key())
    frame = frames().fresh
    bodies = set()
    with Workspace() as work:
        for _ in range(200):
            saved = work.save(encryptor.encrypt_zero_symmetric())
            body = frame.strip(saved)
            assert frame.wrap(body) == saved
            bodies.add(body)
    assert {len(body) for body in bodies} == {4096 * 8 + 64}
    assert len(bodies) == 200


def test_frame_sizes():
    assert (frames().fresh.body_bytes, frames().total.body_bytes, frames().key.body_bytes) == (32832, 65536, 32768)


@pytest.mark.parametrize("saved", [b"", b"HEADbody", b"HEADbodyINFO" + bytes(65), b"HEADbodyINF0" + bytes(64)])
def test_strip_refuses_another_form(saved):
    with pytest.raises(ProtocolError, match="unexpected form"):
        Frame(b"HEAD", 4, b"INFO").strip(saved)
