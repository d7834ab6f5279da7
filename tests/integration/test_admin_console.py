"""FLARE's own admin console takes an exported job as it is: `fl_admin.sh`, driven at its prompt."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from tests.integration.hospitals import consortium, federation

from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation
from almoner.flare.commands.session import open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.results.job_result import read_result
from almoner.schema.job import JobSpec

__all__ = ["consortium", "federation"]

LEAD = "lead@cleveland.example"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@pytest.fixture
def console(federation: Federation, consortium: ProvisionedConsortium) -> Iterator[pexpect.spawn]:
    kit = consortium.user_kit(LEAD)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = str(kit / "startup" / "fl_admin.sh")
    child = pexpect.spawn(
        "bash",
        [command, "--study", "cardiology"],
        env={**os.environ, "PATH": path, "TERM": "dumb"},
        cwd=str(kit),
        encoding="utf-8",
        timeout=180,
        dimensions=(50, 300),
    )
    child.expect("User Name: ")
    child.sendline(LEAD)
    child.expect("> ")
    yield child
    child.sendline("bye")
    child.expect(pexpect.EOF)


def ask(console: pexpect.spawn, command: str) -> str:
    """Type a command and return what the console prints up to its "Done" line."""
    console.sendline(command)
    console.expect(r"Done \[")
    text = str(console.before)
    console.expect("> ")
    return text


def test_console_submits_lists_and_downloads(
    console: pexpect.spawn, consortium: ProvisionedConsortium, heart_spec: JobSpec, tmp_path: Path
) -> None:
    status = ask(console, "check_status server")
    for site in ("cleveland", "hungary", "switzerland", "va-long-beach"):
        assert site in status
    spec = heart_spec.model_copy(update={"rounds": 2, "releases": ()})
    folder = export_job(spec, consortium.declarations, tmp_path)
    submitted = ask(console, f"submit_job {folder}")
    found = re.search(UUID, submitted)
    assert found, submitted
    job_id = found.group()
    with open_session(consortium.user_kit(LEAD), spec.study) as session:
        assert session.follow(job_id, lambda progress: None, 240.0).completed
    listed = ask(console, "list_jobs")
    assert job_id in listed
    assert "FINISHED:COMPLETED" in listed
    ask(console, f"download_job {job_id}")
    downloads = list((consortium.user_kit(LEAD) / "transfer").rglob(job_id))
    assert downloads
    result = read_result(downloads[0])
    assert len(result.rounds) == 2
    assert result.model is not None


def test_console_refuses_shell_commands_and_clones(console: pexpect.spawn) -> None:
    for command in ("cat server log.txt", "clone_job 00000000-0000-4000-8000-000000000000"):
        answer = ask(console, command)
        assert re.search("not authorized|Authorization Error|no such job", answer, re.IGNORECASE), answer
