"""An ordinary lead's job carries code outside `custom/`, or variables in its texts, through a real federation.

Each attack is carried out with FLARE's own way of deploying (hooks/unchecked.py), where it succeeds, and with ours.
Beside the unchecked server runs one site with its checks, which rest on no look of the server's. The gates are in.
What the parts do by themselves is in test_flare_config_attacks.py.
"""

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.attacker import LEAD, SITE, came_true
from tests.integration.conftest import make_consortium
from tests.integration.test_flare_config_attacks import CODE, DRIVER

from almoner.cli.jobs import export_command
from almoner.errors import DocumentError
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation
from almoner.flare.commands.session import JobReport, open_session
from almoner.flare.door.app_validator import SERVER_CONFIG
from almoner.flare.site.private_folder import private_folder
from almoner.schema.job import JobSpec

HOOKS = Path(__file__).parent / "hooks"
STUDY = "cardiology"
CHECKED_SITE = "cleveland"
"""Has its checks in every federation."""

JOB_SECONDS = 240.0
JOB_MARKS = frozenset({"almoner-server-job@server", f"almoner-client-job@{SITE}"})
NOWHERE: frozenset[str] = frozenset()
LEAVES_A_MARK = """
import os, sys
from pathlib import Path
home = Path(os.environ.get("ALMONER_HOME", "/elsewhere")).name
(Path({marks!r}) / f"{{Path(sys.argv[0]).name}}@{{home}}").touch()
"""
"""What the attacker wants run: says in which program, and whose."""

STOCK_SESSION = """
import sys
from nvflare.fuel.flare_api.flare_api import new_secure_session
new_secure_session(sys.argv[1], sys.argv[2], timeout=60.0, study=sys.argv[3]).close()
"""

pytestmark = pytest.mark.threat("T-01")


class Running:
    """A federation of a server and two sites, and the marks that code of a job leaves."""

    def __init__(self, federation: Federation, unchecked: bool, folder: Path) -> None:
        self.federation, self.unchecked = federation, unchecked
        self.consortium = federation.consortium
        self.marks, self.temporary = folder / "marks", folder / "t"
        self.user_kit = self.consortium.user_kit(LEAD)

    def poison(self, folder: Path) -> None:
        """Put a driver path and code into a folder."""
        for name, text in {
            DRIVER: '{"comm_driver_path": "."}',
            CODE: LEAVES_A_MARK.format(marks=str(self.marks)),
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    def seen(self, expected: frozenset[str]) -> set[str]:
        """Wait for marks, then return and remove all that are there: program@participant."""

        def marks() -> set[str]:
            return {path.name for path in self.marks.iterdir()}

        came_true(lambda: expected <= marks(), 120.0)
        found = marks()
        for name in found:
            (self.marks / name).unlink()
        return found

    def holders(self) -> set[str]:
        """Return whose workspace holds the code's file; "t" stands for the folder for temporary files."""
        homes = [self.temporary, *(kit.parent for kit in self.consortium.root.glob("**/kit"))]
        return {home.name for home in homes if any(home.rglob(Path(CODE).name))}

    def run(self, folder: Path, download: Path) -> tuple[JobReport, str]:
        """Submit a job as the lead; return its end, and the server's log of it as far as he can read it."""
        with open_session(self.user_kit, STUDY) as session:
            job_id = session.submit(folder)
            report = session.follow(job_id, lambda progress: None, JOB_SECONDS)
            log = session.download(job_id, download) / "workspace" / "log.txt"
            return report, log.read_text() if log.is_file() else ""


@pytest.fixture(scope="module", params=["unchecked", "checked"])
def running(request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The server and a site, without checks and with them."""
    unchecked, folder = request.param == "unchecked", tmp_path_factory.mktemp(request.param)
    for name in ("marks", "t"):
        (folder / name).mkdir()
    ours = {"TMPDIR": str(folder / "t")}
    flares = ours | {"PYTHONPATH": str(HOOKS), "ALMONER_TEST_UNCHECKED": "1"}
    consortium = make_consortium(root, folder / "heart")
    with Federation(consortium, flares if unchecked else ours) as federation, Federation(consortium, ours) as checked:
        federation.start_one("server")
        federation.start_one(SITE)
        checked.start_one(CHECKED_SITE)
        federation.wait_for_sites((SITE, CHECKED_SITE))
        yield Running(federation, unchecked, folder)


@pytest.fixture(autouse=True)
def no_marks(running: Running) -> None:
    """Forget where the code of the test before ran."""
    running.seen(NOWHERE)


@pytest.fixture
def spec(heart_spec: JobSpec) -> JobSpec:
    """A job for which FLARE's server asks for one site only."""
    return heart_spec.model_copy(update={"min_sites": 1})


def test_code_beside_a_configuration(running: Running, spec: JobSpec, tmp_path: Path) -> None:
    """FLARE asks for a right to bring code, but looks for code in `custom/` alone."""
    folder = export_job(spec, running.consortium.declarations, tmp_path)
    running.poison(folder / "app")
    report, _ = running.run(folder, tmp_path)
    expected = JOB_MARKS if running.unchecked else NOWHERE
    assert running.seen(expected) == expected
    assert running.holders() == ({SITE} if running.unchecked else set())
    if running.unchecked:
        assert report.answers["server"] == report.answers[SITE] == "OK"
        assert all(f"{name} was added after export" in report.answers[CHECKED_SITE] for name in (DRIVER, CODE))
    else:
        assert f"files that almoner does not export: {DRIVER}, {CODE}" in report.answers["server"]


def test_variable_in_a_text(running: Running, spec: JobSpec, root: Path, tmp_path: Path) -> None:
    """FLARE puts the server's environment into the job's log, which the lead downloads.

    The server's part is in an app of its own, which no site sees.
    """
    text = "for {$ALMONER_HOME} in {WORKSPACE}"
    spec = spec.model_copy(update={"purpose": text})
    folder = export_job(spec, running.consortium.declarations, tmp_path)
    alone = shutil.copytree(folder, tmp_path / "text-alone")
    shutil.copytree(folder / "app", folder / "other")
    edit_json(folder / "other" / SERVER_CONFIG, lambda config: config["workflows"][0].update(id=text))
    edit_json(folder / "meta.json", lambda meta: meta.update(deploy_map={"app": [SITE], "other": ["server"]}))
    report, log = running.run(folder, tmp_path)
    home = running.consortium.root / "server"
    assert (f"starting workflow for {home} in {home / 'kit'} " in log) is running.unchecked
    if not running.unchecked:
        assert f"{SERVER_CONFIG} is missing or was changed after export" in report.answers["server"]
        report, _ = running.run(alone, tmp_path)
        for site in (SITE, CHECKED_SITE):
            assert "job.unreadable" in report.answers[site]
            assert "spec.purpose" in report.answers[site]
            assert not list((running.consortium.site_folder(site) / "kit").glob("*/meta.json"))
        document = yaml.safe_load((root / "jobs" / "heart_disease.yaml").read_text()) | {"purpose": text}
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
        with pytest.raises(DocumentError, match="purpose"):
            export_command(tmp_path / "job.yaml", tmp_path / "jobs", root)


def edit_json(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change an exported file, as a submitter with a text editor would."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def test_folder_of_a_killed_site(running: Running) -> None:
    """What a killed site leaves of a job is in the workspace when the site starts again."""
    home = running.consortium.site_folder(SITE)
    folder, log = home / "kit" / str(uuid.uuid4()), home / "kit" / "log.txt"
    running.federation.kill(SITE)
    running.poison(folder / f"app_{SITE}")
    (folder / "meta.json").write_text("{}")

    def registrations() -> int:
        return log.read_text().count("Successfully registered client")

    before = registrations()
    running.federation.start_one(SITE)
    assert came_true(lambda: registrations() > before, 180.0)
    expected = frozenset({f"almoner-client@{SITE}"}) if running.unchecked else NOWHERE
    assert running.seen(expected) == expected
    assert folder.exists() is running.unchecked
    assert len(list(private_folder(home).glob("pymp-*"))) == 1, "the killed helper's socket is gone"
    assert list(running.temporary.glob("pymp-*")) == []


def test_code_in_the_submitters_working_directory(running: Running, tmp_path: Path) -> None:
    """FLARE's session searches the directory in which it is opened: a downloaded job, a shared folder."""
    running.poison(tmp_path)
    almoner = ["-m", "almoner.cli.main", "job", "list", "--kit", str(running.user_kit), "--study", STUDY]
    stock = ["-c", STOCK_SESSION, LEAD, str(running.user_kit), STUDY]
    line = [sys.executable, "-P", *(stock if running.unchecked else almoner)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    expected = frozenset({"-c@elsewhere"}) if running.unchecked else NOWHERE
    assert running.seen(expected) == expected
