"""The main job on a real federation, and the refusals that its submitter reads there."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.integration.hospitals import consortium, federation
from tests.integration.test_site_killed import wait_until

from almoner.audit.archive import read_archive
from almoner.audit.log_file import TransparencyLog
from almoner.audit.pack_verify import verify_pack
from almoner.flare.commands.session import JobReport, open_session
from almoner.flare.evidence.audit_folders import Extras, pack_job
from almoner.flare.evidence.audit_log import witness_of
from almoner.flare.evidence.live_log import LOG_FOLDER, read_cosigned
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.results.origin import submitted_job
from almoner.flare.results.vouched import read_vouched, root_certificate
from almoner.flare.site.job_folder import JOB_LOGS, is_job_id
from almoner.flare.site.site_files import LEDGER, ROOT_CA
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import job_events
from almoner.schema.job import JobSpec

__all__ = ["consortium", "federation"]

LEAD = "lead@cleveland.example"
SITES = ("cleveland", "hungary", "switzerland", "va-long-beach")


pytestmark = pytest.mark.usefixtures("federation")


def spent(consortium: ProvisionedConsortium, site: str) -> float:
    with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
        return ledger.account(f"{site}-cardiology").rdp_spent


def entries_of(consortium: ProvisionedConsortium, site: str, kind: str, job_id: str) -> list[dict[str, object]]:
    with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
        return [
            json.loads(entry.payload) for entry in ledger.entries() if entry.kind == kind and job_id in entry.payload
        ]


def test_heart_job_completes_and_is_charged_for_exactly_what_ran(
    consortium: ProvisionedConsortium, run_job: Callable[..., JobReport], heart_spec: JobSpec, tmp_path: Path
) -> None:
    before = {site: spent(consortium, site) for site in SITES}
    report = run_job(heart_spec)
    assert report.completed, report
    assert report.answers == {"server": "OK"} | dict.fromkeys(SITES, "OK")
    with open_session(consortium.user_kit(LEAD), heart_spec.study) as session:
        folder = session.download(report.job_id, tmp_path / "download")
    kit = consortium.user_kit(LEAD)
    found = read_vouched(folder, root_certificate(kit), report.job_id, submitted_job(kit, report.job_id))
    assert found.sites == SITES
    result = found.result
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
            assert account.rdp_spent == before[site] + job_events(heart_spec).charge(account.filter.order)
        commits = entries_of(consortium, site, "committed", report.job_id)
        assert len(commits) == heart_spec.rounds + 1
        assert len(entries_of(consortium, site, "settled", report.job_id)) == 1
        assert (consortium.site_folder(site) / JOB_LOGS / f"{report.job_id}.txt").stat().st_mode & 0o777 == 0o600


def test_the_evidence_of_the_job_verifies_and_has_every_round_as_it_happened(
    consortium: ProvisionedConsortium, heart_spec: JobSpec
) -> None:
    folders = [consortium.site_folder(site) for site in SITES]
    with Ledger.open(folders[0] / LEDGER) as ledger:
        receipts = [json.loads(entry.payload)["receipt"] for entry in ledger.entries() if entry.kind == "committed"]
    commits = Counter(receipt["job_id"] for receipt in receipts)  # other files' jobs ran on this federation too
    job_id = next(job_id for job_id, count in commits.items() if count == heart_spec.rounds + 1)
    logged = [json.loads(entry) for entry in TransparencyLog(consortium.root / "server" / LOG_FOLDER).entries()]
    kinds = [(entry["kind"], entry["site"]) for entry in logged if entry["job_id"] == job_id]
    for site in SITES:  # at the start of the job, with each round, and with the release
        assert kinds.count(("head", site)) == heart_spec.rounds + 2
    assert {kind for kind, site in kinds if not site} == {"job", "update", "result"}
    assert {site for kind, site in kinds if kind == "decision"} == set(SITES)
    cosigned = read_cosigned(consortium.root / "server", job_id)
    assert cosigned is not None
    assert set(cosigned.cosignatures) == set(SITES)
    for site, folder in zip(SITES, folders, strict=True):
        assert witness_of(folder, site).newest() == cosigned.signed
    pack = pack_job(consortium.root / "server", folders, job_id, Extras())
    head = json.loads(read_archive(pack)["log/head.json"])
    assert head == cosigned.model_dump(mode="json"), "as the sites cosigned it when the job ended"
    verdict = verify_pack(pack, (consortium.server_kit / ROOT_CA).read_bytes())
    assert set(verdict.books) == set(SITES)
    for account in verdict.accounts():
        with Ledger.open(consortium.site_folder(account["site"]) / LEDGER) as ledger:
            assert account["epsilon_spent"] == pytest.approx(ledger.accounts()[0].epsilon_spent)


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
