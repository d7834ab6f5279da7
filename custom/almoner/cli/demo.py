"""`almoner demo`: the main job end to end on real processes, and three jobs that must fail."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from almoner.cli.app import console
from almoner.cli.demo_tables import account_table, model_table, release_lines
from almoner.cli.live import lead_of, run_live, stop_on_sigterm
from almoner.data.atomic import write_atomically
from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE
from almoner.errors import FederationError
from almoner.experiments.public import load_public_sites
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.session import JobReport, open_session
from almoner.flare.evidence.audit_folders import Extras, pack_job
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.flare.site.dataset_commitments import commit_site_data
from almoner.flare.site.site_files import LEDGER, ROOT_CA, load_kit
from almoner.privacy.ledger import Ledger
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
    stop_on_sigterm()
    start = time.monotonic()
    spec = load_document(root / "jobs" / "heart_disease.yaml", JobSpec)
    consortium = _prepare(root, build)
    lead = lead_of(consortium.declarations.consortium, spec.study)
    with Federation(consortium) as federation:
        _say(3, "start the server and four sites: real processes, mTLS on localhost")
        federation.start(lambda text: console.print(f"  {text}"))
        _say(4, f"submit jobs/heart_disease.yaml as {lead}")
        result = run_live(consortium, spec, lead, JOB_TIMEOUT_SECONDS)
        _say(5, "what came out")
        console.print(model_table(spec, result, load_public_sites(spec, consortium.declarations, build / "cache")))
        console.print("  one split, so ± 2.7 points (one standard error); the mean over five splits: make bench")
        for line in release_lines(spec, result):
            console.print(f"  {line}")
        console.print(account_table(consortium, spec))
        _say(6, "three jobs that must fail, and what their submitters read")
        _refuse_greedy(consortium, spec, lead)
        _refuse_edited(consortium, spec, lead)
        _refuse_trainee(consortium, spec)
        _say(7, "shut everything down")
    _say(8, "pack the evidence of the first job, and verify it as a stranger would")
    _pack_evidence(consortium, root)
    console.print(f"done in {time.monotonic() - start:.0f} s; all state is in {consortium.root}")
    console.print(f"look at a ledger: almoner ledger show {consortium.site_folder('cleveland')}")


def _pack_evidence(consortium: ProvisionedConsortium, root: Path) -> None:
    """Pack and verify the evidence of the job that ran, and write its report."""
    from almoner.audit.pack_verify import verify_pack
    from almoner.audit.report import render_report

    sites = tuple(consortium.site_folder(site) for site in consortium.declarations.consortium.sites)
    with Ledger.open(sites[0] / LEDGER) as ledger:
        job_id = next(json.loads(entry.payload)["job_id"] for entry in ledger.entries() if entry.kind == "started")
    threats = root / "threat_model" / "threats.yaml"
    pack = pack_job(consortium.root / "server", sites, job_id, Extras(threats=threats if threats.exists() else None))
    pack_path, page_path = consortium.root / "evidence.zip", consortium.root / "evidence.html"
    root_cert = consortium.server_kit / ROOT_CA
    verdict = verify_pack(pack, root_cert.read_bytes())
    write_atomically(pack_path, pack)
    write_atomically(page_path, render_report(verdict).encode())
    for check in verdict.checks:
        console.print(f"  ✓ {check}")
    for gap in verdict.gaps:
        console.print(f"  △ not shown: {gap}")
    console.print(f"  pack: {pack_path}   page: {page_path}")
    console.print(f"  check it yourself: almoner audit verify {pack_path} --root-cert {root_cert}")


def _say(number: int, text: str) -> None:
    """Print a step's heading."""
    console.print(f"{number}. {text}", style="bold")


def _prepare(root: Path, build: Path) -> ProvisionedConsortium:
    """Fetch the data, provision, and put each hospital's part into its own folder."""
    number = 1
    while (out := build / f"demo-{number}").exists():
        number += 1
    _say(
        1,
        f"fetch {HEART_DISEASE.archive.package} {HEART_DISEASE.archive.version}, split by keyed hash of the record id",
    )
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
    trainee = next(user.name for user in consortium.declarations.consortium.users if user.role == "trainee")
    console.print(f"c. {trainee} submits: FLARE lets trainees submit, no policy admits them", style="bold")
    folder = export_job(spec, consortium.declarations, consortium.root / "jobs")
    _submit_refused(consortium, spec.study, trainee, folder)
