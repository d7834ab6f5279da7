"""SEAL's files are private and gone at once; what SEAL parses is constant but for coefficients and seed."""

import shutil
import stat
from pathlib import Path

import pytest
import tenseal.sealapi as seal

from almoner.encryption import seal_files
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


def test_folder_is_private_and_files_are_gone_at_once():
    saved, loaded = Spy(), Spy()
    with Workspace() as work:
        assert work.save(saved) == b"content"
        assert not saved.path.exists()
        work.load(loaded, b"secret", "it")
        assert (loaded.content, loaded.folder_mode) == (b"secret", 0o700)
        assert list(loaded.path.parent.iterdir()) == []
    assert not loaded.path.parent.exists()
    with Workspace() as work:
        work.save(saved)
    assert saved.path.parent != loaded.path.parent
    assert saved.path.name != loaded.path.name


@pytest.mark.parametrize("error", [RuntimeError("I/O error"), ValueError("bad"), OSError("disk full")])
def test_errors_are_wrapped_and_leave_no_file(error):
    spy = Spy(error)
    with Workspace() as work:
        with pytest.raises(ProtocolError, match="free some space"):
            work.save(spy)
        assert not spy.path.exists()
        with pytest.raises(ProtocolError, match="the thing: "):
            work.load(spy, b"x", "the thing")
        assert not spy.path.exists()


def test_other_errors_pass_but_leave_no_file():
    spy = Spy(KeyError("a defect"))
    with Workspace() as work, pytest.raises(KeyError):
        work.load(spy, b"x", "it")
    assert not spy.path.parent.exists()


def test_a_vanished_folder_is_a_protocol_error():
    key = seal.KeyGenerator(context()).secret_key()
    with Workspace() as work:
        spy = Spy()
        work.save(spy)
        shutil.rmtree(spy.path.parent)
        with pytest.raises(ProtocolError, match="SEAL cannot write"):
            work.save(key)
        with pytest.raises(ProtocolError, match="cannot be written"):
            work.load(seal.SecretKey(), b"x", "key")


def test_falls_back_to_the_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(seal_files, "_MEMORY_FOLDER", tmp_path / "missing")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spy = Spy()
    with Workspace() as work:
        work.save(spy)
        assert spy.path.parent.parent == tmp_path
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
