"""`almoner run` as a user types it: a real federation, its model beside the baselines, its receipts; and Ctrl-C."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

SITES = {"cleveland", "hungary", "switzerland", "va-long-beach"}


def start(root: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "almoner.cli.main", "run", "jobs/heart_disease.yaml"]
    command += ["--rounds", "2", "--seeds", "1", "--out", str(out)]
    return subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def processes_below(folder: Path) -> list[psutil.Process]:
    """Return all processes that were started with a path in a folder."""
    return [
        found
        for found in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in found.info["cmdline"] or ())
    ]


@pytest.mark.slow
def test_a_run_leaves_figures_plots_and_receipts_and_no_process(root: Path, tmp_path: Path) -> None:
    command = start(root, tmp_path / "runs")
    out, err = command.communicate(timeout=300)
    assert command.returncode == 0, err
    assert "  round 2/2 done, 4 sites, ε 1.00 of 1 so far\n" in out
    assert "this run: federated for real" in out
    (folder,) = (tmp_path / "runs").iterdir()
    files = {"config.yaml", "metrics.json", "receipts.json", "heart-disease.csv", "heart-disease.png", "consortium"}
    assert {path.name for path in folder.iterdir()} == files
    assert yaml.safe_load((folder / "config.yaml").read_text())["jobs"][0]["rounds"] == 2
    facts = json.loads((folder / "metrics.json").read_text())["heart-disease"]
    assert 0.5 < facts["federated_for_real"]["auc"] < 1
    assert {run["arm"] for run in facts["runs"]} == {
        "federated", "pooled", "federated_no_noise", "pooled_non_private", "alone_non_private",
    }  # fmt: skip
    receipts = json.loads((folder / "receipts.json").read_text())
    assert set(receipts) == SITES
    for site, found in receipts.items():
        steps = found["receipts"]
        assert [step["step"] for step in steps] == ["train-0001", "train-0002", "accuracy"]
        assert {step["site"] for step in steps} == {site}
        assert [step["epsilon_before"] for step in steps[1:]] == [step["epsilon_after"] for step in steps[:-1]]
        assert 1.0 < steps[-1]["epsilon_after"] < 2.0
    assert processes_below(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_one_line_and_no_process(how: int, root: Path, tmp_path: Path) -> None:
    command = start(root, tmp_path / "runs")
    deadline = time.monotonic() + 240
    own = f"{tmp_path}/runs"
    while len(processes_below(Path(own))) < 6 and command.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(processes_below(Path(own))) >= 6, "the command itself, a server and four sites"
    command.send_signal(how)
    _, err = command.communicate(timeout=60)
    assert command.returncode == 130
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert psutil.wait_procs(processes_below(tmp_path), timeout=20)[1] == []
