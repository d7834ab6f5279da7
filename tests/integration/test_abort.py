"""A job that is aborted before it runs, or while it starts, on a real federation: it stops, and costs what it read.

A script of the first review aborted a job 0.05 s after its admission, was told that it had been aborted before it
ran, and saw all of its rounds run. The unit tests of the job manager show both with FLARE's own.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.test_site_killed import wait_until

from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation
from almoner.flare.commands.session import open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import job_events
from almoner.schema.job import JobSpec

LEAD = "lead@cleveland.example"
ROUNDS = 50


def many_rounds(spec: JobSpec) -> JobSpec:
    training = spec.training.model_copy(update={"local_steps": 1})
    privacy = spec.privacy.model_copy(update={"target_epsilon": 0.5})
    return spec.model_copy(update={"rounds": ROUNDS, "training": training, "privacy": privacy, "releases": ()})


def status(ledger: Ledger, job_id: str) -> str:
    """Return a job's state, "" before it is admitted."""
    return next((job.status for job in ledger.open_jobs() if job.job_id == job_id), "")


@pytest.fixture(scope="module")
def federation(consortium: ProvisionedConsortium) -> Iterator[Federation]:
    """Its sites' decisions leave so late that an abort is in time before the job starts, on a busy machine too."""
    variables = {"PYTHONPATH": str(Path(__file__).parent / "hooks"), "ALMONER_TEST_DECISION_SECONDS": "12"}
    with Federation(consortium, variables) as running:
        running.start(lambda text: None)
        yield running


@pytest.mark.threat("T-33")
def test_aborted_before_it_runs_and_while_it_starts(
    consortium: ProvisionedConsortium, federation: Federation, heart_spec: JobSpec, tmp_path: Path
) -> None:
    spec = many_rounds(heart_spec)
    steps = [step.key for step in job_events(spec).steps]
    books = {
        site: Ledger.open(consortium.site_folder(site) / LEDGER) for site in consortium.declarations.consortium.sites
    }
    with open_session(consortium.user_kit(LEAD), spec.study) as session:
        waiting = session.submit(export_job(spec, consortium.declarations, tmp_path))
        wait_until(lambda: any(status(book, waiting) == "reserved" for book in books.values()), 150.0)
        assert session.abort(waiting).status == "FINISHED:ABORTED"

        # The server takes one job after the other: when it starts the next, it has decided about this one.
        starting = session.submit(export_job(spec, consortium.declarations, tmp_path))
        wait_until(lambda: any(status(book, starting) == "started" for book in books.values()), 150.0)
        assert session.abort(starting).status == "FINISHED:ABORTED"
        wait_until(lambda: not any(status(book, starting) == "started" for book in books.values()), 60.0)

        for site, book in books.items():
            assert status(book, waiting) == "reserved", (
                site
            )  # given back after START_SECONDS, see test_deployer_refusals
            assert not any(book.committed(waiting, step) for step in steps), site
            assert sum(book.committed(starting, step) for step in steps) < ROUNDS // 2, site
            account = book.account(f"{site}-cardiology")
            held = job_events(spec).charge(account.filter.order)
            assert account.rdp_spent == pytest.approx(held + account.rdp_committed), site
            book.verify()
        assert [session.report(job).status for job in (waiting, starting)] == ["FINISHED:ABORTED"] * 2
