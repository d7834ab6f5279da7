"""The main job on a real federation, and the refusals that its submitter reads there."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.integration.test_site_killed import wait_until

from almoner.flare.federation import Federation
from almoner.flare.job_folder import JOB_LOGS, is_job_id
from almoner.flare.job_result import read_result
from almoner.flare.provisioning import ProvisionedConsortium
from almoner.flare.session import JobReport, open_session
from almoner.flare.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import job_events
from almoner.schema.job import JobSpec

LEAD = "lead@cleveland.example"
SITES = ("cleveland", "hungary", "switzerland", "va-long-beach")


@pytest.fixture(scope="module", autouse=True)
def _running(federation: Federation) -> None:
    """All tests of this module need the processes."""


def entries_of(consortium: ProvisionedConsortium, site: str, kind: str, job_id: str) -> list[dict[str, object]]:
    with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
        return [
            json.loads(entry.payload) for entry in ledger.entries() if entry.kind == kind and job_id in entry.payload
        ]


def test_heart_job_completes_and_is_charged_for_exactly_what_ran(
    consortium: ProvisionedConsortium, run_job: Callable[..., JobReport], heart_spec: JobSpec, tmp_path: Path
) -> None:
    report = run_job(heart_spec)
    assert report.completed, report
    assert report.answers == {"server": "OK"} | dict.fromkeys(SITES, "OK")
    with open_session(consortium.user_kit(LEAD), heart_spec.study) as session:
        result = read_result(session.download(report.job_id, tmp_path / "download"))
    assert [record.round for record in result.rounds] == list(range(1, heart_spec.rounds + 1))
    assert all(record.contributors == SITES for record in result.rounds)
    assert set(result.releases) == set(SITES)
    assert result.model is not None
    assert np.isfinite(result.model).all()
    assert np.abs(result.model).max() > 0
    for site in SITES:
        kit = consortium.site_folder(site) / "kit"
        wait_until(lambda kit=kit: not any(is_job_id(path.name) for path in kit.iterdir()), 60.0)
        with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
            ledger.verify()
            account = ledger.account(f"{site}-cardiology")
            assert account.rdp_spent == job_events(heart_spec).charge(account.filter.order)
        commits = entries_of(consortium, site, "committed", report.job_id)
        assert len(commits) == heart_spec.rounds + 1
        assert len(entries_of(consortium, site, "settled", report.job_id)) == 1
        assert (consortium.site_folder(site) / JOB_LOGS / f"{report.job_id}.txt").stat().st_mode & 0o777 == 0o600


def test_submitter_reads_the_budget_refusal(run_job: Callable[..., JobReport], heart_spec: JobSpec) -> None:
    privacy = heart_spec.privacy.model_copy(update={"target_epsilon": 5.0})
    report = run_job(heart_spec.model_copy(update={"privacy": privacy}))
    assert not report.completed
    for site in SITES:
        assert report.answers[site].startswith(f"refused by {site}: job heart-disease asks training ε=5.00")
        assert "budget.remaining" in report.answers[site]


def test_submitter_reads_the_edited_configuration_refusal(
    run_job: Callable[..., JobReport], heart_spec: JobSpec
) -> None:
    def edit(folder: Path) -> None:
        path = folder / "app" / "config" / "config_fed_client.json"
        config = json.loads(path.read_text())
        config["task_result_filters"] = [{"tasks": ["train"], "filters": []}]
        path.write_text(json.dumps(config))

    report = run_job(heart_spec, edit=edit)
    assert not report.completed
    assert all("config/config_fed_client.json was changed after export" in report.answers[site] for site in SITES)


def test_server_refuses_files_that_are_not_exported(run_job: Callable[..., JobReport], heart_spec: JobSpec) -> None:
    def edit(folder: Path) -> None:
        (folder / "app" / "config" / "comm_config.json").write_text('{"comm_driver_path": "."}')

    report = run_job(heart_spec, edit=edit)
    assert not report.completed
    assert "files that almoner does not export: config/comm_config.json" in report.answers["server"]


def test_submitter_reads_the_role_refusal(run_job: Callable[..., JobReport], heart_spec: JobSpec) -> None:
    report = run_job(heart_spec, user="trainee@hungary.example")
    assert not report.completed
    assert all("admitted are [lead of cleveland]" in report.answers[site] for site in SITES)
