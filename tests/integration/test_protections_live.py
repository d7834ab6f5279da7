"""The protections on a real federation: one model under all of them, sites killed in mid-round, a server that lies.

One federation runs all jobs. Its server and sites run the package as it is; hooks fix the sites' noise, write down
what they were about to send, hold one site at a point, and make the server lie (see hooks/rounds.py and lies.py).
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integration.conftest import JOB_SECONDS, LEAD
from tests.integration.proving import prove_all
from tests.integration.test_site_killed import wait_until

from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE
from almoner.experiments.public import load_public_sites
from almoner.experiments.whole_job import simulate_job
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.session import JobReport, UserSession, open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.flare.processes.abandoned_jobs import REASON
from almoner.flare.results.job_result import JobResult, read_result
from almoner.flare.site.job_folder import JOB_LOGS
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.privacy.plans import plan_of
from almoner.schema.aggregation import HeAggregation, PlainAggregation, RobustAggregation, SecaggAggregation
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec, NoPrivacy, TrainingPrivacy
from almoner.training.noise import UnsafeSeededRandom

HOOKS = Path(__file__).parent / "hooks"
SITES = ("cleveland", "hungary", "switzerland", "va-long-beach")
VICTIM = "hungary"
ROUNDS = 3
AGGREGATIONS = {
    "plain": PlainAggregation(kind="plain"),
    "he": HeAggregation(kind="he", num_colluding_sites=1),
    "secagg": SecaggAggregation(kind="secagg", num_colluding_sites=1),
}
ROBUST = RobustAggregation(kind="robust", rule="median", num_byzantine_sites=1)
WIDER = {
    "max_epsilon_cap: 3.0": "max_epsilon_cap: 100.0",
    "epsilon_cap: 3.0": "epsilon_cap: 100.0",
    "protection: [he, secagg]": "protection: [plain, robust, he, secagg]",
}
"""What the consortium of these tests admits beyond the checkout's: plain jobs, and many jobs."""


@pytest.fixture(scope="module")
def consortium(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedConsortium:
    folder = tmp_path_factory.mktemp("protections")
    for name in ("provisioning", "policies", "site_configs", "jobs"):
        shutil.copytree(root / name, folder / "declared" / name)
    for policy in (folder / "declared" / "policies").glob("*.yaml"):
        text = policy.read_text()
        for narrow, wide in WIDER.items():
            text = text.replace(narrow, wide)
        policy.write_text(text)
    made = provision(folder / "declared", folder / "heart", free_port())
    prepare_sites(HEART_DISEASE, root / "build" / "cache", folder / "heart" / "sites")
    return made


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the hooks write."""
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module", autouse=True)
def federation(consortium: ProvisionedConsortium, notes: Path) -> Iterator[Federation]:
    variables = {"PYTHONPATH": str(HOOKS), "ALMONER_TEST_ROUNDS": str(notes), "ALMONER_TEST_LIES": "1"}
    with Federation(consortium, variables) as running:
        running.start(lambda text: None)
        yield running


@pytest.fixture(scope="module")
def session(consortium: ProvisionedConsortium, federation: Federation) -> Iterator[UserSession]:
    with open_session(consortium.user_kit(LEAD), "cardiology") as opened:
        yield opened


@pytest.fixture
def submit(
    consortium: ProvisionedConsortium, session: UserSession, heart_spec: JobSpec, tmp_path: Path
) -> Callable[..., str]:
    def run(kind: str, name: str = "heart-disease", min_sites: int = heart_spec.min_sites) -> str:
        changes = {"name": name, "rounds": ROUNDS, "releases": (), "aggregation": AGGREGATIONS.get(kind, ROBUST)}
        spec = heart_spec.model_copy(update={**changes, "min_sites": min_sites})
        return session.submit(export_job(spec, consortium.declarations, tmp_path / name / kind))

    return run


def ended(session: UserSession, job_id: str) -> JobReport:
    return session.follow(job_id, lambda progress: None, JOB_SECONDS)


def result_of(session: UserSession, job_id: str, out: Path) -> JobResult:
    report = ended(session, job_id)
    assert report.completed, report
    return read_result(session.download(job_id, out))


def noted(notes: Path, job_id: str, site: str, what: str) -> dict[int, Any]:
    """Return what a site's hook wrote down about each round."""
    path = notes / f"{job_id}.{site}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["round"]: line[what] for line in lines if what in line}


def check_sums(notes: Path, job_id: str, result: JobResult, sites: tuple[str, ...]) -> None:
    """Check at each of these sites that what it opened is the sum of what the contributors were about to send."""
    updates = {site: noted(notes, job_id, site, "update") for site in SITES}
    for site in sites:
        totals, contributors = (noted(notes, job_id, site, what) for what in ("total", "sites"))
        for record in result.rounds[: len(totals)]:
            assert tuple(contributors[record.round]) == record.contributors
            assert (
                totals[record.round]
                == np.sum([updates[name][record.round] for name in record.contributors], 0).tolist()
            )
        assert len(totals) >= ROUNDS - 1, "of the last round the total is applied only by the site that gives the model"


def test_one_model_under_all_protections(
    session: UserSession, submit: Callable[..., str], notes: Path, tmp_path: Path
) -> None:
    jobs = {kind: submit(kind, min_sites=len(SITES)) for kind in AGGREGATIONS}
    results = {kind: result_of(session, job_id, tmp_path / kind) for kind, job_id in jobs.items()}
    for kind, result in results.items():
        assert [record.contributors for record in result.rounds] == [SITES] * ROUNDS
        assert all(len(record.commitments_root) == 64 * (kind == "secagg") for record in result.rounds)
        check_sums(notes, jobs[kind], result, SITES)
        for site in SITES:
            assert noted(notes, jobs[kind], site, "update") == noted(notes, jobs["plain"], site, "update")
        assert result.model is not None
        assert np.abs(result.model).max() > 0
        assert result.model == results["plain"].model, "to the last bit"


def test_a_robust_rule_in_clear(
    consortium: ProvisionedConsortium,
    session: UserSession,
    submit: Callable[..., str],
    heart_spec: JobSpec,
    notes: Path,
    tmp_path: Path,
) -> None:
    """Every site takes its step along what the rule makes of the four updates; the report says who counted."""
    job_id = submit("robust", min_sites=len(SITES))
    result = result_of(session, job_id, tmp_path)
    declared = consortium.declarations.nominal_records(heart_spec.dataset, SITES)
    sizes = np.array([declared[site] for site in SITES], dtype=np.float64)
    updates = {site: noted(notes, job_id, site, "update") for site in SITES}
    q = heart_spec.privacy.sampling_prob
    for number, record in enumerate(result.rounds[:-1], start=1):
        assert record.report is not None
        assert (record.report["rule"], record.report["sites"]) == ("median", list(SITES))
        rows = [np.float32(np.array(updates[site][number]) / (q * declared[site])) for site in SITES]
        expected = np.rint(np.median(rows, axis=0) * q * sizes.sum())
        for site in SITES:
            assert np.abs(noted(notes, job_id, site, "total")[number] - expected).max() <= 1
    assert result.model is not None


def test_without_noise_and_with_shared_noise(
    consortium: ProvisionedConsortium,
    session: UserSession,
    heart_spec: JobSpec,
    root: Path,
    notes: Path,
    tmp_path: Path,
) -> None:
    """Both at once. Every site opens the exact sum, of values that 16 bits do not hold, and is charged for the one.

    Of the other nothing is random, so its model is to the last bit that of the same job in one process.
    """
    bare = {name: getattr(heart_spec.privacy, name) for name in TrainingPrivacy.model_fields} | {"sampling_prob": 1.0}
    shared = load_document(root / "jobs" / "heart_disease_distributed.yaml", JobSpec)
    shared = shared.model_copy(update={"privacy": shared.privacy.model_copy(update={"target_epsilon": 0.05})})
    changes = {"privacy": NoPrivacy(mechanism="none", **bare), "releases": (), "name": "heart-disease-public"}
    none = shared.model_copy(update={**changes, "min_sites": len(SITES)})
    specs = {spec.name: spec.model_copy(update={"rounds": ROUNDS, "releases": ()}) for spec in (shared, none)}
    account = f"{VICTIM}-cardiology"
    with Ledger.open(consortium.site_folder(VICTIM) / LEDGER) as ledger:
        before = ledger.account(account)
    jobs = {
        name: session.submit(export_job(spec, consortium.declarations, tmp_path / name)) for name, spec in specs.items()
    }
    for name, job_id in jobs.items():
        result = result_of(session, job_id, tmp_path / f"{name}-result")
        check_sums(notes, job_id, result, SITES)
        assert result.model is not None
        assert np.abs(result.model).max() > 0
    public = load_public_sites(specs[none.name], consortium.declarations, root / "build" / "cache")
    assert result.model == simulate_job(specs[none.name], public, rng=UnsafeSeededRandom(0)).tolist()
    sent = [np.abs(noted(notes, jobs[shared.name], site, "update")[1]).max() for site in SITES]
    assert max(sent) > 32_767, "beyond what other jobs' values saturate at"
    with Ledger.open(consortium.site_folder(VICTIM) / LEDGER) as ledger:
        charge = plan_of(specs[shared.name], len(SITES)).charge(before.filter.order)
        assert ledger.account(account).rdp_spent - before.rdp_spent == charge, "and nothing for the other"
        assert all(ledger.committed(job_id, f"train-{ROUNDS:04d}") for job_id in jobs.values())
        ledger.verify()


HOLDS = {"train": [4, 3, 3], "acknowledge": [4, 4, 3], "reveal": [4, 4, 3]}
"""Where the victim stands when it is killed → how many contribute to each round."""


@pytest.mark.threat("T-09")
def test_a_site_is_killed_before_m1_before_ack_and_before_m3(
    consortium: ProvisionedConsortium,
    federation: Federation,
    session: UserSession,
    submit: Callable[..., str],
    notes: Path,
    tmp_path: Path,
) -> None:
    """Three jobs at once, in each of which the site stands at another point when it is killed."""
    jobs = {task: submit("secagg", f"hold-{task}") for task in HOLDS}
    wait_until(lambda: all((notes / f"{job_id}.held").exists() for job_id in jobs.values()), 180.0)
    federation.kill(VICTIM)
    others = tuple(site for site in SITES if site != VICTIM)
    for task, job_id in jobs.items():
        result = result_of(session, job_id, tmp_path / task)
        assert [len(record.contributors) for record in result.rounds] == HOLDS[task], task
        assert (VICTIM in result.rounds[1].contributors) == (task != "train")
        assert result.model is not None
        check_sums(notes, job_id, result, others)
        with Ledger.open(consortium.site_folder(VICTIM) / LEDGER) as ledger:
            assert ledger.committed(job_id, "train-0002")
            assert not ledger.committed(job_id, "train-0003")
    federation.start_one(VICTIM)
    federation.wait_for_sites(SITES)


LIES = {
    "swapped-keys": ("confirm", 0, "set-up of hungary: not signed with its certificate's key"),
    "split-ring": ("acknowledge", 2, "the signature does not verify"),
    "split-roll": ("reveal", 2, "the signature does not verify"),
    "no-roll": ("reveal", 2, "reveal of round 2 is not allowed now"),
    "smaller-ring": ("train", 2, "begin of round 2 is not allowed now"),
}
"""Lie of the server → the task that the sites do not answer, in which round, and what they say about it."""

TO_THE_VICTIM = {
    ("swapped-keys", VICTIM): "this is not what hungary said",
    ("split-ring", VICTIM): "the contributors: not sites of the job in its order",
}


@pytest.mark.threat("T-35")
@pytest.mark.threat("T-36")
def test_sites_end_the_job_of_a_server_that_lies(
    consortium: ProvisionedConsortium, session: UserSession, submit: Callable[..., str], notes: Path
) -> None:
    jobs = {lie: submit("secagg", lie) for lie in LIES}
    for lie, job_id in jobs.items():
        assert not ended(session, job_id).completed, lie
        task, number, reason = LIES[lie]
        for site in SITES:
            log = consortium.site_folder(site) / JOB_LOGS / f"{job_id}.txt"
            wait_until(log.exists, 60.0)
            lines = [line for line in log.read_text().splitlines() if f"task {task} not answered" in line]
            if (lie, site) in TO_THE_VICTIM:
                assert TO_THE_VICTIM[lie, site] in lines[0]
            elif (lie, site) != ("smaller-ring", VICTIM):
                assert reason in lines[0], (lie, site)
            assert max(noted(notes, job_id, site, "task"), default=0) <= number
            assert noted(notes, job_id, site, "task").get(2) != "reveal", "no share of round 2 has left"
            with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
                assert ledger.committed(job_id, "train-0001") == (number == 2)
                assert not ledger.committed(job_id, "train-0003")


def test_a_server_that_restarts_between_rounds_ends_the_job(
    consortium: ProvisionedConsortium, federation: Federation, submit: Callable[..., str], notes: Path
) -> None:
    """The last test of the module: it takes the session's server away."""
    job_id = submit("secagg", "between-rounds")
    wait_until((notes / "2.held").exists, 120.0)
    federation.kill("server")
    federation.start_one("server")
    federation.wait_for_sites(SITES)
    with open_session(consortium.user_kit(LEAD), "cardiology") as session:
        report = session.report(job_id)
    assert report.status == "FINISHED:ABANDONED"
    assert report.answers["server"] == REASON
    for site in SITES:
        with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
            wait_until(lambda ledger=ledger: all(job.job_id != job_id for job in ledger.open_jobs()), 120.0)
            assert ledger.committed(job_id, "train-0001")
            assert not ledger.committed(job_id, "train-0002")
            ledger.verify()


def test_jobs_under_every_protection_can_be_proven(consortium: ProvisionedConsortium) -> None:
    kinds = {kind for _, kind in prove_all(consortium, SITES[0])}
    assert {*AGGREGATIONS, "robust"} <= kinds
