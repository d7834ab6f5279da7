"""The data officer's approval, with kits that FLARE's provisioner made: the way it goes, and the ways around it."""

import io
import json
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.conftest import make_consortium
from tests.integration.test_deployer_refusals import LEAD, Door, documents, revoke  # noqa: F401 (a fixture)

from almoner.cli.main import main
from almoner.errors import CertificateRefused, PolicyViolation
from almoner.flare.commands.planning import explain_job, plan_job
from almoner.flare.door.render import new_envelope
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.site import late_starts
from almoner.flare.site.approval_files import AskedJob, Officer, approval_path, recorded_job, write_approval
from almoner.flare.site.site_files import SiteFiles, load_kit
from almoner.provision.names import FLOOR_FILE
from almoner.schema.aggregation import PlainAggregation
from almoner.schema.approval import job_digest, spec_digest
from almoner.schema.documents import parse_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec
from almoner.workloads.registry import workload_digest

SITE = "hungary"
OFFICER = "officer@hungary.example"


@pytest.fixture(scope="module")
def consortium(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedConsortium:
    """A consortium in which hungary's officer approves every job."""
    folder = tmp_path_factory.mktemp("approving")
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(root / name, folder / name)
    policy = folder / "policies" / f"{SITE}.yaml"
    text = policy.read_text()
    rule = "require: {manual_approval: {roles: [org_admin], max_days: 30}, "
    assert text.count("require: {") == 1
    policy.write_text(text.replace("require: {", rule))
    (folder / "build").symlink_to(root / "build")
    return make_consortium(folder, folder / "heart")


@pytest.fixture
def door(consortium: ProvisionedConsortium, tmp_path: Path) -> Door:
    return Door(consortium, tmp_path)


@pytest.fixture
def site(consortium: ProvisionedConsortium) -> SiteFiles:
    return load_kit(consortium.site_folder(SITE) / "kit")


@pytest.fixture
def spec(heart_spec: JobSpec, request: pytest.FixtureRequest) -> JobSpec:
    """A cheap job, another one for each test."""
    privacy = heart_spec.privacy.model_copy(update={"target_epsilon": 0.05})
    update = {"privacy": privacy, "releases": (), "purpose": f"for {request.node.name.replace('@', ' at ')}"}
    return heart_spec.model_copy(update=update)


def export(door: Door, spec: JobSpec) -> JobEnvelope:
    return new_envelope(spec, door.consortium.declarations.consortium.sites)


def officer(consortium: ProvisionedConsortium, user: str = OFFICER) -> Officer:
    kit = consortium.user_kit(user) / "startup"
    return Officer((kit / "client.key").read_bytes(), (kit / "client.crt").read_bytes())


def almoner(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["almoner", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def asked_job(spec: JobSpec, consortium: ProvisionedConsortium, submitter: str = LEAD) -> AskedJob:
    """Return what the officer is asked."""
    return AskedJob(spec, consortium.declarations.consortium.sites, submitter, workload_digest(spec.workload))


@pytest.mark.threat("T-30")
def test_refused_then_approved_by_command_then_admitted_once(
    door: Door,
    spec: JobSpec,
    consortium: ProvisionedConsortium,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = door.submit(export(door, spec))
    about = job_digest(export(door, spec))
    assert f"require.approval   awaiting approval of digest {about}" in first
    kit = consortium.user_kit(OFFICER) / "startup"
    papers = ("--site-folder", consortium.site_folder(SITE), "--key", kit / "client.key", "--cert", kit / "client.crt")
    assert almoner(monkeypatch, "job", "approve", about, *papers, "--days", 3, "--yes") == 0
    shown = capsys.readouterr().out
    assert parse_document(shown.partition("# sites")[0], JobSpec, "what is shown") == spec
    assert f"# sites: {', '.join(consortium.declarations.consortium.sites)}\n# submitter: {LEAD}\n" in shown
    assert f"# code of the workload: {workload_digest(spec.workload)}\n" in shown
    assert f"approved at hungary by {OFFICER}: digest {about}" in shown
    assert door.submit(export(door, spec)) == ""
    assert "was used by another job" in door.submit(export(door, spec))
    with door.ledger() as ledger:
        kinds = [entry.kind for entry in ledger.entries()]
        decisions = [json.loads(entry.payload) for entry in ledger.entries() if entry.kind == "decision"]
        approval = json.loads(next(entry.payload for entry in ledger.entries() if entry.kind == "approval"))
        ledger.verify()
    assert kinds.index("approval") > kinds.index("decision")
    assert decisions[0]["approval_digest"] == ""
    assert decisions[1]["approval_digest"] == approval["approval_digest"]
    assert approval["officer"] == OFFICER
    assert almoner(monkeypatch, "job", "approve", "0" * 64, *papers) == 2
    assert "never submitted to hungary" in capsys.readouterr().err


def shown_to_the_officer(
    site: SiteFiles, about: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Return what the officer reads before the question, and answer no."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    papers = ("--site-folder", site.folder, "--key", "none.key", "--cert", "none.crt")
    assert almoner(monkeypatch, "job", "approve", about, *papers) == 1
    return capsys.readouterr().out.partition("# digest")[0]


@pytest.mark.threat("T-30")
def test_the_officer_sees_what_would_be_signed_and_can_say_no(
    door: Door,
    spec: JobSpec,
    site: SiteFiles,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    update = {"aggregation": PlainAggregation(kind="plain"), "min_sites": 1, "dataset": "oncology", "rounds": 50}
    seen = []
    for submitted in (spec, spec.model_copy(update=update)):
        envelope = export(door, submitted)
        door.submit(envelope)
        seen.append(shown_to_the_officer(site, job_digest(envelope), monkeypatch, capsys))
        assert not approval_path(site.folder, job_digest(envelope)).exists()
        assert recorded_job(site, job_digest(envelope)).spec == submitted
    changed = set(seen[1].splitlines()) - set(seen[0].splitlines())
    assert changed == {"dataset: oncology", "rounds: 50", "min_sites: 1", "  kind: plain"}


@pytest.mark.threat("T-30")
def test_nobody_else_uses_the_approval_up(
    door: Door, spec: JobSpec, consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    envelope = export(door, spec)
    write_approval(site, asked_job(spec, consortium, "second@cleveland.example"), True, officer(consortium), 1)
    assert f"it is for second@cleveland.example, not for {LEAD}" in door.submit(envelope)
    other = replace(asked_job(spec, consortium), workload_digest="d" * 64)
    write_approval(site, other, True, officer(consortium), 1)
    assert f"it is for the workload's code {'d' * 16}, " in door.submit(export(door, spec))
    write_approval(site, recorded_job(site, job_digest(envelope), LEAD), True, officer(consortium), 1)
    assert door.submit(export(door, spec)) == ""
    with pytest.raises(PolicyViolation, match="never submitted to hungary by second"):
        recorded_job(site, job_digest(envelope), "second@cleveland.example")


def test_denied(door: Door, spec: JobSpec, consortium: ProvisionedConsortium, site: SiteFiles) -> None:
    about = job_digest(export(door, spec))
    write_approval(site, asked_job(spec, consortium), False, officer(consortium), 1)
    assert f"the data officer denied digest {about}" in door.submit(export(door, spec))


def test_plans_and_explanations_know_the_approval(
    spec: JobSpec, consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    def verdict() -> str:
        answers = explain_job(spec, SITE, consortium.declarations, consortium.root)
        return next(found.finding for rule, found in answers if rule.name == "require.approval")

    about = spec_digest(spec, consortium.declarations.consortium.sites)
    assert verdict() == f"awaiting approval of digest {about}"
    write_approval(site, asked_job(spec, consortium), True, officer(consortium), 1)
    assert verdict().startswith(f"digest {about} is approved until ")
    planned = {decision.site: decision for decision in plan_job(spec, consortium.declarations, consortium.root)}
    assert planned[SITE].verdict == "admitted"


@pytest.mark.threat("T-30")
@pytest.mark.parametrize("user", ["officer@cleveland.example", "lead@cleveland.example", "trainee@hungary.example"])
def test_nobody_else_can_approve(
    door: Door, spec: JobSpec, consortium: ProvisionedConsortium, site: SiteFiles, user: str
) -> None:
    about = job_digest(export(door, spec))
    with pytest.raises(PolicyViolation, match="hungary wants org_admin of its own"):
        write_approval(site, asked_job(spec, consortium), True, officer(consortium, user), 1)
    assert not approval_path(site.folder, about).exists()
    assert "awaiting approval" in door.submit(export(door, spec))


@pytest.mark.threat("T-157")
@pytest.mark.usefixtures("documents")
def test_what_a_revoked_officer_approved_or_approves(
    door: Door, spec: JobSpec, consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    """Also what was signed before the day: a paper's own date is the word of whoever has the key."""
    asked = asked_job(spec, consortium)
    write_approval(site, asked, True, officer(consortium), 1)
    revoke(door, OFFICER, FLOOR_FILE, datetime.now(UTC).date())
    assert "is revoked since" in door.submit(export(door, spec))
    with pytest.raises(CertificateRefused, match="is revoked since"):
        write_approval(load_kit(site.kit), asked, True, officer(consortium), 1)
    revoke(door, OFFICER, FLOOR_FILE, datetime.now(UTC).date() + timedelta(days=2))
    assert door.submit(export(door, spec)) == ""


@pytest.mark.threat("T-30")
def test_an_older_approval_put_back_after_a_denial(
    door: Door, spec: JobSpec, consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    about = job_digest(export(door, spec))
    write_approval(site, asked_job(spec, consortium), True, officer(consortium), 1)
    path = approval_path(site.folder, about)
    kept = path.read_bytes()
    write_approval(site, asked_job(spec, consortium), False, officer(consortium), 1)
    path.write_bytes(kept)
    assert "it is not the one that the ledger recorded last" in door.submit(export(door, spec))
    write_approval(site, asked_job(spec, consortium), True, officer(consortium), 1)
    assert door.submit(export(door, spec)) == ""


@pytest.mark.threat("T-30")
def test_an_approval_moved_to_another_job(
    door: Door, spec: JobSpec, consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    about = job_digest(export(door, spec))
    write_approval(site, asked_job(spec, consortium), True, officer(consortium), 1)
    greedier = spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"target_epsilon": 0.06})})
    other = job_digest(export(door, greedier))
    shutil.copy(approval_path(site.folder, about), approval_path(site.folder, other))
    assert "it is about another site or job" in door.submit(export(door, greedier))
    approval_path(site.folder, other).write_text("no paper")
    assert "the paper cannot be read" in door.submit(export(door, greedier))


@pytest.mark.threat("T-33")
def test_a_job_that_was_never_started_gives_its_budget_and_its_approval_back(
    door: Door, spec: JobSpec, consortium: ProvisionedConsortium, site: SiteFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_approval(site, asked_job(spec, consortium), True, officer(consortium), 1)
    assert door.submit(export(door, spec)) == ""
    assert "was used by another job" in door.submit(export(door, spec))
    monkeypatch.setattr(late_starts, "START_SECONDS", 0.0)
    assert door.submit(export(door, spec)) == ""
    assert "was used" not in door.submit(export(door, spec).model_copy(update={"expires_unix_seconds": 1}))
    with door.ledger() as ledger:
        assert ledger.account(f"{SITE}-cardiology").rdp_spent == 0.0
        ledger.verify()
