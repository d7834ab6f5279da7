"""The private folder: the user's own, closed to others, held by one process at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from almoner.errors import FederationError
from almoner.flare.site.private_folder import hold_private_folder, private_folder

HOLD = """
import sys
from pathlib import Path
from almoner.errors import AlmonerError
from almoner.flare.site.private_folder import hold_private_folder
try:
    hold_private_folder(Path(sys.argv[1]))
except AlmonerError as error:
    sys.exit(str(error))
print("held", flush=True)
sys.stdin.read()
"""


def start(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_folder_of_the_users_own(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        hold_private_folder(tmp_path)
    finally:
        os.umask(before)
    assert private_folder(tmp_path).stat().st_mode & 0o777 == 0o700
    with pytest.raises(FederationError, match="is running already"):
        hold_private_folder(tmp_path)


def test_one_process_at_a_time_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    first = start(tmp_path)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    assert "is running already → stop the other process first" in start(tmp_path).communicate()[1]
    first.kill()
    first.wait()
    assert start(tmp_path).communicate()[0] == "held\n"


@pytest.mark.threat("T-153")
def test_a_folder_that_others_may_enter(tmp_path: Path) -> None:
    private_folder(tmp_path).mkdir()
    private_folder(tmp_path).chmod(0o710)
    with pytest.raises(FederationError, match="not a folder of mode 700"):
        hold_private_folder(tmp_path)


def test_a_link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    private_folder(tmp_path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FederationError, match="not a folder of mode 700"):
        hold_private_folder(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder away takes root")
def test_somebody_elses_folder(tmp_path: Path) -> None:
    private_folder(tmp_path).mkdir(mode=0o700)
    os.chown(private_folder(tmp_path), 65534, 65534)
    with pytest.raises(FederationError, match="not a folder of mode 700"):
        hold_private_folder(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    private_folder(tmp_path).write_text("a file")
    with pytest.raises(FederationError, match="cannot be made"):
        hold_private_folder(tmp_path)
