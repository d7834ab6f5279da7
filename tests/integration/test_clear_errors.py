"""What goes wrong for a user says so in one line with file, line or field, exits with 2, and shows no traceback."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from almoner.cli.main import main
from almoner.flare.kits.provisioning import ProvisionedConsortium

ALMONER = Path(sys.executable).parent / "almoner"


def one_line(code: object, out: str, err: str) -> str:
    """Check how a command ended that must fail; return its one line."""
    assert code == 2, err
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]


def process_fails(*arguments: str | Path, cwd: Path) -> str:
    """Run a command, as the shell does."""
    done = subprocess.run([ALMONER, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=180)
    return one_line(done.returncode, done.stdout, done.stderr)


Fails = Callable[..., str]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Fails:
    """Run a command in this process, which spares the seconds of its imports."""

    def run(*arguments: str | Path, cwd: Path) -> str:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["almoner", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return one_line(ended.value.code, *capfd.readouterr())

    return run


@pytest.fixture
def kit(consortium: ProvisionedConsortium, tmp_path: Path) -> Path:
    """A copy of a site's kit, to be spoilt."""
    copy = tmp_path / "site" / "kit"
    shutil.copytree(consortium.site_folder("hungary") / "kit", copy)
    return copy


@pytest.mark.threat("T-07")
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda kit: (kit / "startup" / "client.crt").unlink(), "startup/client.crt: was deleted after provisioning"),
        (lambda kit: (kit / "startup" / "rootCA.pem").unlink(), "startup/rootCA.pem: No such file or directory"),
        (
            lambda kit: (kit / "local" / "extra__p_resources.json").write_text("{}"),
            "local/extra__p_resources.json: was added after provisioning",
        ),
        (
            lambda kit: (kit / "local" / "almoner_policy.yaml").write_text("site: hungary\n"),
            "local/almoner_policy.yaml: was changed after provisioning",
        ),
        (lambda kit: (kit / "startup" / "client.key").chmod(0o644), "startup/client.key: readable by other users"),
    ],
)
def test_spoilt_kit_does_not_start(
    kit: Path, spoil: Callable[[Path], object], expected: str, fails: Fails, tmp_path: Path
) -> None:
    spoil(kit)
    assert expected in fails("site", "start", kit, cwd=tmp_path)
    started = subprocess.run(
        ["bash", kit / "startup" / "start.sh"],
        capture_output=True,
        text=True,
        timeout=180,
        env={"PATH": f"{ALMONER.parent}:/usr/bin:/bin"},
    )
    assert started.returncode == 2
    assert expected in started.stderr
    assert "Traceback" not in started.stderr


def test_no_kit_at_all(tmp_path: Path) -> None:
    assert "not a complete startup kit" in process_fails("site", "start", tmp_path, cwd=tmp_path)


def test_busy_port(consortium: ProvisionedConsortium, root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", consortium.port))
        taken.listen()
        line = process_fails("up", consortium.root, "--root", root, cwd=root)
    assert f"port {consortium.port}: in use by another program" in line


@pytest.fixture
def declarations_copy(root: Path, tmp_path: Path) -> Path:
    for name in ("provisioning", "policies", "site_configs", "jobs"):
        shutil.copytree(root / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["provisioning/consortium.yaml", "policies/consortium.yaml", "policies/hungary.yaml", "site_configs/hungary.yaml"],
)
def test_unknown_field_in_a_declaration(declarations_copy: Path, name: str, fails: Fails) -> None:
    path = declarations_copy / name
    lines = path.read_text().rstrip("\n").count("\n") + 1
    path.write_text(path.read_text().rstrip("\n") + "\nepsilom: 3\n")
    line = fails("policy", "check", "--root", declarations_copy, cwd=declarations_copy)
    assert f"{path}:{lines + 1}: epsilom: " in line
    refused = fails("provision", "--out", declarations_copy / "out", "--root", declarations_copy, cwd=declarations_copy)
    assert "epsilom" in refused
    assert not (declarations_copy / "out").exists()


def test_unknown_field_in_a_job(declarations_copy: Path, fails: Fails) -> None:
    path = declarations_copy / "jobs" / "heart_disease.yaml"
    path.write_text(path.read_text().replace("target_epsilon", "target_epsilom"))
    line = fails("job", "plan", path, "--root", declarations_copy, cwd=declarations_copy)
    assert f"{path}:15: privacy.target_epsilom: " in line


def test_policy_that_loosens_the_floor(declarations_copy: Path, fails: Fails) -> None:
    path = declarations_copy / "policies" / "hungary.yaml"
    path.write_text(path.read_text().replace("max_sampling_prob: 0.5", "max_sampling_prob: 0.9"))
    for arguments in (("policy", "check"), ("provision", "--out", declarations_copy / "out")):
        line = fails(*arguments, "--root", declarations_copy, cwd=declarations_copy)
        assert f"{path}: limits.max_sampling_prob: 0.9 is looser than the consortium's floor (at most 0.5)" in line
    assert not (declarations_copy / "out").exists()


def test_provisioning_never_replaces_a_consortium(consortium: ProvisionedConsortium, root: Path, fails: Fails) -> None:
    line = fails("provision", "--out", consortium.root, "--root", root, cwd=root)
    assert "exists already" in line


def test_unreachable_server(consortium: ProvisionedConsortium, root: Path, fails: Fails) -> None:
    line = fails("status", "--kit", consortium.user_kit("lead@cleveland.example"), cwd=root)
    assert "log in with lead@cleveland.example" in line
    assert "→ see that the server runs" in line


def test_missing_ledger_is_never_made_anew(tmp_path: Path, fails: Fails) -> None:
    line = fails("ledger", "show", tmp_path, cwd=tmp_path)
    assert "ledger" in line
    assert list(tmp_path.iterdir()) == []
