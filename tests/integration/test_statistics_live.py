"""Statistics on a real federation, beside training, on one account: until the account refuses.

One federation, tests in this order. Hooks write down what sites were about to send, and hold one site at a point.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.integration.conftest import JOB_SECONDS, LEAD, make_consortium
from tests.integration.proving import prove_all
from tests.integration.test_admin_console import UUID, ask, console
from tests.integration.test_protections_live import noted

from almoner.cli.statements import statement_rows
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation
from almoner.flare.commands.local_release import release_at_site
from almoner.flare.commands.session import JobReport, UserSession, open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.results.job_result import JobResult, read_result
from almoner.flare.site.dataset_commitments import commit_site_data
from almoner.flare.site.site_files import LEDGER, load_kit
from almoner.privacy.distributed_noise import shared_noise
from almoner.privacy.ledger import Ledger
from almoner.privacy.plans import plan_of
from almoner.release.tally import exact_cells
from almoner.schema.documents import load_document
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.job import JobSpec
from almoner.schema.statistics import StatisticsSpec

__all__ = ["console"]

HOOKS = Path(__file__).parent / "hooks"
SITES = ("cleveland", "hungary", "switzerland", "va-long-beach")
VICTIM = "hungary"
OTHERS = tuple(site for site in SITES if site != VICTIM)


@pytest.fixture(scope="module")
def consortium(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedConsortium:
    made = make_consortium(root, tmp_path_factory.mktemp("statistics") / "heart")
    for site in SITES:
        commit_site_data(load_kit(made.site_folder(site) / "kit"))
    return made


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the hooks write."""
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module", autouse=True)
def federation(consortium: ProvisionedConsortium, notes: Path) -> Iterator[Federation]:
    with Federation(consortium, {"PYTHONPATH": str(HOOKS), "ALMONER_TEST_ROUNDS": str(notes)}) as running:
        running.start(lambda text: None)
        yield running


@pytest.fixture(scope="module")
def session(consortium: ProvisionedConsortium, federation: Federation) -> Iterator[UserSession]:
    with open_session(consortium.user_kit(LEAD), "cardiology") as opened:
        yield opened


@pytest.fixture(scope="module")
def local(root: Path) -> StatisticsSpec:
    return load_document(root / "jobs" / "hospital_statistics.yaml", StatisticsSpec)


@pytest.fixture(scope="module")
def distributed(root: Path) -> StatisticsSpec:
    return load_document(root / "jobs" / "hospital_statistics_distributed.yaml", StatisticsSpec)


def almoner(*arguments: str) -> str:
    """Run a command as a user does; return what it prints."""
    command = [sys.executable, "-m", "almoner.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "250"}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def submit(session: UserSession, consortium: ProvisionedConsortium, spec: AnyJobSpec, out: Path) -> str:
    return session.submit(export_job(spec, consortium.declarations, out))


def ended(session: UserSession, job_id: str) -> JobReport:
    return session.follow(job_id, lambda progress: None, JOB_SECONDS)


def spent(consortium: ProvisionedConsortium, site: str) -> float:
    with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
        return ledger.account(f"{site}-cardiology").rdp_spent


def exact(consortium: ProvisionedConsortium, site: str, spec: StatisticsSpec) -> np.ndarray:
    return exact_cells(consortium.site_folder(site) / "data" / "heart.csv", spec)


def is_near(found: np.ndarray, truth: np.ndarray, spec: StatisticsSpec, num_sites: int) -> bool:
    """Tell whether noise of so many sites' size explains the difference; a false alarm in 10^8 runs."""
    sigmas = np.concatenate(
        [np.full(each.part.num_cells, each.sigma * np.sqrt(num_sites)) for each in shared_noise(spec, 4)]
    )
    return bool((np.abs(found - truth) < 7 * sigmas).all())


def test_the_console_takes_a_request_and_each_site_tells_its_own(
    console: "pexpect.spawn",  # noqa: F821
    consortium: ProvisionedConsortium,
    session: UserSession,
    local: StatisticsSpec,
    distributed: StatisticsSpec,
    tmp_path: Path,
) -> None:
    submitted = ask(console, f"submit_job {export_job(local, consortium.declarations, tmp_path)}")
    found = re.search(UUID, submitted)
    assert found, submitted
    assert ended(session, found.group()).completed
    ask(console, f"download_job {found.group()}")
    (download,) = (consortium.user_kit(LEAD) / "transfer").rglob(found.group())
    result = read_result(download).statistics
    assert result is not None
    assert set(result.by_site) == set(SITES)
    for site in SITES:
        own = np.array(result.by_site[site])
        assert is_near(own, exact(consortium, site, local), distributed, 1)
        assert (own != exact(consortium, site, local)).any()
    answers = result.answers()
    assert set(answers) == {*SITES, "all sites"}
    assert all(answer.sentence for answer in answers["all sites"])


def test_the_same_request_at_one_site_or_again_has_the_same_answer_for_nothing(
    consortium: ProvisionedConsortium, session: UserSession, local: StatisticsSpec, tmp_path: Path
) -> None:
    before = {site: spent(consortium, site) for site in SITES}
    again = submit(session, consortium, local.model_copy(update={"name": "again"}), tmp_path)
    assert ended(session, again).completed
    result = read_result(session.download(again, tmp_path / "again")).statistics
    assert result is not None
    kit = load_kit(consortium.site_folder("cleveland") / "kit")
    alone = release_at_site(kit, local, consortium.user_kit(LEAD))
    assert alone.repeated
    assert alone.answers == result.answers()["cleveland"]
    assert {site: spent(consortium, site) for site in SITES} == before


def test_only_the_noised_total_opens(
    consortium: ProvisionedConsortium,
    session: UserSession,
    distributed: StatisticsSpec,
    notes: Path,
    tmp_path: Path,
) -> None:
    job_id = submit(session, consortium, distributed, tmp_path)
    assert ended(session, job_id).completed
    result = read_result(session.download(job_id, tmp_path / "download"))
    total = np.array(result.statistics.total if result.statistics else ())
    sent = {site: np.array(noted(notes, job_id, site, "update")[1]) for site in SITES}
    assert (total == sum(sent.values())).all()
    kit, out = str(consortium.user_kit(LEAD)), str(tmp_path / "printed")
    printed = almoner("job", "result", job_id, "--kit", kit, "--study", "cardiology", "--out", out)
    assert "all sites:" in printed
    assert "2 of 4 sites keep their noise" in printed or "95 %" in printed
    truth = sum(exact(consortium, site, distributed) for site in SITES)
    assert is_near(total, truth, distributed, 2)
    assert (sent["hungary"] != exact(consortium, "hungary", distributed)).any()
    assert result.statistics is not None
    assert result.statistics.by_site == {}


def test_training_and_releases_draw_on_one_account_until_it_refuses(
    consortium: ProvisionedConsortium, session: UserSession, heart_spec: JobSpec, tmp_path: Path
) -> None:
    privacy = heart_spec.privacy.model_copy(update={"target_epsilon": 1.3})
    spec = heart_spec.model_copy(update={"rounds": 2, "privacy": privacy})
    reports: list[JobReport] = []
    while not reports or (reports[-1].completed and len(reports) < 8):
        reports.append(ended(session, submit(session, consortium, spec, tmp_path / str(len(reports)))))
    refusal = reports[-1].answers["cleveland"]
    assert len(reports) > 1, "at least one job was trained"
    assert "refused by cleveland" in refusal
    assert "budget.remaining" in refusal
    with Ledger.open(consortium.site_folder("cleveland") / LEDGER) as ledger:
        ledger.verify()
        (rows,) = statement_rows(ledger).values()
        account = ledger.account("cleveland-cardiology")
    kinds = [row["kind"] for row in rows]
    assert kinds == ["statistics"] * 3 + ["training"] * (len(reports) - 1)
    assert [row["rdp"] == 0 for row in rows].count(True) == 1, "the repeated request"
    printed = almoner("ledger", "report", str(consortium.site_folder("cleveland")))
    assert printed.count("hospital-statistics") >= 2
    assert printed.count("heart-disease") == len(reports) - 1
    assert rows[-1]["epsilon_after"] == account.epsilon_spent <= 3.0
    assert sum(row["rdp"] for row in rows) == pytest.approx(account.rdp_spent)
    assert json.dumps(rows)


@pytest.mark.threat("T-70")
def test_a_site_drops_out_and_the_rest_is_noised_enough(
    consortium: ProvisionedConsortium,
    session: UserSession,
    distributed: StatisticsSpec,
    notes: Path,
    tmp_path: Path,
) -> None:
    """The site fails when it was charged and had drawn its noise, but nothing of it was sent."""
    before = spent(consortium, VICTIM)
    job_id = submit(session, consortium, distributed.model_copy(update={"name": "fail-train"}), tmp_path)
    assert ended(session, job_id).completed
    result = read_result(session.download(job_id, tmp_path / "download")).statistics
    assert result is not None
    assert result.contributors == OTHERS
    sent = [np.array(noted(notes, job_id, site, "update")[1]) for site in OTHERS]
    assert list(result.total) == sum(sent).tolist()
    truth = sum(exact(consortium, site, distributed) for site in OTHERS)
    assert is_near(np.array(result.total), truth, distributed, 2)
    with Ledger.open(consortium.site_folder(VICTIM) / LEDGER) as ledger:
        order = ledger.account(f"{VICTIM}-cardiology").filter.order
    assert spent(consortium, VICTIM) - before == pytest.approx(plan_of(distributed, 4).charge(order)), "charged"


class TestAReader:
    """What the submitter reads from the downloaded result is no more than what left."""

    def test_results_hold_no_exact_number(self, consortium: ProvisionedConsortium, distributed: StatisticsSpec) -> None:
        truth = [exact(consortium, site, distributed).tolist() for site in SITES]
        for path in (consortium.user_kit(LEAD) / "transfer").rglob("almoner_result.json"):
            result = JobResult.model_validate_json(path.read_bytes()).statistics
            assert result is None or all(list(cells) not in truth for cells in result.by_site.values())


def test_every_kind_of_request_can_be_proven(consortium: ProvisionedConsortium) -> None:
    """Answered, answered again for nothing, added up, trained on the same account, and with a site that failed."""
    verdicts = prove_all(consortium, VICTIM)
    names = {name for name, _ in verdicts}
    assert {"hospital-statistics", "again", "hospital-statistics-distributed", "heart-disease", "fail-train"} == names
    for verdict in verdicts.values():
        assert not any("model" in gap or "policy" in gap for gap in verdict.gaps)
