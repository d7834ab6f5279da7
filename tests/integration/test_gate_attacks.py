"""A logged-in lead sends a site messages that FLARE's server forwards and sites do not check.

Each attack is carried out twice on a real federation: with the gate taken out it succeeds, with the gate in
place it gets nothing and changes nothing.
"""

import contextlib
import io
import socket
import threading
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.private.defs import new_cell_message
from tests.integration.attacker import (
    NO_JOBS,
    SITE,
    SITES_GATED,
    TRIES,
    UNGATED,
    Attacker,
    admin_message,
    attacking,
    came_true,
    honest_app,
    local_intruder,
    local_server,
    succeeds,
)
from tests.integration.conftest import make_consortium

from almoner.flare.commands.federation import Federation
from almoner.flare.door.render import new_envelope
from almoner.flare.door.upload import MAX_UNPACKED_BYTES
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.schema.job import JobSpec

BOMB_BYTES = 200_000_000


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files of the federation's processes."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture(scope="module", params=["gated", "ungated"])
def attacker(
    request: pytest.FixtureRequest, root: Path, temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacker]:
    gated = request.param == "gated"
    consortium = make_consortium(root, tmp_path_factory.mktemp(request.param) / "heart")
    variables = {"TMPDIR": str(temporary)} | NO_JOBS | (SITES_GATED if gated else UNGATED)
    with Federation(consortium, variables) as federation:
        federation.start_one("server")
        federation.start_one(SITE)
        federation.wait_for_sites((SITE,))
        with attacking(federation, gated) as lead:
            yield lead


@pytest.fixture
def victim(attacker: Attacker) -> Path:
    """A folder in the site's workspace."""
    folder = attacker.kit / f"precious-{uuid.uuid4()}"
    folder.mkdir()
    return folder


@pytest.mark.threat("T-14")
def test_reading_the_private_key_through_the_shell(attacker: Attacker) -> None:
    stolen = succeeds(lambda: "PRIVATE KEY" in attacker.send("sys.shell", "cat startup/client.key"))
    assert stolen is not attacker.gated


@pytest.mark.threat("T-14")
def test_deleting_a_folder_of_the_workspace(attacker: Attacker, victim: Path) -> None:
    def attack() -> bool:
        attacker.send("train.delete_run", job_id=victim.name)
        return not victim.exists()

    assert succeeds(attack) is not attacker.gated


@pytest.mark.threat("T-14")
@pytest.mark.parametrize(
    "topic", ["sys.report_env", "sys.info", "train.get_scopes", "resource_manager.report_resources"]
)
def test_asking_for_the_environment(attacker: Attacker, topic: str) -> None:
    answered = succeeds(lambda: attacker.send(topic) not in ("", "invalid_request"))
    assert answered is not attacker.gated


@pytest.mark.threat("T-14")
def test_making_the_site_dial_an_address_of_the_senders_choice(attacker: Attacker) -> None:
    """The command itself is on the list, and is answered with the gate too: the header alone is refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(attacker.seconds)
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"

        def attack() -> bool:
            answer = attacker.send("train.check_status", cell_headers={MessageHeaderKey.CONN_URL: url})
            assert answer not in ("", "invalid_request")
            try:
                listener.accept()[0].close()
            except TimeoutError:
                return False
            return True

        assert succeeds(attack) is not attacker.gated


@pytest.mark.threat("T-14")
def test_forging_the_senders_name(attacker: Attacker, victim: Path) -> None:
    """The answer goes to the server, so the attack is judged by what became of the folder."""

    def attack() -> bool:
        attacker.origin = "server"
        try:
            attacker.raw("admin", "admin", admin_message("train.delete_run", job_id=victim.name), seconds=0.5)
        finally:
            attacker.origin = ""
        return came_true(lambda: not victim.exists(), attacker.seconds)

    assert succeeds(attack) is not attacker.gated


@pytest.mark.threat("T-14")
def test_message_inside_a_bulk_message(attacker: Attacker, victim: Path) -> None:
    """FLARE dispatches the items of a bulk message without the incoming filters of a message."""

    def attack() -> bool:
        message = new_cell_message({}, admin_message("train.delete_run", job_id=victim.name))
        attacker.cell.core_cell.queue_message("admin", "admin", [SITE], message)
        return came_true(lambda: not victim.exists(), attacker.seconds)

    assert succeeds(attack) is not attacker.gated


@pytest.mark.threat("T-14")
def test_local_process_at_the_internal_listener(attacker: Attacker, victim: Path) -> None:
    """The listener for job processes lets in the site's own user, and FLARE takes whatever commands he sends."""

    def attack() -> bool:
        with local_intruder(attacker.kit.parent) as cell:
            assert came_true(lambda: SITE in cell.agents, 30.0)
            message = new_cell_message({}, admin_message("train.delete_run", job_id=victim.name))
            cell.send_request(channel="admin", target=SITE, topic="admin", request=message, timeout=attacker.seconds)
        return not victim.exists()

    assert succeeds(attack) is not attacker.gated


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("config/zeros", "w") as stream:
        for _ in range(BOMB_BYTES // 1_000_000):
            stream.write(bytes(1_000_000))
    return buffer.getvalue()


def most_bytes_while(folder: Path, done: threading.Event) -> int:
    """Return the most that the files of a folder took up at once until something was done."""
    most = 0
    while not done.is_set():
        size = 0
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                size += path.stat().st_size
        most = max(most, size)
        done.wait(0.002)
    return most


@pytest.mark.threat("T-11")
def test_zip_bomb_sent_past_the_server(attacker: Attacker, temporary: Path) -> None:
    """Without our own processor, FLARE unzips the upload before any deployer is asked."""
    job_id, done, sizes = str(uuid.uuid4()), threading.Event(), []
    watcher = threading.Thread(target=lambda: sizes.append(most_bytes_while(temporary, done)))
    watcher.start()
    try:
        answer = attacker.deploy(job_id, zip_bomb(), {"job_id": job_id, "name": "bomb"})
    finally:
        done.set()
        watcher.join()
    assert not answer.startswith("deployed")
    assert (sizes[0] > 10 * MAX_UNPACKED_BYTES) is not attacker.gated
    assert not (attacker.kit / job_id).exists()


@pytest.mark.threat("T-01")
@pytest.mark.threat("T-03")
def test_deploying_past_the_server(attacker: Attacker, heart_spec: JobSpec, tmp_path: Path) -> None:
    """The deployer rests on no server: it takes an honest app once, and no app that brings a file of its own.

    It is the same with the gate taken out: `train.deploy` is on the list, and the deployer is what decides.
    """
    spec = heart_spec.model_copy(
        update={"privacy": heart_spec.privacy.model_copy(update={"target_epsilon": 0.05}), "releases": ()}
    )
    envelope = new_envelope(spec, attacker.consortium.declarations.consortium.sites)
    stray, first, second = (str(uuid.uuid4()) for _ in range(3))
    files, meta = honest_app(envelope, stray)
    loaded = files | {"config/comm_config.json": b'{"comm_driver_path": "."}', "config/driver.py": b"1"}
    answer = attacker.deploy(stray, attacker.sign(loaded, tmp_path), meta)
    assert "config/comm_config.json was added after export" in answer
    assert "config/driver.py was added after export" in answer
    assert not (attacker.kit / stray).exists()

    data, ledger = attacker.sign(files, tmp_path), Ledger.open(attacker.kit.parent / LEDGER)
    assert attacker.deploy(first, data, meta | {"job_id": first}) == f"deployed app to {SITE}"
    spent, left = ledger.account(f"{SITE}-cardiology"), (attacker.kit / first / "meta.json").read_bytes()
    assert "envelope.replayed" in attacker.deploy(second, data, meta | {"job_id": second})
    assert "envelope.replayed" in attacker.deploy(first, data, meta | {"job_id": first, "min_clients": 1})
    assert not (attacker.kit / second).exists()
    assert (attacker.kit / first / "meta.json").read_bytes() == left
    assert ledger.account(f"{SITE}-cardiology") == spent
    ledger.verify()


@pytest.mark.threat("T-14")
def test_local_process_that_takes_the_servers_name(attacker: Attacker) -> None:
    """The site drops its connection to the server for the new one, and sends it heartbeats with its token.

    The attacker's cell connects anew whenever the site closes its connection.
    """

    def refusals() -> int:
        return (attacker.kit / "log.txt").read_text().count("gate: refused a connection under a name that is not")

    before = refusals()
    with local_server(attacker.kit.parent) as ear:
        assert not attacker.gated or came_true(lambda: refusals() >= before + TRIES, 60.0)
        stolen = came_true(lambda: "__token__" in ear.headers, 30.0 if attacker.gated else 60.0)
    attacker.federation.wait_for_sites((SITE,))
    assert stolen is not attacker.gated
