"""Ten banks on a real federation, one of which lies: what its updates do to a plain, a robust and a grouped job.

The jobs are those of the checkout, with fewer rounds and no release; they run one after the other, since ten job
processes take 3 GB. AUC is on the pooled test records, which are public. The malicious bank deviates in what it sends
alone (hooks/poison.py): it turns its updates round and magnifies them, as far as the grid goes.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from almoner.cli.main import main
from almoner.data.prepare import prepare_sites
from almoner.data.registry import CREDIT
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.session import UserSession, open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.flare.results.job_result import JobResult, read_result
from almoner.flare.site.group_files import read_records
from almoner.flare.site.site_files import LEDGER, load_kit
from almoner.privacy.ledger import Ledger
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.training.units import UnitRecords
from almoner.workloads.metrics import auc, outputs_at
from almoner.workloads.registry import workload

pytestmark = pytest.mark.slow
"""Ten sites and a second worker's federation would not fit into the 8 GB of a small machine."""

HOOKS = Path(__file__).parent / "hooks"
LEAD, LIAR = "lead@bank-01.example", "bank-04"
ROUNDS, JOB_SECONDS = 8, 300.0


@pytest.fixture(scope="module")
def consortium(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedConsortium:
    folder = tmp_path_factory.mktemp("banks")
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(root / name, folder / "declared" / name)
    for policy in (folder / "declared" / "policies" / "banks").glob("*.yaml"):
        policy.write_text(policy.read_text().replace("epsilon_cap: 6.0", "epsilon_cap: 50.0"))
    made = provision(folder / "declared", folder / "banks", free_port(), "banks")
    prepare_sites(CREDIT, root / "build" / "cache", folder / "banks" / "sites")
    return made


@pytest.fixture(scope="module")
def federation(consortium: ProvisionedConsortium) -> Iterator[Federation]:
    variables = {"PYTHONPATH": str(HOOKS), "ALMONER_TEST_POISON": f"{LIAR}:sign_flip", "ALMONER_TEST_NO_DEADLINE": "1"}
    with Federation(consortium, variables) as running:
        running.start(lambda text: None)
        yield running


@pytest.fixture(scope="module")
def session(consortium: ProvisionedConsortium, federation: Federation) -> Iterator[UserSession]:
    with open_session(consortium.user_kit(LEAD), "credit") as opened:
        yield opened


@pytest.fixture(scope="module")
def submit(
    root: Path, consortium: ProvisionedConsortium, session: UserSession, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """Submit one of the checkout's jobs, made short."""

    def run(file: str, suffix: str = "", rounds: int = ROUNDS) -> str:
        spec = load_document(root / "jobs" / f"{file}.yaml", JobSpec)
        spec = spec.model_copy(update={"rounds": rounds, "releases": (), "name": spec.name + suffix})
        return session.submit(export_job(spec, consortium.declarations, tmp_path_factory.mktemp("job")))

    return run


@pytest.fixture
def almoner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command line in this process; return what it prints."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["almoner", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def results(
    submit: Callable[..., str], session: UserSession, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, JobResult]:
    """Run clean, plain, robust and grouped, one after the other."""
    found = {}
    for name, (file, suffix) in {
        "clean": ("bank_credit_plain", "-clean"),
        "plain": ("bank_credit_plain", ""),
        "robust": ("bank_credit", ""),
        "grouped": ("bank_credit_secure", ""),
    }.items():
        job_id = submit(file, suffix)
        report = session.follow(job_id, lambda progress: None, JOB_SECONDS)
        assert report.completed, (name, report)
        found[name] = read_result(session.download(job_id, tmp_path_factory.mktemp(name)))
    return found


def pooled_auc(consortium: ProvisionedConsortium, models: dict[str, list[float]]) -> dict[str, float]:
    """Return each model's AUC on the test records of all banks."""
    torch.set_num_threads(1)
    task, sites = workload("bank_credit"), consortium.declarations.consortium.sites
    parts = [task.load(consortium.site_folder(site) / CREDIT.site_file).test for site in sites]
    test = UnitRecords(
        torch.cat([part.features for part in parts]),
        torch.cat([part.targets for part in parts]),
        np.arange(sum(len(part.targets) for part in parts)),
    )
    positive = test.targets.numpy() > 0
    return {name: auc(outputs_at(task, np.array(model), test).numpy(), positive) for name, model in models.items()}


@pytest.mark.threat("T-40")
def test_one_bank_ruins_the_plain_job_and_neither_robust_one(
    consortium: ProvisionedConsortium, results: dict[str, JobResult]
) -> None:
    """Two runs, with 3 local steps and learning rate 8: clean 0.845 and 0.845, plain 0.53 and 0.59, robust 0.842 and
    0.845, grouped 0.831 and 0.834. The bounds leave room for noise, whose spread was not measured.

    The median of three groups costs more than a rule over ten sites: with one group bad, each entry is the smaller or
    the larger of two noisy means.
    """
    found = pooled_auc(consortium, {name: result.model or [] for name, result in results.items()})
    print(found)
    assert found["clean"] > 0.8, found
    assert found["plain"] < found["clean"] - 0.1, found
    assert found["robust"] > found["clean"] - 0.015, found
    assert found["grouped"] > found["clean"] - 0.04, found


def test_reports_say_what_became_of_the_liar(consortium: ProvisionedConsortium, results: dict[str, JobResult]) -> None:
    sites = consortium.declarations.consortium.sites
    assert all(record.contributors == sites for result in results.values() for record in result.rounds)
    assert all(record.report is None for name in ("clean", "plain") for record in results[name].rounds)
    for record in results["robust"].rounds:
        assert record.report is not None
        weights = dict(zip(record.report["sites"], (row["weight"] for row in record.report["rows"]), strict=True))
        assert weights[LIAR] == min(weights.values())
    for record in results["grouped"].rounds:
        assert record.report is not None
        assert sorted(site for group in record.report["sites"] for site in group) == list(sites)
        assert len(record.report["clipped"]) == len(record.report["rows"]) == 3


@pytest.mark.threat("T-43")
def test_all_banks_store_the_same_groups(consortium: ProvisionedConsortium, results: dict[str, JobResult]) -> None:
    sites = consortium.declarations.consortium.sites
    records = {site: read_records(load_kit(consortium.site_folder(site) / "kit"))["credit"] for site in sites}
    [groups] = {record.groups for record in records.values()}
    assert groups is not None
    assert [len(group) for group in groups] == [4, 3, 3]
    assert results["grouped"].rounds[0].report is not None
    assert results["grouped"].rounds[0].report["sites"] == [list(group) for group in groups]
    for site in sites:
        with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
            assert [entry.kind for entry in ledger.entries()].count("groups") == 2


def test_the_job_goes_on_when_a_member_of_the_largest_group_is_killed(
    consortium: ProvisionedConsortium,
    federation: Federation,
    results: dict[str, JobResult],
    submit: Callable[..., str],
    session: UserSession,
    tmp_path: Path,
) -> None:
    groups = read_records(load_kit(consortium.site_folder("bank-01") / "kit"))["credit"].groups
    assert groups is not None
    victim = next(site for site in groups[0] if site not in ("bank-01", LIAR))
    killed: list[str] = []

    def kill(progress: dict[str, object]) -> None:
        if progress.get("phase") == "train" and not killed:
            killed.append(victim)
            federation.kill(victim)

    job_id = submit("bank_credit_secure", "-killed", rounds=2)
    report = session.follow(job_id, kill, JOB_SECONDS)
    assert report.completed, report
    result = read_result(session.download(job_id, tmp_path))
    assert result.rounds[-1].contributors == tuple(
        site for site in consortium.declarations.consortium.sites if site != victim
    )
    assert result.model is not None


@pytest.mark.threat("T-43")
def test_a_bank_with_other_stored_groups_refuses_the_job(
    consortium: ProvisionedConsortium,
    results: dict[str, JobResult],
    submit: Callable[..., str],
    session: UserSession,
    almoner: Callable[..., str],
) -> None:
    """The data officer of one bank approves a draw into two groups; no other bank's does."""
    site, officer = consortium.site_folder("bank-01"), consortium.user_kit("officer@bank-01.example") / "startup"
    assert "credit: epoch 1, 10 sites in 3 groups" in almoner("site", "groups", site)
    keys = ("--key", officer / "client.key", "--cert", officer / "client.crt")
    assert "epoch 2 is open" in almoner("site", "redraw", site, "credit", "--groups", "2", *keys, "--yes")
    report = session.follow(submit("bank_credit_secure", "-late", rounds=1), lambda progress: None, JOB_SECONDS)
    assert not report.completed
    assert "aggregation.groups" in report.answers["bank-01"]
