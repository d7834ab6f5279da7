"""The gate: attacks on a real FLARE cell succeed without it and fail with it; what honest jobs need comes in.

The cells are FLARE's own, built but not connected: messages are handed to the method that its network layer calls.
"""

import itertools
import logging
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvflare.apis.shareable import Shareable
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.core_cell import CellAgent, CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, MessageType, ReturnCode
from nvflare.fuel.f3.cellnet.registry import Callback, Registry
from nvflare.fuel.f3.cellnet.utils import encode_payload
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.stats_pool import StatsPoolManager
from nvflare.fuel.f3.streaming.stream_const import (
    STREAM_ACK_TOPIC,
    STREAM_CHANNEL,
    STREAM_DATA_TOPIC,
    STREAM_ERROR_TOPIC,
    StreamDataType,
    StreamHeaderKey,
)
from nvflare.fuel.utils import fobs
from nvflare.fuel.utils.fobs import FOBSContextKey
from nvflare.private.admin_defs import Message as AdminMessage
from nvflare.private.fed.client.admin_commands import AdminCommands
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from nvflare.private.fed.utils.fed_utils import fobs_initialize

from almoner.flare.gates import gate, gate_parts
from almoner.flare.gates.deploy_processor import BoundedDeployProcessor
from almoner.flare.gates.gate import ADMIN_TOPICS, END_RUN, JOB_COMMANDS, Gate
from almoner.flare.gates.gate_log import RefusalLog
from almoner.flare.gates.gate_parts import BYE, GatedRegistry, Process

SITE = {"parent": "hungary", "job": "hungary.6a1b"}
AWAITED = "a-request-of-ours"
PROCESSES: tuple[Process, Process] = ("parent", "job")


def make_message(process: Process, channel: object, topic: object, payload: object = None, **more: object) -> Message:
    """Return a request as it arrives from the server; `more` names members of FLARE's MessageHeaderKey."""
    headers = {
        MessageHeaderKey.MSG_TYPE: MessageType.REQ,
        MessageHeaderKey.ORIGIN: "lead",
        MessageHeaderKey.DESTINATION: SITE[process],
        MessageHeaderKey.CHANNEL: channel,
        MessageHeaderKey.TOPIC: topic,
        **{getattr(MessageHeaderKey, name): value for name, value in more.items()},
    }
    return Message(headers, payload)


def make_chunk(process: Process, channel: object, topic: object, request_id: object = "unknown") -> Message:
    """Return the only piece of a stream."""
    message = make_message(process, STREAM_CHANNEL, STREAM_DATA_TOPIC, b"x")
    message.add_headers(
        {
            StreamHeaderKey.CHANNEL: channel,
            StreamHeaderKey.TOPIC: topic,
            StreamHeaderKey.STREAM_ID: 7,
            StreamHeaderKey.STREAM_REQ_ID: request_id,
            StreamHeaderKey.SEQUENCE: 0,
            StreamHeaderKey.SIZE: 1,
            StreamHeaderKey.DATA_TYPE: StreamDataType.FINAL,
        }
    )
    return message


def make_gate(process: Process) -> Gate:
    return Gate(SITE[process], process, lambda request_id: request_id == AWAITED)


def is_let_in(process: Process, message: Message) -> bool:
    """Tell whether a request passes both judgements."""
    door = make_gate(process)
    return door.admit(message) is None and door.admit_request(message) is None


class Site:
    """One of FLARE's cells of a site, and what got through to its callbacks."""

    def __init__(self, process: Process, gated: bool) -> None:
        self.process, self.reached = process, []
        self.cell = Cell(SITE[process], "tcp://localhost:1", False, {})
        self.core: CoreCell = self.cell.core_cell
        self.core.agents["server"] = CellAgent("server", Endpoint("server"))
        for channel in ("admin", "aux_communication", "client_command", "sys"):
            self.core.register_request_cb(channel, "*", self._note)
        self.sent: list[Message] = []
        self.core._send_to_endpoint = lambda to_endpoint, message: self.sent.append(message) or ""
        if gated:
            gate_parts.guard(self.core, lambda name, is_awaited: Gate(name, process, is_awaited))

    def _note(self, message: Message) -> None:
        payload = message.payload
        self.reached.append(payload.topic if isinstance(payload, AdminMessage) else message.headers["cn__topic"])

    def receive(self, message: Message) -> None:
        """Do what FLARE does when the server sends or forwards a message to the site."""
        encode_payload(message)
        if isinstance(message.payload, list):
            message.payload = b"".join(message.payload)
        self.core.process_message(Endpoint("server"), None, CoreCell.APP_ID, message)


@pytest.fixture(params=[True, False], ids=["gated", "ungated"])
def gated(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(autouse=True)
def fresh_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """FLARE keeps all cells and their statistics in tables of the process."""
    monkeypatch.setattr(CoreCell, "ALL_CELLS", {})
    monkeypatch.setattr(StatsPoolManager, "pools", {})


@pytest.fixture
def make_site(gated: bool) -> Callable[[Process], Site]:
    return lambda process: Site(process, gated)


# --- attacks on FLARE's own cell: each works without the gate


@pytest.mark.threat("T-14")
@pytest.mark.parametrize("topic", ["sys.shell", "train.delete_run", "sys.report_env"])
def test_admin_requests_off_the_list(make_site: Callable[[Process], Site], gated: bool, topic: str) -> None:
    site = make_site("parent")
    site.receive(make_message("parent", "admin", "train.deploy", AdminMessage(topic, ""), REPLY_EXPECTED=True))
    assert site.reached == ([] if gated else [topic])
    if gated:
        assert [answer.headers[MessageHeaderKey.RETURN_CODE] for answer in site.sent] == [ReturnCode.INVALID_REQUEST]
        assert site.sent[0].payload is None


@pytest.mark.threat("T-14")
@pytest.mark.parametrize(
    ("channel", "topic"), [("aux_communication", "__do_task__"), ("client_command", "show_errors")]
)
def test_requests_to_the_job_process_off_the_list(
    make_site: Callable[[Process], Site], gated: bool, channel: str, topic: str
) -> None:
    site = make_site("job")
    site.receive(make_message("job", channel, topic, b""))
    assert site.reached == ([] if gated else [topic])


@pytest.mark.threat("T-14")
def test_a_forwarded_goodbye_cuts_no_connection(make_site: Callable[[Process], Site], gated: bool) -> None:
    """FLARE drops its connection to the cell that forwarded the goodbye: a site without server."""
    site = make_site("parent")
    site.receive(make_message("parent", *BYE, REPLY_EXPECTED=True))
    assert ("server" in site.core.agents) is gated
    assert [answer.headers[MessageHeaderKey.RETURN_CODE] for answer in site.sent] == [ReturnCode.OK]


@pytest.mark.threat("T-14")
def test_a_connection_address_is_never_dialled(
    make_site: Callable[[Process], Site], gated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, dialled = make_site("job"), []
    monkeypatch.setattr(site.core, "_add_adhoc_connector", lambda to_cell, url: dialled.append(url))
    site.receive(make_message("job", *END_RUN, b"", CONN_URL="tcp://evil:1", FROM_CELL="server"))
    assert dialled == ([] if gated else ["tcp://evil:1"])
    assert site.reached == ["__end_run__"]


@pytest.mark.threat("T-14")
@pytest.mark.parametrize("headers", [{"ENCRYPTED": True}, {}])
def test_a_secure_message_makes_the_site_ask_nobody_for_a_certificate(
    make_site: Callable[[Process], Site], gated: bool, headers: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLARE asks whom the sender names, and waits up to an hour, to decrypt the request or encrypt the reply."""
    site, asked = make_site("job"), []
    site.core.register_request_cb("aux_communication", "*", lambda message: Message())
    monkeypatch.setattr(site.core.cert_ex, "get_certificate", lambda target: asked.append(target) or b"")
    monkeypatch.setattr(site.core, "_send_to_endpoint", lambda to_endpoint, message: site.core.encrypt_payload(message))
    site.receive(make_message("job", *END_RUN, b"", SECURE=True, REPLY_EXPECTED=True, ORIGIN="victim", **headers))
    assert asked == ([] if gated else ["victim"])


@pytest.mark.threat("T-14")
@pytest.mark.parametrize(("channel", "topic"), [("aux_communication", "__do_task__"), ("admin", "sys.shell")])
def test_a_stream_that_wraps_another_channel(
    make_site: Callable[[Process], Site], gated: bool, channel: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process: Process = "job" if channel == "aux_communication" else "parent"
    site, reached = make_site(process), []
    registry = site.cell.byte_receiver.registry
    monkeypatch.setattr(registry, "find", lambda *way: reached.append(way))  # what FLARE would dispatch the stream to
    site.receive(make_chunk(process, channel, topic))
    assert reached == ([] if gated else [(channel, topic)])


@pytest.mark.threat("T-14")
def test_items_of_a_bulk_message(make_site: Callable[[Process], Site], gated: bool) -> None:
    site = make_site("job")
    item = {"channel": "aux_communication", "topic": "__do_task__", "target": "x", "message": {"headers": {}}}
    if gated:
        site.receive(make_message("job", "cellnet.channel", "bulk", [item]))
        assert site.core.bulk_messages == []
    # even if it had come in: each item is judged before it is dispatched
    site.core._process_one_bulk(make_message("job", "cellnet.channel", "bulk", [item]))
    assert site.reached == ([] if gated else ["__do_task__"])


@pytest.mark.threat("T-14")
@pytest.mark.parametrize("kind", [MessageType.REPLY, MessageType.RETURN])
def test_replies_that_nobody_waits_for_are_not_decoded(
    make_site: Callable[[Process], Site], gated: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, processed = make_site("parent"), []
    monkeypatch.setattr(site.core, "_process_reply", lambda origin, message, msg_type: processed.append(msg_type))
    site.receive(make_message("parent", "task", "heart_beat", b"", MSG_TYPE=kind, REQ_ID=["guessed"]))
    assert processed == ([] if gated else [kind])
    site.core.waiters["ours"] = object()
    site.receive(make_message("parent", "task", "heart_beat", b"", MSG_TYPE=kind, REQ_ID=["ours"]))
    site.receive(make_message("parent", "task", "heart_beat", b"", MSG_TYPE=kind, REQ_ID="ours"))
    assert processed[-2:] == [kind, kind]


@pytest.mark.threat("T-14")
def test_streamed_replies_come_in_when_awaited(make_site: Callable[[Process], Site], gated: bool) -> None:
    site, seen = make_site("job"), []
    site.cell.byte_receiver.registry.find = lambda channel, topic: seen.append(topic)
    site.receive(make_chunk("job", "return_only", "server_command:get_task"))
    assert len(seen) == (0 if gated else 1)
    site.cell.requests_dict["ours"] = object()
    site.receive(make_chunk("job", "return_only", "server_command:get_task", "ours"))
    assert len(seen) == (1 if gated else 2)


def test_a_specific_filter_shadows_a_general_one_but_not_the_gate() -> None:
    """FLARE asks the filters of the most specific key alone: its own or a component's filter hides one on "*"."""

    def stop(message: Message) -> Message:
        return Message()

    def other(message: Message) -> None: ...

    plain, gated_one = Registry(), GatedRegistry(stop)
    plain.append("*", "*", Callback(stop, [], {}))
    for registry in (plain, gated_one):
        registry.append("aux_communication", "__do_task__", Callback(other, [], {}))
    assert [found.cb for found in plain.find("aux_communication", "__do_task__")] == [other]
    assert [found.cb for found in gated_one.find("aux_communication", "__do_task__")] == [stop, other]
    assert [found.cb for found in gated_one.find("x", "y")] == [stop]


# --- what the gate decides


def test_honest_requests_come_in() -> None:
    for topic in sorted(ADMIN_TOPICS):
        assert is_let_in("parent", make_message("parent", "admin", "any", AdminMessage(topic, "")))
    for command in sorted(JOB_COMMANDS):
        assert is_let_in("job", make_message("job", "client_command", command))
    assert is_let_in("job", make_message("job", *END_RUN))
    assert is_let_in("job", make_chunk("job", *END_RUN))
    for process, topic in itertools.product(PROCESSES, (STREAM_ACK_TOPIC, STREAM_ERROR_TOPIC)):
        assert is_let_in(process, make_message(process, STREAM_CHANNEL, topic))
        assert is_let_in(process, make_chunk(process, "return_only", "any:thing", AWAITED))


@pytest.mark.parametrize(
    "payload",
    [None, b"", {"topic": "train.deploy"}, "train.deploy", AdminMessage([], ""), AdminMessage(None, "")],
)
def test_a_decoded_admin_request_must_be_flares_own_type(payload: object) -> None:
    assert make_gate("parent").admit_request(make_message("parent", "admin", "train.deploy", payload)) is not None


@pytest.mark.parametrize("channel", ["admin", "client_command", "aux_communication", "cellnet.channel"])
def test_a_list_holds_for_its_own_process_only(channel: str) -> None:
    topics = [*JOB_COMMANDS, "__end_run__", "train.deploy"]
    parent = [make_message("parent", channel, topic) for topic in topics]
    assert not any(is_let_in("parent", message) for message in parent)
    job = [make_message("job", "admin", "train.deploy", AdminMessage(topic, "")) for topic in ADMIN_TOPICS]
    assert not any(is_let_in("job", message) for message in job)


@pytest.mark.parametrize("topic", [STREAM_DATA_TOPIC + "x", "sm__CERT", "", None])
def test_other_topics_of_the_stream_channel_are_refused(topic: object) -> None:
    message = make_chunk("job", "return_only", "x", AWAITED)
    message.set_header(MessageHeaderKey.TOPIC, topic)
    assert make_gate("job").admit(message) is not None


@pytest.mark.parametrize(
    ("process", "destination", "passes"),
    [
        ("parent", "hungary.6a1b", True),
        ("parent", "hungary.6a1b.rank", True),
        ("parent", "hungary2", False),
        ("parent", "hungary2.6a1b", False),
        ("parent", "server", False),
        ("parent", None, False),
        ("parent", ["hungary."], False),
        ("job", "hungary.6a1b.rank", False),
        ("job", "hungary", False),
    ],
)
@pytest.mark.parametrize("kind", [MessageType.REQ, MessageType.REPLY, MessageType.RETURN])
def test_only_the_parent_relays_and_only_to_its_own_jobs(
    process: Process, destination: object, passes: bool, kind: str
) -> None:
    message = make_message(
        process, "admin", "x", DESTINATION=destination, MSG_TYPE=kind, CONN_URL="tcp://evil:1", REQ_ID=AWAITED
    )
    assert (make_gate(process).admit(message) is None) is passes
    assert MessageHeaderKey.CONN_URL not in message.headers


def test_a_message_without_headers_is_refused() -> None:
    for process in PROCESSES:
        assert make_gate(process).admit(Message(None, None)) is not None
        assert make_gate(process).admit_request(Message(None, None)) is not None


def test_refusals_are_logged_short_and_printable(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_parts, "REFUSALS", RefusalLog())
    with caplog.at_level(logging.WARNING, logger="almoner.flare.gates.gate"):
        make_gate("job").admit(make_message("job", "evil\nline\x1b[2J", "x" * 10_000_000))
    (record,) = caplog.records
    assert len(record.getMessage()) < 400
    assert record.getMessage().isprintable()


@pytest.mark.parametrize(("value", "opens"), [(b"x" * 3_000_000, False), (np.zeros(500_000), True)])
def test_large_replies_as_bytes_need_no_download_channel(value: object, opens: bool) -> None:
    """FLARE serves large arrays from `download_service__`, which the gate refuses; bytes it sends in the message."""
    fobs_initialize()
    cell = Cell("hungary", "tcp://localhost:1", False, {})
    reply = Shareable({"almoner": value})
    sent = fobs.dumps(reply, buffer_list=True, fobs_ctx=cell.get_fobs_context({FOBSContextKey.NUM_RECEIVERS: 1}))
    assert (sum(len(piece) for piece in sent) < 3_000_000) is opens
    assert any(way.startswith("download_service__") for way in cell.core_cell.req_reg.reg) is opens


def test_commands_are_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    processors = list(ClientRequestProcessors.request_processors)
    monkeypatch.setattr(ClientRequestProcessors, "request_processors", processors)
    monkeypatch.setattr(AdminCommands, "commands", list(AdminCommands.commands))
    gate.trim_commands()
    topics = [topic for processor in processors for topic in processor.get_topics()]
    assert sorted(topics) == sorted(ADMIN_TOPICS)
    assert {command.get_command_name() for command in AdminCommands.commands} == JOB_COMMANDS
    (deploy,) = [processor for processor in processors if processor.get_topics() == ["train.deploy"]]
    assert isinstance(deploy, BoundedDeployProcessor)


def test_every_new_cell_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoreCell, "__init__", CoreCell.__init__)
    monkeypatch.setattr(gate, "trim_commands", lambda: None)
    gate.install("parent")
    core = Cell("hungary", "tcp://localhost:1", False, {}).core_cell
    assert isinstance(core.in_filter_reg, GatedRegistry)
    assert isinstance(core.in_req_filter_reg, GatedRegistry)


# --- whatever the headers are


NAMES = st.sampled_from(
    [
        "admin",
        "aux_communication",
        "client_command",
        "return_only",
        "cellnet.channel",
        STREAM_CHANNEL,
        STREAM_DATA_TOPIC,
        "__end_run__",
        "__do_task__",
        "abort",
        "show_errors",
        "bye",
        "bulk",
        "sys.shell",
        "train.deploy",
        *SITE.values(),
        *(kind for kind in (MessageType.REQ, MessageType.REPLY, MessageType.RETURN)),
    ]
)
HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
HEADERS = [
    value
    for holder in (MessageHeaderKey, StreamHeaderKey)
    for name, value in vars(holder).items()
    if not name.startswith("_")
]


@settings(max_examples=500)
@given(
    process=st.sampled_from(PROCESSES),
    headers=st.dictionaries(st.sampled_from(HEADERS), NAMES | HOSTILE),
    payload=HOSTILE | st.builds(AdminMessage, NAMES | HOSTILE, st.none()),
)
def test_random_headers_never_raise_and_never_open_the_gate(
    process: Process, headers: dict[str, object], payload: object
) -> None:
    headers = {
        MessageHeaderKey.DESTINATION: SITE[process],
        MessageHeaderKey.MSG_TYPE: MessageType.REQ,
        **headers,
    }
    message, door = Message(dict(headers), payload), make_gate(process)
    arrived, dispatched = door.admit(message) is None, door.admit_request(message) is None
    way = headers.get(MessageHeaderKey.CHANNEL), headers.get(MessageHeaderKey.TOPIC)
    inner = headers.get(StreamHeaderKey.CHANNEL), headers.get(StreamHeaderKey.TOPIC)
    honest = {
        "parent": way[0] == "admin" and isinstance(payload, AdminMessage) and payload.topic == "train.deploy",
        "job": way in (("aux_communication", "__end_run__"), ("client_command", "abort"))
        or (way == (STREAM_CHANNEL, STREAM_DATA_TOPIC) and inner == ("aux_communication", "__end_run__")),
    }[process]
    assert not dispatched or honest
    if headers[MessageHeaderKey.MSG_TYPE] == MessageType.REQ and headers[MessageHeaderKey.DESTINATION] == SITE[process]:
        assert not arrived or honest or (process == "parent" and way[0] == "admin") or way == BYE
