"""The server's gate: attacks on a real FLARE cell succeed without it and fail with it; what is honest comes in.

The cells are FLARE's own, built but not connected: messages are handed to the method that its network layer calls,
with the connection's endpoint, and what the cell would send is collected.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.core_cell import CellAgent, CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, MessagePropKey, MessageType, ReturnCode
from nvflare.fuel.f3.cellnet.utils import encode_payload
from nvflare.fuel.f3.drivers.driver_params import DriverParams
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.stats_pool import StatsPoolManager
from nvflare.fuel.f3.streaming.stream_const import STREAM_CHANNEL, STREAM_DATA_TOPIC, StreamHeaderKey
from nvflare.private.defs import AUTH_CLIENT_NAME_FOR_SJ, CellMessageHeaderKeys

from almoner.flare.gates import gate_parts, server_gate
from almoner.flare.gates.gate_parts import BYE, GatedRegistry
from almoner.flare.gates.server_gate import WAYS, ServerGate
from almoner.flare.gates.server_names import party_of

JOB, OTHER_JOB = "6a1b1111-0000-4000-8000-000000000000", "7c2d2222-0000-4000-8000-000000000000"
SITE, SITE_JOB, CONSOLE, SERVER_JOB = "hungary", f"hungary.{JOB}", f"_admin_{JOB}", f"server.{JOB}"
VICTIM, VICTIM_JOB = "cleveland", f"cleveland.{JOB}"
LEAD = "lead@cleveland.example"
AWAITED = "a-request-of-ours"


def certificate_of(name: str) -> str | None:
    """Return the common name of the certificate that the connection of that name has."""
    if name.startswith("_admin_"):
        return LEAD
    root = name.split(".")[0]
    return None if root == "server" else root


def make_message(
    sender: str, channel: object, topic: object, to: object = "server", more: dict[str, Any] | None = None
) -> Message:
    """Return a request as an honest sender makes it; `more` replaces headers."""
    headers = {
        MessageHeaderKey.MSG_TYPE: MessageType.REQ,
        MessageHeaderKey.ORIGIN: sender,
        MessageHeaderKey.DESTINATION: to,
        MessageHeaderKey.CHANNEL: channel,
        MessageHeaderKey.TOPIC: topic,
        CellMessageHeaderKeys.CLIENT_NAME: certificate_of(sender) or AUTH_CLIENT_NAME_FOR_SJ,
        **(more or {}),
    }
    return Message(headers, b"")


def arrived(message: Message, connection: str) -> Message:
    """Add what FLARE notes about the connection."""
    message.set_prop(MessagePropKey.ENDPOINT, Endpoint(connection))
    if certificate_of(connection) is not None:
        message.set_prop(MessagePropKey.COMMON_NAME, certificate_of(connection))
    return message


def is_let_in(message: Message, connection: str, at: str = "server") -> bool:
    """Tell whether a request passes both judgements."""
    door = ServerGate(at, lambda request_id: request_id == AWAITED)
    arrived(message, connection)
    return door.admit(message) is None and door.admit_request(message) is None


def is_forwarded(sender: str, to: object) -> bool:
    message = arrived(make_message(sender, "admin", "x", to), sender)
    return ServerGate("server", lambda request_id: False).admit(message) is None


class FakeConnection:
    """What FLARE asks a connection for."""

    def __init__(self, certificate: str | None) -> None:
        self.certificate = certificate

    def get_conn_properties(self) -> dict[str, str]:
        return {} if self.certificate is None else {DriverParams.PEER_CN.value: self.certificate}


class Server:
    """FLARE's cell of the server, with a site and its job process connected, and what got through."""

    def __init__(self, gated: bool) -> None:
        self.core: CoreCell = Cell("server", "tcp://localhost:1", False, {}).core_cell
        self.reached: list[str] = []
        self.sent: list[tuple[str, Message]] = []
        for peer in (SITE, VICTIM, VICTIM_JOB, SERVER_JOB):
            self.core.agents[peer] = CellAgent(peer, Endpoint(peer))
        for channel in ("task", "server_parent_listener", "_net_manager", "aux_communication"):
            self.core.register_request_cb(
                channel, "*", lambda message: self.reached.append(message.headers["cn__topic"])
            )
        self.core._send_to_endpoint = lambda to_endpoint, message: self.sent.append((to_endpoint.name, message)) or ""
        if gated:
            gate_parts.guard(self.core, ServerGate)

    def receive(self, message: Message, connection: str) -> None:
        """Do what FLARE does when a message arrives by a connection."""
        encode_payload(message)
        self.core.process_message(
            Endpoint(connection), FakeConnection(certificate_of(connection)), CoreCell.APP_ID, message
        )


@pytest.fixture(params=[True, False], ids=["gated", "ungated"])
def gated(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def server(gated: bool, monkeypatch: pytest.MonkeyPatch) -> Server:
    """FLARE keeps all cells and their statistics in tables of the process."""
    monkeypatch.setattr(CoreCell, "ALL_CELLS", {})
    monkeypatch.setattr(StatsPoolManager, "pools", {})
    return Server(gated)


# --- attacks on FLARE's own cell: each works without the gate

pytestmark = pytest.mark.threat("T-14")


@pytest.mark.parametrize("sender", [SITE, SITE_JOB, CONSOLE])
@pytest.mark.parametrize("to", [VICTIM, VICTIM_JOB])
def test_messages_to_another_site(server: Server, gated: bool, sender: str, to: str) -> None:
    server.receive(make_message(sender, "admin", "admin", to), sender)
    assert [peer for peer, _ in server.sent] == ([] if gated else [to])


@pytest.mark.parametrize("sender", [SITE, SITE_JOB, CONSOLE])
def test_questions_that_only_the_servers_own_jobs_may_ask(server: Server, gated: bool, sender: str) -> None:
    server.receive(make_message(sender, "server_parent_listener", "get_clients"), sender)
    assert server.reached == ([] if gated else ["get_clients"])


@pytest.mark.parametrize("topic", ["stop", "process_info", "change_root"])
@pytest.mark.parametrize("sender", [SITE, CONSOLE, SERVER_JOB])
def test_remote_control(server: Server, gated: bool, sender: str, topic: str) -> None:
    server.receive(make_message(sender, "_net_manager", topic), sender)
    assert server.reached == ([] if gated else [topic])


def test_a_lead_beats_as_a_site(server: Server, gated: bool) -> None:
    server.receive(make_message(CONSOLE, "task", "heart_beat"), CONSOLE)
    assert server.reached == ([] if gated else ["heart_beat"])


@pytest.mark.parametrize(
    ("sender", "kind"), [(CONSOLE, "regular"), (SITE, "admin"), (SITE, "relay"), (SITE, ["regular"])]
)
def test_registering_as_another_kind(server: Server, gated: bool, sender: str, kind: object) -> None:
    server.receive(make_message(sender, "task", "register", more={CellMessageHeaderKeys.CLIENT_TYPE: kind}), sender)
    assert server.reached == ([] if gated else ["register"])


@pytest.mark.parametrize(
    "forged",
    [
        {MessageHeaderKey.ORIGIN: VICTIM},
        {MessageHeaderKey.ORIGIN: "server"},
        {CellMessageHeaderKeys.CLIENT_NAME: VICTIM},  # with that site's token, say
        {MessageHeaderKey.SECURE: True},
        {MessageHeaderKey.ENCRYPTED: True},
    ],
)
def test_a_sender_who_is_not_whom_the_message_says(server: Server, gated: bool, forged: dict[str, Any]) -> None:
    server.receive(make_message(SITE, "task", "heart_beat", more=forged), SITE)
    assert server.reached == ([] if gated else ["heart_beat"])


def test_items_of_a_bulk_message(server: Server, gated: bool) -> None:
    item = {"channel": "task", "topic": "heart_beat", "target": "x", "message": {"headers": {}}}

    def bulk() -> Message:
        message = make_message(SITE, "cellnet.channel", "bulk")
        message.payload = [item]
        return message

    if gated:
        server.receive(bulk(), SITE)
        assert server.core.bulk_messages == []
    # even if it had come in: an item names no connection
    server.core._process_one_bulk(bulk())
    assert server.reached == ([] if gated else ["heart_beat"])


def test_a_goodbye_is_answered_and_not_acted_on(server: Server, gated: bool) -> None:
    server.receive(make_message(SITE, *BYE, more={MessageHeaderKey.REPLY_EXPECTED: True}), SITE)
    assert (SITE in server.core.agents) is gated
    assert [answer.headers[MessageHeaderKey.RETURN_CODE] for _, answer in server.sent] == [ReturnCode.OK]


# --- what the gate decides


def test_honest_requests_come_in() -> None:
    at = {"parent": "server", "job": SERVER_JOB}
    senders = {"site": SITE, "site_job": SITE_JOB, "console": CONSOLE, "server_job": SERVER_JOB, "server": "server"}
    kinds = {"site": "regular", "console": "admin"}
    for process, parties in WAYS.items():
        for party, ways in parties.items():
            for way in ways | {BYE}:
                more = {CellMessageHeaderKeys.CLIENT_TYPE: kinds.get(party)}
                message = make_message(senders[party], *way, to=at[process], more=more)
                connection = senders[party] if process == "parent" else "server"
                door = ServerGate(at[process], lambda request_id: False)
                assert door.admit(arrived(message, connection)) is None, way


@pytest.mark.parametrize(
    ("sender", "to", "passes"),
    [
        (SITE_JOB, SERVER_JOB, True),
        (SERVER_JOB, SITE_JOB, True),
        (SERVER_JOB, VICTIM_JOB, True),
        (SITE_JOB, f"server.{OTHER_JOB}", False),
        (SERVER_JOB, f"cleveland.{OTHER_JOB}", False),
        (SERVER_JOB, f"server.{OTHER_JOB}", False),
        (SERVER_JOB, VICTIM, False),
        (SERVER_JOB, CONSOLE, False),
        (SITE_JOB, VICTIM_JOB, False),
        (SITE_JOB, SITE, False),
        (SITE, SERVER_JOB, False),
        (SITE, SITE_JOB, False),
        (CONSOLE, SERVER_JOB, False),
        (CONSOLE, SITE_JOB, False),
        (SITE_JOB, None, False),
        (SITE_JOB, [SERVER_JOB], False),
    ],
)
def test_only_the_processes_of_one_job_are_connected(sender: str, to: object, passes: bool) -> None:
    assert is_forwarded(sender, to) is passes


def test_a_job_hears_its_own_job_alone_and_by_the_server_alone() -> None:
    ask = ("server_command", "get_task")
    assert is_let_in(make_message(SITE_JOB, *ask, to=SERVER_JOB), "server", SERVER_JOB)
    assert not is_let_in(make_message(f"hungary.{OTHER_JOB}", *ask, to=SERVER_JOB), "server", SERVER_JOB)
    assert not is_let_in(make_message(SITE_JOB, *ask, to=SERVER_JOB), SITE_JOB, SERVER_JOB)
    assert not is_let_in(make_message("server", *ask, to=SERVER_JOB), "server", SERVER_JOB)
    assert not is_let_in(make_message(SITE_JOB, "server_command", "abort", to=SERVER_JOB), "server", SERVER_JOB)
    assert not is_let_in(make_message(SITE_JOB, *ask, to=VICTIM_JOB), "server", SERVER_JOB)


@pytest.mark.parametrize("kind", [MessageType.REPLY, MessageType.RETURN])
def test_replies_must_be_awaited(kind: str) -> None:
    def reply(answered: object) -> Message:
        more = {MessageHeaderKey.MSG_TYPE: kind, MessageHeaderKey.REQ_ID: answered}
        return arrived(make_message(SITE, "admin", "admin", more=more), SITE)

    door = ServerGate("server", lambda request_id: request_id == AWAITED)
    assert door.admit(reply([AWAITED])) is None
    assert door.admit(reply("guessed")) is not None
    assert door.admit(arrived(reply([AWAITED]), VICTIM)) is not None  # by another's connection


def test_a_stream_is_judged_by_what_it_wraps() -> None:
    def stream(channel: str, topic: str) -> Message:
        more = {StreamHeaderKey.CHANNEL: channel, StreamHeaderKey.TOPIC: topic}
        return make_message(CONSOLE, STREAM_CHANNEL, STREAM_DATA_TOPIC, more=more)

    assert is_let_in(stream("hci_channel", "command"), CONSOLE)
    assert not is_let_in(stream("_net_manager", "stop"), CONSOLE)
    assert not is_let_in(stream("return_only", "any"), CONSOLE)


def test_addresses_to_dial_are_taken_out_of_what_is_forwarded() -> None:
    message = make_message(SITE_JOB, "aux_communication", "x", SERVER_JOB, {MessageHeaderKey.CONN_URL: "tcp://evil:1"})
    ServerGate("server", lambda request_id: False).admit(arrived(message, SITE_JOB))
    assert MessageHeaderKey.CONN_URL not in message.headers


def test_every_new_cell_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoreCell, "ALL_CELLS", {})
    monkeypatch.setattr(StatsPoolManager, "pools", {})
    monkeypatch.setattr(CoreCell, "__init__", CoreCell.__init__)
    monkeypatch.setattr(server_gate.server_names, "install", lambda: None)
    server_gate.install()
    core = Cell("server", "tcp://localhost:1", False, {}).core_cell
    assert isinstance(core.in_filter_reg, GatedRegistry)
    assert isinstance(core.in_req_filter_reg, GatedRegistry)


# --- whatever the headers are


ANYTHING = st.recursive(
    st.sampled_from([SITE, SITE_JOB, CONSOLE, SERVER_JOB, "server", "task", "register", "regular", "stop", *BYE])
    | st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
HEADERS = [
    *(value for name, value in vars(MessageHeaderKey).items() if not name.startswith("_")),
    *(value for name, value in vars(StreamHeaderKey).items() if not name.startswith("_")),
    CellMessageHeaderKeys.CLIENT_NAME,
    CellMessageHeaderKeys.CLIENT_TYPE,
]


@settings(max_examples=500)
@given(
    connection=st.sampled_from([SITE, SITE_JOB, CONSOLE, SERVER_JOB, "server"]),
    headers=st.dictionaries(st.sampled_from(HEADERS), ANYTHING),
    at=st.sampled_from(["server", SERVER_JOB]),
)
def test_random_headers_never_raise_and_forward_within_one_job_alone(
    connection: str, headers: dict[str, object], at: str
) -> None:
    message = arrived(Message(dict(headers), b""), connection)
    door = ServerGate(at, lambda request_id: False)
    let_in = door.admit(message) is None
    door.admit_request(message)
    if let_in and headers.get(MessageHeaderKey.DESTINATION) != at:
        assert at == "server"
        assert {party_of(connection), party_of(headers[MessageHeaderKey.DESTINATION])} == {"site_job", "server_job"}
    if let_in and at == "server":
        assert headers[MessageHeaderKey.ORIGIN] == connection
