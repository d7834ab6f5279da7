"""`almoner job approve` and `deny`: what a site's data officer says about one job."""

import re
from pathlib import Path
from typing import Annotated

import typer
import yaml

from almoner.cli.app import console
from almoner.errors import DocumentError, PolicyViolation
from almoner.flare.site.approval_files import AskedJob, Officer, recorded_job, write_approval
from almoner.flare.site.site_files import SiteFiles, load_kit
from almoner.flare.site.site_view import installed_workloads
from almoner.schema.declarations import declarations_of_study, job_sites
from almoner.schema.documents import load_job
from almoner.schema.envelope import workload_of
from almoner.schema.psi import PsiSpec

JOB_ARGUMENT = typer.Argument(help="the digest that the refusal names, or a JobSpec")
SITE_OPTION = typer.Option("--site-folder", help="the site's folder: it holds kit/ and ledger/")
KEY_OPTION = typer.Option("--key", help="the officer's client.key")
CERT_OPTION = typer.Option("--cert", help="the officer's client.crt")
ROOT_OPTION = typer.Option("--root", help="the folder with provisioning/, policies/ and site_configs/, for a JobSpec")
SUBMITTER_OPTION = typer.Option("--submitter", help="whose job; with a digest, the last submitter if not given")
YES_OPTION = typer.Option("--yes", help="sign without a question, for scripts that have shown the job")
DEFAULT_DAYS = 7


def approve_command(
    job: Annotated[str, JOB_ARGUMENT],
    site_folder: Annotated[Path, SITE_OPTION],
    key: Annotated[Path, KEY_OPTION],
    cert: Annotated[Path, CERT_OPTION],
    days: Annotated[
        int, typer.Option("--days", help="for how long the approval is good", min=1, max=366)
    ] = DEFAULT_DAYS,
    submitter: Annotated[str | None, SUBMITTER_OPTION] = None,
    root: Annotated[Path, ROOT_OPTION] = Path(),
    yes: Annotated[bool, YES_OPTION] = False,
) -> None:
    """Show a job and, once confirmed, approve one run of it at this site; then its submitter submits it again.

    Example: almoner job approve 3f0e... --site-folder build/trial/sites/cleveland --key client.key --cert client.crt
    """
    site = load_kit(site_folder / "kit")
    asked = _asked_job(job, site, root, submitter)
    _show(asked, "approve", yes)
    _sign(site, asked, key, cert, days, approve=True)
    console.print(f"good for one run within {days} days; {asked.submitter} can submit the job again now")


def deny_command(
    job: Annotated[str, JOB_ARGUMENT],
    site_folder: Annotated[Path, SITE_OPTION],
    key: Annotated[Path, KEY_OPTION],
    cert: Annotated[Path, CERT_OPTION],
    submitter: Annotated[str | None, SUBMITTER_OPTION] = None,
    root: Annotated[Path, ROOT_OPTION] = Path(),
    yes: Annotated[bool, YES_OPTION] = False,
) -> None:
    """Show a job and, once confirmed, deny it at this site; an earlier approval no longer counts.

    Example: almoner job deny 3f0e... --site-folder build/trial/sites/cleveland --key client.key --cert client.crt
    """
    site = load_kit(site_folder / "kit")
    asked = _asked_job(job, site, root, submitter)
    _show(asked, "deny", yes)
    _sign(site, asked, key, cert, 1, approve=False)


def _asked_job(job: str, site: SiteFiles, root: Path, submitter: str | None) -> AskedJob:
    """Return what is meant by a digest or a JobSpec."""
    if re.fullmatch(r"[0-9a-f]{64}", job):
        return recorded_job(site, job, submitter)
    if submitter is None:
        raise PolicyViolation(f"{job}: a JobSpec does not say whose job it will be → give --submitter")
    spec = load_job(Path(job))
    known = installed_workloads().get(workload_of(spec))
    sites = job_sites(spec, declarations_of_study(root, spec.study))
    return AskedJob(spec, sites, submitter, known.digest if known else "")


def _show(asked: AskedJob, verb: str, yes: bool) -> None:
    """Print all that will be signed, and ask."""
    text = yaml.safe_dump(asked.spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=1000)
    console.print(text, end="")
    console.print(f"# sites: {', '.join(asked.sites)}")
    console.print(f"# submitter: {asked.submitter}")
    console.print(f"# code of the workload: {asked.workload_digest or 'not installed'}")
    if isinstance(asked.spec, PsiSpec):
        console.print("# each site learns which of its records all the others have: no ε covers that")
    console.print(f"# digest: {asked.job_digest}")
    if not yes:
        typer.confirm(f"{verb} this job of {asked.submitter}?", abort=True)


def _sign(site: SiteFiles, asked: AskedJob, key: Path, cert: Path, days: int, approve: bool) -> None:
    """Sign, record and print what the officer says."""
    said = write_approval(site, asked, approve, Officer(read_file(key), read_file(cert)), days).approval
    console.print(f"{said.verdict} at {said.site} by {said.officer}: digest {said.job_digest}")


def read_file(path: Path) -> bytes:
    """Read a key or a certificate of the officer's kit.

    Raises:
        DocumentError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror} → give a file of the officer's kit") from None
