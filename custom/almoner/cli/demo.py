"""`almoner demo`: the main job end to end on real processes, and three jobs that must fail."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from almoner.cli.app import console
from almoner.cli.demo_tables import account_table, model_table, release_lines
from almoner.cli.jobs import print_progress
from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE
from almoner.errors import FederationError
from almoner.flare.dataset_commitments import commit_site_data
from almoner.flare.exporting import export_job
from almoner.flare.federation import Federation, free_port
from almoner.flare.job_result import JobResult, read_result
from almoner.flare.planning import plan_job
from almoner.flare.provisioning import ProvisionedConsortium, provision
from almoner.flare.session import JobReport, open_session
from almoner.flare.site_files import load_kit
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec

JOB_TIMEOUT_SECONDS = 600.0
GREEDY_EPSILON = 2.5
BUILD = Path("build")


def demo_command(
    root: Annotated[Path, typer.Option("--root", help="the folder with jobs/, provisioning/, policies/")] = Path(),
    build: Annotated[Path, typer.Option("--build", help="where all state goes")] = BUILD,
) -> None:
    """Run the heart-disease job over four hospitals, then three jobs that must be refused.

    Every run makes a new consortium in a new folder, since no account is ever reset.

    Example: almoner demo
    """
    start = time.monotonic()
    spec = load_document(root / "jobs" / "heart_disease.yaml", JobSpec)
    consortium = _prepare(root, build)
    lead = _user_with_role(consortium, "lead")
    with Federation(consortium) as federation:
        _say(3, "start the server and four sites: real processes, mTLS on localhost")
        federation.start(lambda text: console.print(f"  {text}"))
        _say(4, f"submit jobs/heart_disease.yaml as {lead}")
        result = _run_job(consortium, spec, lead)
        _say(5, "what came out")
        console.print(model_table(consortium, spec, result))
        console.print("  one split, so ± 2.7 points (one standard error); the mean over five splits: make bench")
        for line in release_lines(spec, result):
            console.print(f"  {line}")
        console.print(account_table(consortium, spec))
        _say(6, "three jobs that must fail, and what their submitters read")
        _refuse_greedy(consortium, spec, lead)
        _refuse_edited(consortium, spec, lead)
        _refuse_trainee(consortium, spec)
        _say(7, "shut everything down")
    console.print(f"done in {time.monotonic() - start:.0f} s; all state is in {consortium.root}")
    console.print(f"look at a ledger: almoner ledger show {consortium.site_folder('cleveland')}")


def _say(number: int, text: str) -> None:
    """Print a step's heading."""
    console.print(f"{number}. {text}", style="bold")


def _prepare(root: Path, build: Path) -> ProvisionedConsortium:
    """Fetch the data, provision, and put each hospital's part into its own folder."""
    number = 1
    while (out := build / f"demo-{number}").exists():
        number += 1
    _say(1, f"fetch {HEART_DISEASE.package} {HEART_DISEASE.version}, split by keyed hash of the record id")
    paths = prepare_sites(HEART_DISEASE, build / "cache", build / "data")
    for site, path in paths.items():
        splits = [line.split(",")[1] for line in path.read_text().splitlines()[1:]]
        console.print(f"  {site}: {splits.count('train')} train, {splits.count('test')} test records")
    _say(2, f"provision the consortium in {out}")
    consortium = provision(root, out, free_port())
    prepare_sites(HEART_DISEASE, build / "cache", out / "sites")
    for site in paths:
        commit_site_data(load_kit(consortium.site_folder(site) / "kit"))
    console.print(
        f"  signed kits for 1 server, {len(paths)} sites, {len(consortium.declarations.consortium.users)} users"
    )
    console.print(f"  root certificate SHA-256 {consortium.root_fingerprint}")
    return consortium


def _user_with_role(consortium: ProvisionedConsortium, role: str) -> str:
    """Return the name of the first user with a role."""
    return next(user.name for user in consortium.declarations.consortium.users if user.role == role)


def _run_job(consortium: ProvisionedConsortium, spec: JobSpec, lead: str) -> JobResult:
    """Plan, submit, follow and fetch the main job."""
    for decision in plan_job(spec, consortium.declarations, consortium.root):
        console.print(f"  plan: {decision.render()}")
    with open_session(consortium.user_kit(lead), spec.study) as session:
        job_id = session.submit(export_job(spec, consortium.declarations, consortium.root / "jobs"))
        console.print(f"  job {job_id}")
        report = session.follow(job_id, print_progress, JOB_TIMEOUT_SECONDS)
        if not report.completed:
            raise FederationError(f"job {job_id} ended as {report.status}: {'; '.join(report.answers.values())}")
        return read_result(session.download(job_id, consortium.root / "results"))


def _submit_refused(consortium: ProvisionedConsortium, study: str, user: str, folder: Path) -> None:
    """Submit a job that must be refused, and print what its submitter reads."""
    with open_session(consortium.user_kit(user), study) as session:
        try:
            job_id = session.submit(folder)
        except FederationError as error:
            console.print(f"  {error}")
            return
        report: JobReport = session.follow(job_id, lambda progress: None, JOB_TIMEOUT_SECONDS)
    console.print(f"  {report.status}")
    for answer in report.answers.values():
        if answer != "OK":
            console.print("    " + answer.replace("\n", "\n    "))
    if report.completed:
        raise FederationError(f"job {job_id} should have been refused, but completed")


def _refuse_greedy(consortium: ProvisionedConsortium, spec: JobSpec, lead: str) -> None:
    """Ask for more ε than is left."""
    console.print(f"a. {lead} asks for ε={GREEDY_EPSILON:g} after the first job", style="bold")
    privacy = spec.privacy.model_copy(update={"target_epsilon": GREEDY_EPSILON})
    greedy = spec.model_copy(update={"name": "heart-greedy", "privacy": privacy})
    folder = export_job(greedy, consortium.declarations, consortium.root / "jobs")
    _submit_refused(consortium, spec.study, lead, folder)


def _refuse_edited(consortium: ProvisionedConsortium, spec: JobSpec, lead: str) -> None:
    """Edit the exported folder: once the client's configuration, once with code of its own beside it."""
    console.print("b. the exported folder is edited: a filter of the job's own, then a custom/ folder", style="bold")
    folder = export_job(spec, consortium.declarations, consortium.root / "jobs")
    path = folder / "app" / "config" / "config_fed_client.json"
    config: dict[str, Any] = json.loads(path.read_bytes())
    config["task_result_filters"] = [{"tasks": ["train"], "filters": []}]
    path.write_text(json.dumps(config))
    _submit_refused(consortium, spec.study, lead, folder)
    folder = export_job(spec, consortium.declarations, consortium.root / "jobs")
    custom = folder / "app" / "custom"
    custom.mkdir()
    (custom / "exfiltrate.py").write_text("# code that no site has installed\n")
    _submit_refused(consortium, spec.study, lead, folder)


def _refuse_trainee(consortium: ProvisionedConsortium, spec: JobSpec) -> None:
    """Submit as a user whom FLARE lets submit, but no policy admits."""
    trainee = _user_with_role(consortium, "trainee")
    console.print(f"c. {trainee} submits: FLARE lets trainees submit, no policy admits them", style="bold")
    folder = export_job(spec, consortium.declarations, consortium.root / "jobs")
    _submit_refused(consortium, spec.study, trainee, folder)
