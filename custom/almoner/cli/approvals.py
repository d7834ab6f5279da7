"""`almoner job approve` and `deny`: what a site's data officer says about one job."""

import re
from pathlib import Path
from typing import Annotated

import typer

from almoner.cli.app import console
from almoner.errors import DocumentError, PolicyViolation
from almoner.flare.approval_files import Officer, last_submission, write_approval
from almoner.flare.exporting import job_sites
from almoner.flare.site_files import SiteFiles, load_kit
from almoner.schema.approval import spec_digest
from almoner.schema.declarations import load_declarations
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec

JOB_ARGUMENT = typer.Argument(help="the digest that the refusal names, or a JobSpec")
SITE_OPTION = typer.Option("--site-folder", help="the site's folder: it holds kit/ and ledger/")
KEY_OPTION = typer.Option("--key", help="the officer's client.key")
CERT_OPTION = typer.Option("--cert", help="the officer's client.crt")
ROOT_OPTION = typer.Option("--root", help="the folder with provisioning/, policies/ and site_configs/, for a JobSpec")
DEFAULT_DAYS = 7


def approve_command(
    job: Annotated[str, JOB_ARGUMENT],
    site_folder: Annotated[Path, SITE_OPTION],
    key: Annotated[Path, KEY_OPTION],
    cert: Annotated[Path, CERT_OPTION],
    days: Annotated[int, typer.Option("--days", help="for how long the approval is good", min=1)] = DEFAULT_DAYS,
    root: Annotated[Path, ROOT_OPTION] = Path(),
) -> None:
    """Approve one run of a job at this site, as its data officer; then the job is submitted again.

    Example: almoner job approve 3f0e... --site-folder build/trial/sites/cleveland --key client.key --cert client.crt
    """
    _say(job, site_folder, key, cert, days, root, approve=True)


def deny_command(
    job: Annotated[str, JOB_ARGUMENT],
    site_folder: Annotated[Path, SITE_OPTION],
    key: Annotated[Path, KEY_OPTION],
    cert: Annotated[Path, CERT_OPTION],
    root: Annotated[Path, ROOT_OPTION] = Path(),
) -> None:
    """Deny a job at this site, as its data officer; an earlier approval no longer counts.

    Example: almoner job deny 3f0e... --site-folder build/trial/sites/cleveland --key client.key --cert client.crt
    """
    _say(job, site_folder, key, cert, 1, root, approve=False)


def _say(job: str, site_folder: Path, key: Path, cert: Path, days: int, root: Path, approve: bool) -> None:
    """Sign, record and print what the officer says."""
    site = load_kit(site_folder / "kit")
    digest = _job_digest(job, site, root)
    paper = write_approval(site, digest, approve, Officer(_read(key), _read(cert)), days)
    console.print(f"{paper.approval.verdict} at {site.policy.site} by {paper.approval.officer}: digest {digest}")
    if approve:
        console.print(f"good for one run within {days} days; the job can be submitted again now")


def _job_digest(job: str, site: SiteFiles, root: Path) -> str:
    """Return the digest that is meant, and print what the job is."""
    if re.fullmatch(r"[0-9a-f]{64}", job):
        asked = last_submission(site, job)
        if asked is None:
            raise PolicyViolation(f"digest {job}: never submitted to {site.policy.site} → give the JobSpec instead")
        console.print(f"job {asked['job_name']} of {asked['submitter']}, study {asked['study']}: {asked['purpose']}")
        console.print(f"asks {asked['asks']}")
        return job
    spec = load_document(Path(job), JobSpec)
    console.print(f"job {spec.name}, study {spec.study}: {spec.purpose}")
    return spec_digest(spec, job_sites(spec, load_declarations(root)))


def _read(path: Path) -> bytes:
    """Read a key or a certificate."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror} → give a file of the officer's kit") from None
