"""A site whose ledger was put back to an older copy of itself: the others' processes hold the head that convicts it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.attacker import came_true
from tests.integration.conftest import LEAD, make_consortium
from tests.integration.test_site_killed import wait_until

from almoner.errors import LedgerError
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation
from almoner.flare.commands.session import open_session
from almoner.flare.evidence.held_heads import heads_json, verify_against
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.results.job_result import read_result
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.schema.job import JobSpec

VICTIM, PEER = "hungary", "cleveland"
HOOKS = str(Path(__file__).parent / "hooks")


@dataclass
class Case:
    """A federation, and another beside it to start the victim in, which asks nobody about its ledger's head."""

    federation: Federation
    unchecked: Federation
    consortium: ProvisionedConsortium
    opened: Path

    @property
    def ledger(self) -> Path:
        return self.consortium.site_folder(VICTIM) / LEDGER

    def contributors(self, spec: JobSpec, num_sites: int, folder: Path) -> tuple[str, ...]:
        """Run a job that waits for so many sites; return those whose updates are in its last round."""
        folder.mkdir()
        spec = spec.model_copy(update={"min_sites": num_sites})
        with open_session(self.consortium.user_kit(LEAD), spec.study) as session:
            job_id = session.submit(export_job(spec, self.consortium.declarations, folder))
            assert session.follow(job_id, lambda progress: None, 240.0).completed
            return read_result(session.download(job_id, folder / "download")).rounds[-1].contributors

    def opened_data(self) -> set[str]:
        """Return the sites whose data files were opened since the last call."""
        paths = [json.loads(line) for file in self.opened.iterdir() for line in file.read_text().splitlines()]
        for file in self.opened.iterdir():
            file.unlink()
        return {site for site in self.consortium.declarations.consortium.sites if any(f"/{site}/" in p for p in paths)}

    def restart_with(self, ledger: Path, checked: bool) -> None:
        """Stop the site, put another ledger file in its place, byte for byte, and start it again."""
        (self.unchecked if checked else self.federation).kill(VICTIM)
        for leftover in self.ledger.parent.glob(f"{self.ledger.name}-*"):
            leftover.unlink()
        shutil.copyfile(ledger, self.ledger)
        registrations = self.logged("Successfully registered")
        (self.federation if checked else self.unchecked).start_one(VICTIM)
        wait_until(lambda: self.logged("Successfully registered") > registrations, 120.0)

    def logged(self, text: str) -> int:
        """Return how often the site's processes logged a text."""
        count = 0
        for log in self.consortium.site_folder(VICTIM).rglob("*.txt"):
            with suppress(FileNotFoundError):  # a job's log is moved when the job has ended
                count += log.read_text().count(text) if log.name != "error_log.txt" else 0
        return count


@pytest.fixture
def case(root: Path, tmp_path: Path) -> Iterator[Case]:
    consortium = make_consortium(root, tmp_path / "heart")
    (tmp_path / "opened").mkdir()
    variables = {"PYTHONPATH": HOOKS, "ALMONER_TEST_OPENED": str(tmp_path / "opened")}
    unasking = variables | {"ALMONER_TEST_NO_HEADS": "1"}
    with Federation(consortium, variables) as federation, Federation(consortium, unasking) as unchecked:
        federation.start(lambda text: None)
        yield Case(federation, unchecked, consortium, tmp_path / "opened")


@pytest.mark.threat("T-15")
def test_site_restarted_with_an_older_ledger(case: Case, heart_spec: JobSpec, tmp_path: Path) -> None:
    """It takes part where it asks nobody about its head; where it asks, it finds itself convicted and stays out."""
    spec = heart_spec.model_copy(update={"rounds": 2, "releases": ()})
    sites = case.consortium.declarations.consortium.sites
    others = tuple(site for site in sites if site != VICTIM)
    with Ledger.open(case.ledger) as ledger:
        before = ledger.account(f"{VICTIM}-cardiology").rdp_spent
    shutil.copyfile(case.ledger, tmp_path / "older")  # nobody has it open between jobs, so this is all of it
    assert case.contributors(spec, len(sites), tmp_path / "first") == sites
    assert case.opened_data() == set(sites)

    for checked, expected in ((False, sites), (True, others)):
        case.restart_with(tmp_path / "older", checked)
        with Ledger.open(case.ledger) as ledger:
            ledger.verify()
            assert ledger.account(f"{VICTIM}-cardiology").rdp_spent == before, "the charge is forgotten"
        assert case.contributors(spec, len(expected), tmp_path / f"checked {checked}") == expected
        assert case.opened_data() == set(expected)
        patience = 30.0 if checked else 0.0
        assert came_true(lambda: case.logged("the ledger was rolled back: cleveland holds") > 0, patience) is checked
    with Ledger.open(case.consortium.site_folder(PEER) / LEDGER) as peer:
        (tmp_path / "heads.json").write_text(json.dumps(heads_json(peer.held_heads())))
    with Ledger.open(case.ledger) as ledger, pytest.raises(LedgerError, match="rolled back"):
        verify_against(ledger, case.consortium.site_folder(VICTIM), tmp_path / "heads.json")
