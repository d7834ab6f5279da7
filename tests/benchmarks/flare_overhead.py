"""What a round and a job cost beyond training, in our federation and in stock FLARE.

Both run on this machine, one after the other: a server and four sites, real processes, grpc with mTLS on
localhost. Ours runs jobs/heart_disease.yaml (HE on) without its release; stock runs FedAvg on a vector of the
same length, with a script that returns what it was sent. Times are read from the logs: see `flare_times`.

- A round is timed from a site's one training task to its next. From ours the training is taken out: that of
  one round at the largest site, measured in this process with the federation stopped. In the federation four
  sites share the processors, so less is taken out than training really took.
- A job's fixed time is that from submit to FINISHED. With us it is that of a job of no rounds: admission,
  process start, set-up, the model, the end. `job_fixed_s_heart` is that of the heart job less its rounds; the
  noise calibration and the first round's warm-up are in it. In stock it is that of a job less its rounds.
- `job_cpu_s` is the processor time of all processes of the federation from submit to FINISHED, rounds and all;
  it depends less on what else the machine does. What our sites import at their own start is not in it.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tests.benchmarks.flare_stock import StockFederation
from tests.benchmarks.flare_times import PHASES, JobTimes, Places, federation_cpu, read_times

from almoner.admission.grid import job_grid
from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.session import UserSession, open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.privacy.plan import job_events
from almoner.schema.declarations import job_sites
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.training.dp_sgd import DpSgdTrainer
from almoner.training.flat import flatten
from almoner.training.noise import SecureRandom
from almoner.workloads.registry import workload

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
JOBS = 3
"""Jobs of each kind; figures are their medians."""

STOCK_ROUNDS = 4
STOCK_SITES = ("site-1", "site-2", "site-3", "site-4")
TARGET_EPSILON = 0.5
"""Less than the job's own ε, so that one account holds for all jobs; it changes no message's size."""

POLL_SECONDS = 1.0
JOB_TIMEOUT_SECONDS = 180.0


def heart_spec() -> JobSpec:
    """Return the main job at the benchmark's ε, without its release."""
    spec = load_document(ROOT / "jobs" / "heart_disease.yaml", JobSpec)
    privacy = spec.privacy.model_copy(update={"target_epsilon": TARGET_EPSILON})
    return spec.model_copy(update={"privacy": privacy, "releases": ()})


def run_job(session: UserSession, folder: Path, places: Places, rounds: int) -> JobTimes:
    """Submit a job, wait for its end, and read its times; the server is asked seldom, so as not to slow it.

    Raises:
        RuntimeError: when the job did not complete.
    """
    cpu, submit = federation_cpu(), time.time()
    job_id = session.submit(folder)
    while not (report := session.report(job_id)).status.startswith("FINISHED"):
        if time.time() > submit + JOB_TIMEOUT_SECONDS:
            raise RuntimeError(f"{folder.name}: still {report.status} after {JOB_TIMEOUT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    if not report.completed:
        raise RuntimeError(f"{folder.name}: {report.status}: {'; '.join(report.answers.values())}")
    return read_times(places, job_id, submit, rounds, federation_cpu() - cpu)


@contextmanager
def running_consortium(folder: Path, environment: dict[str, str] | None = None) -> Iterator[ProvisionedConsortium]:
    """Provision the checkout's consortium, give the sites their data, and run it."""
    consortium = provision(ROOT, folder, free_port())
    prepare_sites(HEART_DISEASE, BUILD / "cache", folder / "sites")
    with Federation(consortium, environment) as federation:
        federation.start(lambda text: None)
        yield consortium


def measure_ours(folder: Path) -> tuple[list[JobTimes], list[JobTimes], float]:
    """Measure our federation.

    Args:
        folder: scratch folder that does not exist yet.

    Returns:
        Times of the jobs without rounds, of those with rounds, and of one round's training alone, in seconds.
    """
    spec = heart_spec()
    empty = spec.model_copy(update={"rounds": 0})
    times: dict[int, list[JobTimes]] = {0: [], spec.rounds: []}
    with running_consortium(folder) as consortium:
        lead = next(user.name for user in consortium.declarations.consortium.users if user.role == "lead")
        kits = tuple(consortium.site_folder(site) / "kit" for site in consortium.declarations.consortium.sites)
        places = Places(consortium.server_kit, kits, folder / "server" / "jobs")
        with open_session(consortium.user_kit(lead), spec.study) as session:
            for job in [empty, spec] * JOBS:
                exported = export_job(job, consortium.declarations, folder / "jobs")
                times[job.rounds].append(run_job(session, exported, places, job.rounds))
    return times[0], times[spec.rounds], _training_seconds(spec, consortium)


def _training_seconds(spec: JobSpec, consortium: ProvisionedConsortium) -> float:
    """Return the median time of one round's training at the largest site, after a warm-up round."""
    declarations = consortium.declarations
    sizes = declarations.nominal_records(spec.dataset, job_sites(spec, declarations))
    site = max(sizes, key=lambda name: sizes[name])
    task, plan = workload(spec.workload), job_events(spec)
    model = task.build_model()
    torch.set_num_threads(1)
    trainer = DpSgdTrainer(
        model,
        task.loss,
        task.load(consortium.site_folder(site) / declarations.sites[site].datasets[spec.dataset].path).train,
        max_grad_norm=spec.privacy.max_grad_norm,
        noise_multiplier=plan.noise_multiplier,
        sampling_prob=spec.privacy.sampling_prob,
        local_steps=spec.training.local_steps,
        learning_rate=spec.training.learning_rate,
        nominal_records=sizes[site],
        grid=job_grid(spec, plan.noise_multiplier, sizes.values(), task.dimension),
        rng=SecureRandom(),
    )
    weights, seconds = flatten(model), []
    for _ in range(spec.rounds + 1):
        start = time.perf_counter()
        trainer.run_round(weights)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def measure_stock(folder: Path) -> list[JobTimes]:
    """Measure stock jobs on a vector of the heart model's length.

    Args:
        folder: scratch folder that does not exist yet.
    """
    dimension = workload(heart_spec().workload).dimension
    with StockFederation(folder, STOCK_SITES) as federation:
        federation.start()
        exported = federation.export_job(STOCK_ROUNDS, [0.0] * dimension)
        with open_session(federation.user_kit) as session:
            return [run_job(session, exported, federation.places, STOCK_ROUNDS) for _ in range(JOBS)]


def _median(values: Iterator[float], digits: int) -> float:
    return round(statistics.median(values), digits)


def _phases(jobs: list[JobTimes]) -> dict[str, float]:
    """Return the median of each phase, rounds left out."""
    return {name: _median((job.fixed_phases[name] for job in jobs), 2) for name in PHASES}


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder that is removed again; after an error it stays, since the logs in it tell why."""
    BUILD.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-flare-", dir=BUILD))
    try:
        yield folder
    except BaseException as error:
        error.add_note(f"the federation's files and logs are in {folder}")
        raise
    shutil.rmtree(folder)


def run() -> dict[str, object]:
    """Measure both federations.

    Returns:
        Figures in seconds, each a median over `jobs` jobs; `phases` say where a job's fixed time goes.
    """
    with scratch() as folder:
        empty, heart, training = measure_ours(folder / "almoner")
        stock = measure_stock(folder / "stock")
    overhead = _median((job.round_s for job in heart), 4) - training
    theirs = _median((job.round_s for job in stock), 4)
    return {
        "round_overhead_s": round(overhead, 3),
        "round_overhead_s_stock": round(theirs, 3),
        "round_overhead_vs_stock": round(overhead / theirs, 3),
        "round_training_s": round(training, 4),
        "job_fixed_s": _median((job.fixed_s for job in empty), 1),
        "job_fixed_s_stock": _median((job.fixed_s for job in stock), 1),
        "job_fixed_s_heart": _median((job.fixed_s for job in heart), 1),
        "job_cpu_s": _median((job.cpu_s for job in empty), 1),
        "job_cpu_s_stock": _median((job.cpu_s for job in stock), 1),
        "job_cpu_s_heart": _median((job.cpu_s for job in heart), 1),
        "jobs": JOBS,
        "rounds": heart[0].rounds,
        "rounds_stock": STOCK_ROUNDS,
        "phases": _phases(empty),
        "phases_stock": _phases(stock),
        "phases_heart": _phases(heart),
    }
