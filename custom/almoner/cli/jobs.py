"""`almoner job`: plan, export, submit, approve, follow and fetch a job."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from almoner.admission.layout import robustness_lines
from almoner.cli.app import console, new_group, print_json
from almoner.cli.approvals import approve_command, deny_command
from almoner.cli.progress import follow_job
from almoner.errors import DocumentError, FederationError
from almoner.experiments.runs import verify_can_hold
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.planning import plan_job
from almoner.flare.commands.session import JobReport, open_session
from almoner.flare.results.job_result import JobResult
from almoner.flare.results.origin import JobOf, Origin, exported_job, submitted_job
from almoner.flare.results.vouched import read_vouched, root_certificate
from almoner.privacy.distributed_training import assumption_of
from almoner.privacy.plan import epsilon_of_noise
from almoner.release.combined import statistics_lines
from almoner.schema.declarations import declarations_of_study, job_sites
from almoner.schema.documents import load_job
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.job import JobSpec
from almoner.schema.statistics import StatisticsSpec

app = new_group("Plan, export, submit, approve, follow and fetch jobs.")
app.command("approve")(approve_command)
app.command("deny")(deny_command)

SPEC_ARGUMENT = typer.Argument(help="a job, such as jobs/heart_disease.yaml")
KIT_OPTION = typer.Option("--kit", help="your startup kit: the folder with startup/fed_admin.json in it")
ROOT_OPTION = typer.Option("--root", help="the folder with provisioning/, policies/ and site_configs/")
STUDY_OPTION = typer.Option("--study", help="the FLARE study of the job")
JSON_OPTION = typer.Option("--json", help="print JSON for scripts")
DEFAULT_TIMEOUT_SECONDS = 3600.0


@app.command("plan")
def plan_command(
    spec_path: Annotated[Path, SPEC_ARGUMENT],
    root: Annotated[Path, ROOT_OPTION] = Path(),
    consortium: Annotated[
        Path | None, typer.Option("--consortium", help="a consortium on this machine, to ask its ledgers as they stand")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="who would submit; the first lead if not given")] = None,
    noise: Annotated[
        float | None, typer.Option("--noise-multiplier", help="plan for this noise: the target ε follows from it")
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Say what each site would answer, and what the job would cost there.

    Target ε gives the noise, for the whole job; with --noise-multiplier the noise gives target ε. Without
    --consortium the accounts are taken as untouched. Exit code 1 if a site would refuse.

    Example: almoner job plan jobs/heart_disease.yaml --noise-multiplier 8
    """
    spec = load_job(spec_path)
    if noise is not None and not isinstance(spec, JobSpec):
        raise DocumentError(f"{spec_path}: --noise-multiplier is for training jobs → set privacy.target_epsilon")
    if noise is not None and isinstance(spec, JobSpec):
        spec = _with_noise(spec, noise, root)
    decisions = plan_job(spec, declarations_of_study(root, spec.study), consortium, user)
    if as_json:
        print_json([decision.model_dump(mode="json") for decision in decisions])
    else:
        for decision in decisions:
            console.print(decision.render())
        if decisions and isinstance(spec, JobSpec) and spec.rounds:
            for line in _noise_lines(spec, decisions[0].noise_multiplier, len(decisions)):
                console.print(line)
        for line in _plan_lines(spec, len(decisions)):
            console.print(line)
    if any(decision.verdict == "refused" for decision in decisions):
        raise typer.Exit(1)


def _with_noise(spec: JobSpec, noise: float, root: Path) -> JobSpec:
    """Return a job with the target ε that a noise multiplier amounts to."""
    assumption = assumption_of(spec, len(job_sites(spec, declarations_of_study(root, spec.study))))
    privacy = spec.privacy.model_copy(update={"target_epsilon": epsilon_of_noise(spec, noise, assumption)})
    return spec.model_copy(update={"privacy": privacy})


def _noise_lines(spec: JobSpec, noise_multiplier: float, num_sites: int) -> tuple[str, ...]:
    """Return what a plan says of the noise."""
    steps = f"{spec.num_steps} steps a site"
    if spec.target_epsilon is None:
        return (f"no privacy (public data): no noise, no ε; {steps}",)
    lines = f"privacy.target_epsilon: {spec.target_epsilon:g}", f"noise multiplier {noise_multiplier:.3f}, {steps}"
    if assumption := assumption_of(spec, num_sites):
        return *lines, f"distributed noise: {assumption}; a single site's share protects nothing"
    return lines


def _plan_lines(spec: AnyJobSpec, num_sites: int) -> tuple[str, ...]:
    """Return what else a plan says: what bad or missing sites do, or how much noise there will be."""
    if isinstance(spec, JobSpec):
        return robustness_lines(spec, num_sites)
    return statistics_lines(spec, num_sites) if isinstance(spec, StatisticsSpec) else ()


@app.command("export")
def export_command(
    spec_path: Annotated[Path, SPEC_ARGUMENT],
    out: Annotated[Path, typer.Option("--out", help="folder in which the job's folder is made")] = Path("build/jobs"),
    root: Annotated[Path, ROOT_OPTION] = Path(),
) -> None:
    """Write the FLARE job folder that `submit_job` takes as it is; good for one submission.

    Example: almoner job export jobs/heart_disease.yaml
    """
    spec = load_job(spec_path)
    folder = export_job(spec, declarations_of_study(root, spec.study), out)
    console.print(str(folder))


@app.command("submit")
def submit_command(
    spec_path: Annotated[Path, SPEC_ARGUMENT],
    kit: Annotated[Path, KIT_OPTION],
    root: Annotated[Path, ROOT_OPTION] = Path(),
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="wait for the job's end")] = True,
) -> None:
    """Export a job and submit it. Exit code 1 if it does not complete.

    Example: almoner job submit jobs/heart_disease.yaml --kit build/trial/users/lead@cleveland.example
    """
    spec = load_job(spec_path)
    declarations = declarations_of_study(root, spec.study)
    job_sites(spec, declarations)
    with tempfile.TemporaryDirectory(prefix="almoner-job-") as folder, open_session(kit, spec.study) as session:
        job_id = session.submit(export_job(spec, declarations, Path(folder)))
        console.print(f"submitted {spec.name} as {job_id}")
        if follow:
            _finish(follow_job(session, job_id, DEFAULT_TIMEOUT_SECONDS, spec))


@app.command("watch")
def watch_command(
    job_id: Annotated[str, typer.Argument(help="FLARE's id of the job")],
    kit: Annotated[Path, KIT_OPTION],
    study: Annotated[str, STUDY_OPTION] = "default",
) -> None:
    """Follow a job round by round to its end. Exit code 1 if it does not complete.

    Example: almoner job watch 3f0e... --kit build/trial/users/lead@cleveland.example --study cardiology
    """
    with open_session(kit, study) as session:
        _finish(follow_job(session, job_id, DEFAULT_TIMEOUT_SECONDS))


@app.command("list")
def list_command(
    kit: Annotated[Path, KIT_OPTION],
    study: Annotated[str, STUDY_OPTION] = "default",
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List the jobs of a study.

    Example: almoner job list --kit build/trial/users/lead@cleveland.example --study cardiology
    """
    with open_session(kit, study) as session:
        reports = session.jobs()
    if as_json:
        print_json([report.__dict__ for report in reports])
        return
    for report in reports:
        console.print(f"{report.job_id}  {report.name}  {report.status}")


@app.command("result")
def result_command(
    job_id: Annotated[str, typer.Argument(help="FLARE's id of the job")],
    kit: Annotated[Path, KIT_OPTION],
    out: Annotated[Path, typer.Option("--out", help="folder for the download")] = Path("build/results"),
    study: Annotated[str, STUDY_OPTION] = "default",
    job: Annotated[Path | None, typer.Option("--job", help="the exported folder, if another kit submitted it")] = None,
    of: Annotated[str | None, typer.Option("--of", help="take whatever job this user signed, if you lack it")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Fetch a finished job: rounds, releases and the model if all let it go, statistics, or an alignment's noised size.

    What the sites did not sign is refused, and so is another job's result: the server is not believed.

    Example: almoner job result 3f0e... --kit build/trial/users/lead@cleveland.example --study cardiology
    """
    verify_can_hold(out)
    with open_session(kit, study) as session:
        origin = _origin(kit, job_id, job, of)
        folder = session.download(job_id, out)
    found = read_vouched(folder, root_certificate(kit), job_id, origin)
    result, signed = found.result, f"signed by {', '.join(found.sites)}" if found.sites else "nothing that a site signs"
    if as_json:
        print_json({**result.model_dump(mode="json"), **_answers(result), "signed_by": list(found.sites)})
        return
    if result.statistics is not None:
        for where, answers in result.statistics.answers().items():
            console.print(f"{where}:", style="bold")
            for answer in answers:
                console.print(f"  {answer.sentence}")
        console.print(f"{result.job}: {signed}; files in {folder}")
        return
    if result.alignment is not None:
        console.print(f"{result.job}: {result.alignment.sentence()}; {signed}")
        return
    model = f"{len(result.model)} weights" if result.model is not None else "not released by all sites"
    console.print(f"{result.job}: {len(result.rounds)} rounds; model: {model}; {signed}; files in {folder}")


def _origin(kit: Path, job_id: str, job: Path | None, of: str | None) -> Origin:
    """Return which job a result must be of."""
    if job is not None and of is not None:
        raise FederationError("--job and --of → give one of them")
    if job is not None:
        return exported_job(job)
    return JobOf(of) if of is not None else submitted_job(kit, job_id)


def _answers(result: JobResult) -> dict[str, Any]:
    """Return what statistics say, for scripts; nothing for other jobs."""
    if result.statistics is None:
        return {}
    found = result.statistics.answers()
    return {"answers": {where: [answer.model_dump(mode="json") for answer in own] for where, own in found.items()}}


def _finish(report: JobReport) -> None:
    """Print a job's end and every refusal."""
    console.print(f"{report.job_id}: {report.status}")
    for answer in report.answers.values():
        if answer != "OK":
            console.print(answer)
    if not report.completed:
        raise typer.Exit(1)
