"""A job on a real federation of this machine: planned, submitted by its lead, followed, and its result fetched."""

import signal
from types import FrameType

from almoner.cli.app import console
from almoner.cli.progress import follow_job
from almoner.errors import DocumentError, FederationError
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.planning import plan_job
from almoner.flare.commands.session import open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.results.job_result import JobResult
from almoner.flare.results.origin import submitted_job
from almoner.flare.results.vouched import read_vouched, root_certificate
from almoner.schema.consortium import Consortium
from almoner.schema.job import JobSpec


def stop_on_sigterm() -> None:
    """Let SIGTERM end this command as Ctrl-C does, with all the processes that it started."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def lead_of(consortium: Consortium, study: str) -> str:
    """Return the first lead who may log in to a study.

    Raises:
        DocumentError: it has none.
    """
    admins = consortium.studies[study].admins
    for user in consortium.users:
        if user.role == "lead" and user.name in admins:
            return user.name
    raise DocumentError(f"study {study}: no lead is among its admins → name one in provisioning/")


def run_live(consortium: ProvisionedConsortium, spec: JobSpec, user: str, timeout_seconds: float) -> JobResult:
    """Run a job to its end on a federation that runs.

    Raises:
        FederationError: it did not complete; with what each participant said.
    """
    for decision in plan_job(spec, consortium.declarations, consortium.root, user):
        console.print(f"  plan: {decision.render()}")
    with open_session(consortium.user_kit(user), spec.study) as session:
        job_id = session.submit(export_job(spec, consortium.declarations, consortium.root / "jobs"))
        console.print(f"  job {job_id}")
        report = follow_job(session, job_id, timeout_seconds, spec)
        if not report.completed:
            answers = "; ".join(answer for answer in report.answers.values() if answer != "OK")
            raise FederationError(f"job {job_id} ended as {report.status}: {answers or 'see almoner job list'}")
        folder = session.download(job_id, consortium.root / "results")
        kit = consortium.user_kit(user)
        found = read_vouched(folder, root_certificate(kit), job_id, submitted_job(kit, job_id))
        if found.sites:
            console.print(f"  what it left is signed by {', '.join(found.sites)}")
        return found.result
