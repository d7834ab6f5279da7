"""A lead who uses his console's connection to send what he likes to a site and to its job process."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvflare.apis.shareable import Shareable
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.communicator import Communicator, Mode, driver_mgr
from nvflare.fuel.f3.connection import Connection
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.fuel.f3.message import Message as CellMessage
from nvflare.fuel.f3.message import MessageReceiver
from nvflare.lighter.utils import load_private_key_file, sign_folders
from nvflare.private.admin_defs import Message
from nvflare.private.defs import RequestHeader, new_cell_message
from nvflare.private.scheduler_constants import ShareableHeader
from tests.integration.stopping import stop
from tests.integration.test_deployer_refusals import zip_folder

from almoner.flare.commands.federation import Federation
from almoner.flare.commands.session import UserSession, open_session
from almoner.flare.door.render import render_app, render_meta
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.processes import internal_socket
from almoner.flare.processes.environment import HOME_VARIABLE
from almoner.schema.envelope import JobEnvelope

LEAD = "lead@cleveland.example"
SITE = "hungary"


def ungated(what: str) -> dict[str, str]:
    """Return the environment that starts "sites", "server" or "all" without their gate."""
    return {"PYTHONPATH": str(Path(__file__).parent / "hooks"), "ALMONER_TEST_UNGATED": what}


SITES_GATED, UNGATED = ungated("server"), ungated("all")
"""To try the gate of the sites alone: the server's would stop the same messages before."""

NO_JOBS = {"ALMONER_TEST_NO_JOBS": "1"}
"""For tests that run no job: starting a federation takes half the time without the helpers for job processes."""

TRIES = 3
"""How often an attack is carried out at most."""

NO_ANSWER_SECONDS, ANSWER_SECONDS = 1.0, 30.0
"""How long a gated participant, and one without its gate, is given to answer; the latter takes 0.1 s when idle."""


def came_true(what: Callable[[], bool], seconds: float) -> bool:
    """Poll until something is true, or the time is over."""
    deadline = time.monotonic() + seconds
    while not (true := what()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return true


def succeeds(attack: Callable[[], bool]) -> bool:
    """Carry out an attack until it succeeds; one that is to fail is carried out `TRIES` times."""
    return any(attack() for _ in range(TRIES))


class Attacker:
    """What the lead does, and what he can see of the site from outside."""

    def __init__(self, federation: Federation, session: UserSession, gated: bool) -> None:
        self.federation, self.session, self.gated = federation, session, gated
        self.consortium: ProvisionedConsortium = federation.consortium
        self.kit = self.consortium.site_folder(SITE) / "kit"
        self.cell = session._session.api.cell
        self.cell.core_cell.in_filter_reg.reg.clear()  # an attacker does not ask for authenticated replies
        self.cell.core_cell.in_reply_filter_reg.reg.clear()
        self.cell.core_cell.add_outgoing_request_filter("*", "*", self._forge)
        self.origin = ""

    @property
    def seconds(self) -> float:
        """How long to wait for an answer, or for what an attack does."""
        return NO_ANSWER_SECONDS if self.gated else ANSWER_SECONDS

    def _forge(self, message: CellMessage) -> None:
        """Take away the sender's own mark at which the server would strip CONN_URL, and set any name as sender."""
        message.remove_header(MessageHeaderKey.SERVER_TRANSIT_REQUIRED)
        if self.origin:
            message.set_header(MessageHeaderKey.ORIGIN, self.origin)

    def raw(
        self,
        channel: str,
        topic: str,
        payload: object,
        target: str = SITE,
        stream: bool = False,
        seconds: float = ANSWER_SECONDS,
        headers: dict[str, Any] | None = None,
    ) -> Any:
        """Send one message, in one piece or as a stream; return the answer's payload, None if there is none."""
        cell = self.cell if stream else self.cell.core_cell
        message = new_cell_message(headers or {}, payload)
        return cell.send_request(channel=channel, target=target, topic=topic, request=message, timeout=seconds).payload

    def send(self, topic: str, body: object = "", cell_headers: dict[str, Any] | None = None, **headers: Any) -> str:
        """Send one admin message to the site and return what comes back as text."""
        answer = self.raw("admin", "admin", admin_message(topic, body, **headers), headers=cell_headers)
        return str(answer.body) if isinstance(answer, Message) else ""

    def ask(self, topic: str, body: object = "", **headers: Any) -> Any:
        """Send one admin message and return the body of the answer."""
        answer = self.raw("admin", "admin", admin_message(topic, body, **headers), seconds=60.0)
        return answer.body if isinstance(answer, Message) else None

    def deploy(self, job_id: str, data: bytes, meta: dict[str, Any]) -> str:
        """Send the site an app without asking the server."""
        headers = {RequestHeader.JOB_ID: job_id, RequestHeader.JOB_META: meta, RequestHeader.APP_NAME: "app"}
        return str(self.ask("train.deploy", data, **headers))

    def start_job(self, job_id: str, meta: dict[str, Any]) -> str:
        """Reserve the site's resources and tell it to start a job, as the server does."""
        granted = self.ask("scheduler.check_resource", {}, job_id=job_id)
        token = granted.get_header(ShareableHeader.RESOURCE_RESERVE_TOKEN)
        headers = {"job_id": job_id, "job_meta": meta, ShareableHeader.RESOURCE_RESERVE_TOKEN: token}
        return str(self.ask("train.start_job", {}, **headers))

    def sign(self, files: dict[str, bytes], folder: Path) -> bytes:
        """Return an app signed with the lead's key, as FLARE's console does, in a zip."""
        app, keys = folder / str(uuid.uuid4()), self.consortium.user_kit(LEAD) / "startup"
        for name, content in files.items():
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            (app / name).write_bytes(content)
        sign_folders(str(app), load_private_key_file(str(keys / "client.key")), str(keys / "client.crt"))
        return zip_folder(app)


def admin_message(topic: str, body: object = "", **headers: Any) -> Message:
    """Return a message of FLARE's admin protocol."""
    request = Message(topic=topic, body=body)
    for name, value in headers.items():
        request.set_header(name, value)
    return request


def aux_request(job_id: str, **headers: Any) -> Shareable:
    """Return an auxiliary message that says it comes from a peer in the same job."""
    request = Shareable()
    request.set_peer_props({"__run_num__": job_id, "__identity_name__": "server"})
    for name, value in headers.items():
        request.set_header(name, value)
    return request


def honest_app(envelope: JobEnvelope, job_id: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the files and the meta data of a job as the server would deploy it."""
    return render_app(envelope), {"job_id": job_id, "study": envelope.spec.study, **render_meta(envelope)}


@contextmanager
def attacking(federation: Federation, gated: bool, study: str = "cardiology") -> Iterator[Attacker]:
    """Log the lead in."""
    with open_session(federation.consortium.user_kit(LEAD), study) as session:
        yield Attacker(federation, session, gated)


@contextmanager
def at_the_socket_of(home: Path) -> Iterator[str]:
    """Give this process the transport of a participant's own processes; yield the address to dial."""
    before = os.environ.get(HOME_VARIABLE)
    os.environ[HOME_VARIABLE] = str(home)
    if driver_mgr.find_driver_class(internal_socket.ADDRESS) is None:
        internal_socket.install()
    try:
        yield internal_socket.ADDRESS
    finally:
        del os.environ[HOME_VARIABLE]
        if before is not None:
            os.environ[HOME_VARIABLE] = before


@contextmanager
def local_intruder(home: Path) -> Iterator[CoreCell]:
    """Connect to a site's internal listener, as its own user can, under a job process's kind of name."""
    name = f"{SITE}.{uuid.uuid4()}"
    with at_the_socket_of(home) as address:
        cell = CoreCell(name, "tcp://127.0.0.1:9", False, {}, parent_url=address)
        try:
            cell.start()
            yield cell
        finally:
            stop(cell)


class Eavesdropper(MessageReceiver):
    """Collects the names of the headers of every message that arrives."""

    def __init__(self) -> None:
        self.headers: set[str] = set()

    def process_message(self, endpoint: Endpoint, connection: Connection, app_id: int, message: CellMessage) -> None:
        self.headers |= set(message.headers)


@contextmanager
def local_server(home: Path) -> Iterator[Eavesdropper]:
    """Connect to a site's internal listener under the name of the server."""
    ear = Eavesdropper()
    communicator = Communicator(Endpoint("server", {"fqcn": "server"}, {}))
    communicator.register_message_receiver(CoreCell.APP_ID, ear)
    with at_the_socket_of(home) as address:
        communicator.add_connector(address, Mode.ACTIVE, False)
        try:
            communicator.start()
            yield ear
        finally:
            stop(communicator)
