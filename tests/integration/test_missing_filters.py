"""What leaves a site whose privacy filters are missing, or whose executor fails; each attack beside its control.

Six jobs of one round run on one federation, with one faulty site (hooks/faults.py); the others are honest. A
recorder writes down what each process sends and whether it contains the update that its executor made.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import LEAD

from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation
from almoner.flare.commands.session import open_session
from almoner.flare.job.wire import PAYLOAD_KEY
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.results.job_result import JobResult, read_result
from almoner.flare.site.job_folder import JOB_LOGS
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.schema.job import JobSpec

FAULTY = "hungary"
HONEST = ("cleveland", "switzerland", "va-long-beach")
AT_ONCE = ("unfiltered", "unfiltered-unsealed", "unsealed", "failing", "uncaught")
LATER = ("no-privacy-file",)
REFUSAL_BYTES = 17

pytestmark = pytest.mark.threat("T-05")


@dataclass(frozen=True)
class Ran:
    """One job that has ended."""

    job_id: str
    result: JobResult
    records: dict[str, list[dict[str, Any]]]
    """By site: what its job process encoded and sent."""

    def sends(self, site: str) -> list[dict[str, Any]]:
        """The results that left."""
        sent = [entry for entry in self.records[site] if entry["at"] == "send"]
        return [entry for entry in sent if "submit_update" in entry["headers"].values()]

    def answers(self, site: str) -> list[dict[str, Any]]:
        """What FLARE was to send as results, before it serialised it."""
        encoded = [entry["payload"] for entry in self.records[site] if entry["at"] == "encode"]
        return [one for one in encoded if isinstance(one, dict) and "__task_name__" in one.get("__headers__", {})]

    def trained(self, site: str) -> dict[str, Any]:
        """What FLARE was to send as the result of the round, before it serialised it."""
        return [one for one in self.answers(site) if one["__headers__"]["__task_name__"] == "train"][-1]

    def marked(self, site: str) -> list[dict[str, Any]]:
        return [entry for entry in self.records[site] if entry.get("marked")]


@pytest.fixture(scope="module")
def jobs(
    consortium: ProvisionedConsortium, heart_spec: JobSpec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Ran]]:
    folder, recording = tmp_path_factory.mktemp("jobs"), tmp_path_factory.mktemp("recording")
    environment = {
        "PYTHONPATH": str(Path(__file__).parent / "hooks"),
        "ALMONER_TEST_RECORD": str(recording),
        "ALMONER_TEST_FAULTS": FAULTY,
    }
    privacy = heart_spec.privacy.model_copy(update={"target_epsilon": 0.05})
    spec = heart_spec.model_copy(update={"rounds": 1, "releases": (), "privacy": privacy})
    results: dict[str, tuple[str, JobResult]] = {}
    with Federation(consortium, environment) as federation:
        federation.start(lambda text: None)
        with open_session(consortium.user_kit(LEAD), spec.study) as session:
            for batch in (AT_ONCE, LATER):
                ids = {}
                for name in batch:
                    if name == "no-privacy-file":
                        (consortium.site_folder(FAULTY) / "kit" / "local" / "privacy.json").unlink()
                    job = spec.model_copy(update={"name": name})
                    ids[name] = session.submit(export_job(job, consortium.declarations, folder))
                for name, job_id in ids.items():
                    report = session.follow(job_id, lambda progress: None, 300.0)
                    assert report.completed, (name, report)
                    results[name] = job_id, read_result(session.download(job_id, folder / name))
    processes = by_process(recording)
    return {
        name: Ran(job_id, result, {site: processes[f"{site}.{job_id}"] for site in (FAULTY, *HONEST)})
        for name, (job_id, result) in results.items()
    }


def by_process(recording: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what each process wrote down, by the process's name."""
    found = {}
    for path in recording.glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        senders = {line["from"] for line in lines if line["at"] == "send"}
        found |= dict.fromkeys(senders, lines)
    return found


@pytest.mark.parametrize("name", AT_ONCE + LATER)
def test_the_job_goes_on_with_the_others(jobs: dict[str, Ran], name: str) -> None:
    assert [record.contributors for record in jobs[name].result.rounds] == [HONEST]
    for site in HONEST:
        tasks = Counter(answer["__headers__"]["__task_name__"] for answer in jobs[name].answers(site))
        logs = tasks.pop("log")  # again whenever another job has shown the site a newer head meanwhile
        assert tasks.total() == 10, "set-up, two on heads, four on keys, update, acknowledgement, model"
        assert len(jobs[name].sends(site)) == 10 + logs > 10
        assert jobs[name].marked(site) == []


def test_stock_result_without_filters_leaves_in_clear(jobs: dict[str, Ran]) -> None:
    """The attack: both controls are off."""
    leaked = jobs["unfiltered-unsealed"].marked(FAULTY)
    assert leaked
    assert {entry["to"].split(".")[0] for entry in leaked} == {"server"}


def test_filters_drop_a_stock_result(jobs: dict[str, Ran]) -> None:
    ran = jobs["unsealed"]
    assert ran.marked(FAULTY) == []
    assert ran.trained(FAULTY)[PAYLOAD_KEY] == {"bytes": REFUSAL_BYTES}


def test_sealed_result_without_filters_does_not_leave(jobs: dict[str, Ran]) -> None:
    """FLARE takes it for its answer and fails to serialise it."""
    ran = jobs["unfiltered"]
    assert "almoner_sealed" in ran.trained(FAULTY)
    assert ran.marked(FAULTY) == []
    assert len(ran.sends(FAULTY)) == 7  # set-up, two on heads, four on keys; then FLARE tries to send the update


def test_site_without_a_privacy_file_says_nothing(jobs: dict[str, Ran]) -> None:
    """Deleted after the kit was verified: not even the answer to the set-up can be sent, so no data is touched."""
    ran = jobs["no-privacy-file"]
    assert ran.sends(FAULTY) == []
    assert "almoner_sealed" in ran.answers(FAULTY)[-1]


def test_executor_that_fails_in_flares_hands_sends_a_code(jobs: dict[str, Ran]) -> None:
    """The attack: FLARE passes the filters by and sends the return code."""
    answer = jobs["uncaught"].trained(FAULTY)
    assert answer["__headers__"]["__rc__"] == "EXECUTION_EXCEPTION"
    assert PAYLOAD_KEY not in answer


def test_failure_in_ours_is_the_empty_refusal(jobs: dict[str, Ran], consortium: ProvisionedConsortium) -> None:
    ran = jobs["failing"]
    answer = ran.trained(FAULTY)
    assert answer[PAYLOAD_KEY] == {"bytes": REFUSAL_BYTES}
    assert answer["__headers__"].get("__rc__", "OK") == "OK"
    assert set(answer["__headers__"]) == set(jobs["unsealed"].trained(FAULTY)["__headers__"])
    with Ledger.open(consortium.site_folder(FAULTY) / LEDGER) as ledger:
        assert ledger.committed(ran.job_id, "train-0001")
    log = consortium.site_folder(FAULTY) / JOB_LOGS / f"{ran.job_id}.txt"
    assert "task train failed: RuntimeError" in log.read_text()
