"""Each refusal of the door, on the deployer itself, with kits that FLARE's provisioner made.

The text that `deploy` returns is what FLARE shows the submitter; the tests on real processes show that it
arrives. Every case first shows that the same job is admitted when the fault is left out.
"""

import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.lighter.utils import load_private_key_file, sign_folders

from almoner.admission.history import History
from almoner.errors import LedgerError, ProvisioningError
from almoner.flare.door.deployer import CANNOT_DECIDE, PolicyAppDeployer
from almoner.flare.door.render import new_envelope, render_app, render_meta
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.processes import launcher
from almoner.flare.site import late_starts
from almoner.flare.site.ledger_history import HistoryReader
from almoner.flare.site.signed_decisions import verify_decisions
from almoner.flare.site.site_files import LEDGER, load_kit
from almoner.privacy.ledger import Ledger
from almoner.provision.names import FLOOR_FILE, POLICY_FILE
from almoner.provision.roster import fingerprint
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec

SITE = "hungary"
LEAD = "lead@cleveland.example"


class Door:
    """Signs apps as a participant and shows them to one site's deployer."""

    def __init__(self, consortium: ProvisionedConsortium, folder: Path) -> None:
        self.consortium, self.folder = consortium, folder
        self.workspace = Workspace(str(consortium.site_folder(SITE) / "kit"), SITE)

    def ledger(self) -> Ledger:
        return Ledger.open(self.consortium.site_folder(SITE) / LEDGER)

    def sign(self, files: dict[str, bytes], signer: Path, crt: str = "client.crt", key: str = "client.key") -> bytes:
        """Return the zip that FLARE deploys: files signed folder by folder with the signer's key."""
        app = self.folder / str(uuid.uuid4())
        for name, content in files.items():
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            (app / name).write_bytes(content)
        sign_folders(str(app), load_private_key_file(str(signer / key)), str(signer / crt))
        return zip_folder(app)

    def deploy(self, data: bytes, meta: dict[str, Any], job_id: str | None = None) -> str:
        job_id = job_id or str(uuid.uuid4())
        meta = {"job_id": job_id, "study": "cardiology", **meta}
        return PolicyAppDeployer().deploy(self.workspace, job_id, meta, "app", data, FLContext())

    def submit(self, envelope: JobEnvelope, user: str = LEAD, **meta: Any) -> str:
        data = self.sign(render_app(envelope), self.consortium.user_kit(user) / "startup")
        return self.deploy(data, {**render_meta(envelope), **meta})


def zip_folder(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()


@pytest.fixture
def door(consortium: ProvisionedConsortium, tmp_path: Path) -> Door:
    return Door(consortium, tmp_path)


@pytest.fixture
def cheap(heart_spec: JobSpec) -> JobSpec:
    """A job that costs next to nothing, so that the module's tests do not use up the account."""
    privacy = heart_spec.privacy.model_copy(update={"target_epsilon": 0.05})
    return heart_spec.model_copy(update={"privacy": privacy, "releases": ()})


@pytest.fixture
def envelope(door: Door, cheap: JobSpec) -> JobEnvelope:
    return new_envelope(cheap, door.consortium.declarations.consortium.sites)


def spec_edit(envelope: JobEnvelope, **update: Any) -> JobEnvelope:
    """Change fields of the spec after validation, as a submitter with a text editor would."""
    return envelope.model_copy(update={"spec": envelope.spec.model_copy(update=update)})


def test_honest_job_is_admitted_and_reserved(door: Door, envelope: JobEnvelope) -> None:
    with door.ledger() as ledger:
        before = ledger.account(f"{SITE}-cardiology").rdp_spent
    assert door.submit(envelope) == ""
    with door.ledger() as ledger:
        assert ledger.account(f"{SITE}-cardiology").rdp_spent > before
        assert ledger.seen_nonce(envelope.nonce)
        ledger.verify()


def test_more_epsilon_than_is_left(door: Door, envelope: JobEnvelope) -> None:
    greedy = spec_edit(envelope, privacy=envelope.spec.privacy.model_copy(update={"target_epsilon": 9.0}))
    answer = door.submit(greedy)
    assert f"refused by {SITE}: job heart-disease asks training ε=9.00" in answer
    assert "budget.remaining" in answer
    assert "of 3.00, fits training ε≤" in answer
    assert "→ lower target_epsilon" in answer


@pytest.mark.threat("T-01")
@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (
            lambda files: files.update({"config/config_fed_client.json": b'{"executors": []}'}),
            "config/config_fed_client.json was changed after export",
        ),
        (lambda files: files.update({"custom/backdoor.py": b"1"}), "custom/backdoor.py was added after export"),
        (
            lambda files: files.update({"config/comm_config.json": b'{"comm_driver_path": "."}'}),
            "config/comm_config.json was added after export",
        ),
        (
            lambda files: files.pop("config/config_fed_server.json"),
            "config/config_fed_server.json is missing after export",
        ),
    ],
)
def test_edited_folder(
    door: Door, envelope: JobEnvelope, edit: Callable[[dict[str, bytes]], Any], expected: str
) -> None:
    files = render_app(envelope)
    edit(files)
    answer = door.deploy(door.sign(files, door.consortium.user_kit(LEAD) / "startup"), render_meta(envelope))
    assert "render.identical" in answer
    assert expected in answer


def test_file_changed_after_signing(door: Door, envelope: JobEnvelope) -> None:
    signed = door.sign(render_app(envelope), door.consortium.user_kit(LEAD) / "startup")
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(signed)) as before, zipfile.ZipFile(buffer, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, content + b" " if name.endswith("almoner_job.json") else content)
    answer = door.deploy(buffer.getvalue(), render_meta(envelope))
    assert "a file of the app was changed after it was signed" in answer


def test_unsigned_app(door: Door, envelope: JobEnvelope) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in render_app(envelope).items():
            archive.writestr(name, content)
    assert "the app is not signed" in door.deploy(buffer.getvalue(), render_meta(envelope))


@pytest.mark.threat("T-11")
def test_zip_bomb_and_paths_out_of_the_folder(door: Door, envelope: JobEnvelope) -> None:
    for name, content, expected in (
        ("config/zeros", b"\0" * 50_000_000, "larger than any job"),
        ("../../../local/resources.json", b"{}", "unusable name"),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        assert expected in door.deploy(buffer.getvalue(), render_meta(envelope))


@pytest.mark.threat("T-10")
def test_other_scope(door: Door, envelope: JobEnvelope) -> None:
    assert "privacy scope public is not almoner" in door.submit(envelope, scope="public")


@pytest.mark.threat("T-10")
@pytest.mark.parametrize(
    ("meta", "rule"),
    [
        ({"resource_spec": {SITE: {"num_of_gpus": 1}}}, "meta.launch"),
        ({"launcher_spec": {SITE: {"mode": "docker"}}}, "meta.launch"),
        ({"byoc": True}, "meta.launch"),
        ({"custom_props": {"any": "thing"}}, "meta.launch"),
        ({"min_clients": 1}, "meta.min_clients"),
        ({"name": "another"}, "meta.name"),
    ],
)
def test_meta_data_that_the_spec_does_not_render(
    door: Door, envelope: JobEnvelope, meta: dict[str, Any], rule: str
) -> None:
    assert rule in door.submit(envelope, **meta)


@pytest.mark.threat("T-02")
def test_foreign_role(door: Door, envelope: JobEnvelope) -> None:
    answer = door.submit(envelope, user="trainee@hungary.example")
    assert "trainee@hungary.example is trainee of hungary; admitted are [lead of cleveland]" in answer


@pytest.mark.threat("T-02")
@pytest.mark.parametrize(
    ("kit", "name"),
    [
        (lambda consortium: (consortium.server_kit / "startup", "server.crt", "server.key"), "localhost"),
        (
            lambda consortium: (consortium.site_folder("cleveland") / "kit" / "startup", "client.crt", "client.key"),
            "cleveland",
        ),
    ],
)
def test_app_signed_by_server_or_site(door: Door, envelope: JobEnvelope, kit: Callable[..., Any], name: str) -> None:
    signer, crt, key = kit(door.consortium)
    answer = door.deploy(door.sign(render_app(envelope), signer, crt, key), render_meta(envelope))
    assert "submitter.role" in answer
    assert f"signed with a certificate that is no user's ({name})" in answer


@pytest.mark.threat("T-01")
@pytest.mark.parametrize("more", [{"other": ["server"]}, {"app": ["server"]}])
def test_other_app_for_some(door: Door, envelope: JobEnvelope, more: dict[str, list[str]]) -> None:
    """A second app for the server alone would be one that no site has seen."""
    meta = render_meta(envelope)
    meta["deploy_map"] = {**meta["deploy_map"], **more}
    answer = door.deploy(door.sign(render_app(envelope), door.consortium.user_kit(LEAD) / "startup"), meta)
    assert "meta.deploy_map" in answer
    assert "not every participant is to run the one app of the job" in answer


def revoke(door: Door, user: str, file: str, since: date) -> None:
    """Have a user's certificate revoked by a document of the site's kit, as a newly signed kit would bring it."""
    crt = (door.consortium.user_kit(user) / "startup" / "client.crt").read_bytes()
    entry = {"certificate_sha256": fingerprint(x509.load_pem_x509_certificate(crt)), "since": since, "reason": "stolen"}
    path = door.consortium.site_folder(SITE) / "kit" / "local" / file
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "revoked": [entry]}))


@pytest.fixture
def documents(door: Door) -> Iterator[None]:
    """Put back what the test changes in the kit's policy and floor."""
    paths = [door.consortium.site_folder(SITE) / "kit" / "local" / name for name in (POLICY_FILE, FLOOR_FILE)]
    texts = [path.read_text() for path in paths]
    yield
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)


@pytest.mark.threat("T-157")
@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize("file", [POLICY_FILE, FLOOR_FILE])
def test_a_stolen_certificate_that_the_site_or_the_consortium_revoked(
    door: Door, envelope: JobEnvelope, file: str
) -> None:
    """Until its day it is admitted, and what was admitted stays in the ledger as it was."""
    today = datetime.now(UTC).date()
    revoke(door, LEAD, file, today + timedelta(days=2))  # midnight may pass before the question
    assert door.submit(envelope) == ""
    with door.ledger() as ledger:
        before = ledger.entries()
    revoke(door, LEAD, file, today)
    again = envelope.model_copy(update={"nonce": uuid.uuid4().hex})
    answer = " ".join(door.submit(again).split())
    assert "submitter.certificate the submitter's certificate (" in answer
    assert f"is revoked since {today}: stolen → submit with a kit that counts" in answer
    with door.ledger() as ledger:
        assert not ledger.seen_nonce(again.nonce)
        ledger.verify()
        kinds = [entry.kind for entry in ledger.entries()[len(before) :]]
        assert ledger.entries()[: len(before)] == before
    assert kinds == ["policy", "decision"]  # the ledger tells since when the site goes by the list
    revoke(door, "trainee@hungary.example", file, today)
    assert door.submit(again) == ""


@pytest.mark.threat("T-03")
def test_replayed_nonce(door: Door, envelope: JobEnvelope) -> None:
    assert door.submit(envelope) == ""
    answer = door.submit(envelope)
    assert "envelope.replayed" in answer
    assert "this exported job was submitted before → export it again" in answer


@pytest.mark.threat("T-03")
def test_expired_envelope(door: Door, envelope: JobEnvelope) -> None:
    assert "envelope.expired" in door.submit(envelope.model_copy(update={"expires_unix_seconds": 1}))


@pytest.mark.threat("T-03")
def test_an_envelope_that_is_good_for_longer_than_the_policy_says(door: Door, envelope: JobEnvelope) -> None:
    year = envelope.model_copy(update={"expires_unix_seconds": envelope.issued_unix_seconds + 365 * 86_400})
    assert "envelope.validity good for 365.00 days from its export, at most 7" in " ".join(door.submit(year).split())
    later = envelope.issued_unix_seconds + 358 * 86_400
    ahead = year.model_copy(update={"issued_unix_seconds": later})
    assert "the job was exported in the future" in door.submit(ahead)


def test_unknown_workload(door: Door, envelope: JobEnvelope) -> None:
    answer = door.submit(spec_edit(envelope, workload="face_recognition"))
    assert "face_recognition is not installed; there are [bank_credit, brain_mri, " in answer


def test_job_under_another_study(door: Door, envelope: JobEnvelope) -> None:
    answer = door.submit(envelope, study="default")
    assert "submitted under FLARE study default, the job says cardiology → log in with --study cardiology" in answer


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target_epsilon", float("nan")),
        ("target_epsilon", -1.0),
        ("target_epsilon", float("inf")),
        ("target_delta", 0.0),
        ("max_grad_norm", -1.0),
        ("sampling_prob", 1.5),
        ("sampling_prob", float("nan")),
    ],
)
def test_impossible_privacy_parameters(door: Door, envelope: JobEnvelope, field: str, value: float) -> None:
    document = json.loads(render_app(envelope)["config/almoner_job.json"])
    document["spec"]["privacy"][field] = value
    files = {**render_app(envelope), "config/almoner_job.json": json.dumps(document).encode()}
    answer = door.deploy(door.sign(files, door.consortium.user_kit(LEAD) / "startup"), render_meta(envelope))
    assert f"spec.privacy.{field}: " in answer
    assert "config/almoner_job.json:1:" in answer


def test_all_broken_rules_are_listed(door: Door, envelope: JobEnvelope) -> None:
    from almoner.schema.aggregation import PlainAggregation

    answer = door.submit(
        spec_edit(envelope, rounds=60, min_sites=1, aggregation=PlainAggregation(kind="plain")),
        user="trainee@hungary.example",
    )
    for rule in ("submitter.role", "limits.max_rounds", "require.min_sites", "require.protection"):
        assert rule in answer
    assert "plain is not in [he, secagg]  → set aggregation.kind".replace("  →", " →") in answer


def test_refusals_are_in_the_ledger_and_nothing_is_left_behind(door: Door, envelope: JobEnvelope) -> None:
    job_id = str(uuid.uuid4())
    data = door.sign(render_app(envelope), door.consortium.user_kit("trainee@hungary.example") / "startup")
    assert door.deploy(data, render_meta(envelope), job_id).startswith("refused by hungary")
    assert not (Path(door.workspace.get_root_dir()) / job_id).exists()
    with door.ledger() as ledger:
        last = ledger.entries(1)[0]
        assert last.kind == "decision"
        payload = json.loads(last.payload)
        assert payload["verdict"] == "refused"
        assert payload["job_id"] == job_id
        assert verify_decisions(ledger, load_kit(Path(door.workspace.get_root_dir())).roster) >= 1
        assert not ledger.seen_nonce(envelope.nonce)


@pytest.mark.threat("T-10")
@pytest.mark.parametrize("job_id", ["ledger", "local", "../startup", "startup"])
def test_job_ids_that_are_folders(door: Door, envelope: JobEnvelope, job_id: str) -> None:
    data = door.sign(render_app(envelope), door.consortium.user_kit(LEAD) / "startup")
    assert "meta.job_id" in door.deploy(data, render_meta(envelope), job_id)


def test_a_folder_that_is_there_already_is_left_alone(door: Door, envelope: JobEnvelope) -> None:
    job_id = str(uuid.uuid4())
    folder = Path(door.workspace.get_root_dir()) / job_id
    folder.mkdir()
    (folder / "kept").write_text("of another job")
    data = door.sign(render_app(envelope), door.consortium.user_kit(LEAD) / "startup")
    assert "there is a folder of a job with this id already" in door.deploy(data, render_meta(envelope), job_id)
    assert (folder / "kept").read_text() == "of another job"


def test_a_job_whose_folder_cannot_be_written_costs_nothing(
    door: Door, envelope: JobEnvelope, monkeypatch: pytest.MonkeyPatch
) -> None:
    from almoner.flare.door import deployer

    def full(*arguments: object) -> None:
        raise ProvisioningError("no space left")

    with door.ledger() as ledger:
        before = ledger.account(f"{SITE}-cardiology").rdp_spent
    monkeypatch.setattr(deployer, "write_job", full)
    assert door.submit(envelope) == deployer.CANNOT_DECIDE
    with door.ledger() as ledger:
        assert ledger.account(f"{SITE}-cardiology").rdp_spent == before
        assert ledger.seen_nonce(envelope.nonce)
        ledger.verify()


def test_meta_data_that_cannot_be_written_costs_nothing(door: Door, envelope: JobEnvelope) -> None:
    """FLARE's messages carry bytes; `meta.json` does not."""
    nothing_left(door, lambda: door.submit(envelope, comment=b"bytes"))


def test_a_decision_that_cannot_be_recorded_leaves_no_job(
    door: Door, envelope: JobEnvelope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Ledger, kind: str, payload: object) -> None:
        raise LedgerError("no space left")

    monkeypatch.setattr(Ledger, "record", full)
    nothing_left(door, lambda: door.submit(envelope))


def nothing_left(door: Door, submit: Callable[[], str]) -> None:
    """Submit; check that neither a folder nor a charge is left."""
    kit = Path(door.workspace.get_root_dir())
    with door.ledger() as ledger:
        before = ledger.account(f"{SITE}-cardiology").rdp_spent, set(kit.iterdir())
        assert submit() == CANNOT_DECIDE
        assert (ledger.account(f"{SITE}-cardiology").rdp_spent, set(kit.iterdir())) == before
        ledger.verify()


def test_a_door_that_fails_stays_shut_and_does_not_say_on_what(
    door: Door, envelope: JobEnvelope, monkeypatch: pytest.MonkeyPatch
) -> None:
    from almoner.flare.door import deployer

    def broken(*arguments: object) -> None:
        raise RuntimeError("a detail that must not leave")

    job_id = str(uuid.uuid4())
    data = door.sign(render_app(envelope), door.consortium.user_kit(LEAD) / "startup")
    monkeypatch.setattr(deployer, "decide", broken)
    assert door.deploy(data, render_meta(envelope), job_id) == deployer.CANNOT_DECIDE
    assert not (Path(door.workspace.get_root_dir()) / job_id).exists()
    with door.ledger() as ledger:
        assert not ledger.seen_nonce(envelope.nonce)


@pytest.fixture
def own_door(door: Door) -> Iterator[Door]:
    """A door before which no job waits, neither before nor after the test."""

    def clear() -> None:
        with door.ledger() as ledger:
            for job in ledger.open_jobs():
                ledger.withdraw(job.job_id, "made room for a test")

    clear()
    yield door
    clear()


@pytest.mark.threat("T-33")
def test_a_job_that_was_never_started_is_withdrawn_with_its_folder(
    own_door: Door, cheap: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a job was aborted after its admission: no site is told to start it."""
    waiting, charged = submit_anew(own_door, cheap)
    folder = Path(own_door.workspace.get_root_dir()) / waiting
    assert folder.is_dir()
    monkeypatch.setattr(late_starts, "START_SECONDS", 0.0)
    _, next_charged = submit_anew(own_door, cheap)
    assert next_charged == pytest.approx(charged), "only the second job is charged now"
    assert not folder.exists()
    with own_door.ledger() as ledger:
        assert ledger.job(waiting).status == "settled"


@pytest.mark.threat("T-33")
def test_a_job_that_starts_while_the_door_looks_back_goes_on(
    own_door: Door, cheap: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher starts the job after the door has read that it was never started, and before it acts on it."""
    waiting, _ = submit_anew(own_door, cheap)
    folder, read = Path(own_door.workspace.get_root_dir()) / waiting, HistoryReader.read

    def read_and_start(self: HistoryReader, ledger: Ledger) -> History:
        history = read(self, ledger)
        if ledger.job(waiting).status == "reserved":
            ledger.start(waiting, ledger.job(waiting).tree_digest)
        return history

    monkeypatch.setattr(late_starts, "START_SECONDS", 0.0)
    monkeypatch.setattr(HistoryReader, "read", read_and_start)
    submit_anew(own_door, cheap)
    assert folder.is_dir()
    with own_door.ledger() as ledger:
        ledger.commit(waiting, "train-0001")
        ledger.release(waiting, "train-0001", "a" * 64)
        ledger.settle(waiting, "the job ended")


@pytest.mark.threat("T-03")
def test_a_job_is_started_soon_after_its_admission_or_never(
    own_door: Door, cheap: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server deploys nothing more here, and keeps the start back until job and certificate are long outdated."""
    started: list[str] = []
    monkeypatch.setattr(launcher, "fork_job", lambda *_: started.append("a process"))
    (prompt, _), (late, charged) = submit_anew(own_door, cheap), submit_anew(own_door, cheap)
    launch(own_door, prompt)
    assert len(started) == 1
    monkeypatch.setattr(late_starts, "START_SECONDS", 0.0)
    with pytest.raises(LedgerError, match=f"job {late} waited for more than 0 s to be started → submit it again"):
        launch(own_door, late)
    assert len(started) == 1
    assert not Path(own_door.workspace.get_run_dir(late)).exists()
    with own_door.ledger() as ledger:
        assert ledger.job(late).status == "settled"
        ledger.settle(prompt, "the job ended")
        account = ledger.account(f"{SITE}-cardiology")
        assert account.rdp_spent - account.rdp_committed < charged
        ledger.verify()
    with pytest.raises(LedgerError, match="is settled → a job starts once"):
        launch(own_door, prompt)
    with pytest.raises(LedgerError, match="has no reservation"):
        launch(own_door, str(uuid.uuid4()))


def launch(door: Door, job_id: str) -> None:
    """Have the site's launcher start a job, as FLARE does on START_JOB."""
    context = FLContext()
    context.set_prop(FLContextKey.WORKSPACE_OBJECT, door.workspace)
    context.set_prop(FLContextKey.JOB_PROCESS_ARGS, {})
    launcher.AuthorisedLauncher().launch_job({"job_id": job_id}, context)


def submit_anew(door: Door, spec: JobSpec) -> tuple[str, float]:
    """Have a new envelope admitted; return the job's id, and what is reserved and not committed afterwards."""
    envelope, job_id = new_envelope(spec, door.consortium.declarations.consortium.sites), str(uuid.uuid4())
    data = door.sign(render_app(envelope), door.consortium.user_kit(LEAD) / "startup")
    assert door.deploy(data, render_meta(envelope), job_id) == ""
    with door.ledger() as ledger:
        account = ledger.account(f"{SITE}-cardiology")
    return job_id, account.rdp_spent - account.rdp_committed
