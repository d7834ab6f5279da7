"""A log-in that the server does not answer is one clear line, and leaves no connection."""

from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.fl_exception import FLCommunicationError

from almoner.errors import FederationError
from almoner.flare.commands import session as module
from almoner.flare.commands.session import open_session


class Silent:
    """A session of FLARE's at a server that takes connections, and stalls."""

    closed = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.api = self

    def set_timeout(self, seconds: float) -> None:
        """Take FLARE's limit."""

    def try_connect(self, timeout: float) -> None:
        raise FLCommunicationError("failed to challenge server: timeout")

    def close(self) -> None:
        Silent.closed += 1


def test_a_log_in_without_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "startup").mkdir()
    (tmp_path / "startup" / "fed_admin.json").write_text('{"admin": {"username": "lead"}}')
    (tmp_path / "local").mkdir()
    monkeypatch.setattr(module, "Session", Silent)
    monkeypatch.setattr(module, "secure_load_admin_config", lambda workspace: Config())
    expected = f"log in with {tmp_path.name}: failed to challenge server: timeout"
    with pytest.raises(FederationError, match=expected), open_session(tmp_path):
        pass
    assert Silent.closed == 1


class Config:
    """A user's kit as FLARE reads it."""

    def get_admin_config(self) -> dict[str, str]:
        return {"username": "lead"}
