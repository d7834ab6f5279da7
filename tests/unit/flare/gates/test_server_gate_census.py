"""Every way into the server's processes that FLARE opens has been reviewed, and the gate decides as reviewed.

The ways are those of test_gate_census, which reads all of FLARE's source, and the commands that the server's two
processes dispatch to by topic.
"""

import ast

import pytest
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, MessagePropKey, MessageType
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.streaming.stream_const import STREAM_CHANNEL, STREAM_DATA_TOPIC, StreamHeaderKey
from nvflare.private.defs import CellMessageHeaderKeys
from nvflare.private.fed.server.server_commands import ServerCommands
from tests.unit.flare.gates.test_gate_census import flare_trees, flare_ways, resolve, subclasses

from almoner.flare.gates.gate_census import CENSUS
from almoner.flare.gates.gate_parts import Way
from almoner.flare.gates.server_gate import WAYS, ServerGate
from almoner.flare.gates.server_gate_census import ASKERS, SERVER_CENSUS, Asker, ServerEntry

JOB = "6a1b1111-0000-4000-8000-000000000000"
NAMES = {
    "site": "hungary",
    "site_job": f"hungary.{JOB}",
    "console": f"_admin_{JOB}",
    "server_job": f"server.{JOB}",
    "server": "server",
}
CONSOLE_COMMAND = ("hci_channel", "command")
"""The one topic that FLARE's console uses; the server takes any."""
LISTENER = "private/fed/server/fed_server.py"
AWAITED = "a-request-of-ours"


def parent_commands() -> set[Way]:
    """Return what the server's parent process compares the topic of its jobs' messages with."""
    (function,) = (
        node
        for node in ast.walk(flare_trees()[LISTENER])
        if isinstance(node, ast.FunctionDef) and node.name == "_listen_command"
    )
    compared = [node for node in ast.walk(function) if isinstance(node, ast.Compare)]
    topics = {resolve(LISTENER, node.comparators[0]) for node in compared if ast.unparse(node.left) == "command"}
    return {("server_parent_listener", topic) for topic in topics}


def server_ways() -> set[Way]:
    """Return every way into the server that FLARE's source, or its table in memory, knows of."""
    commands = [kind() for kind in subclasses("CommandProcessor", "private/fed/server")]
    names = {command.get_command_name() for command in [*commands, *ServerCommands.commands]}
    return flare_ways() | {("server_command", name) for name in names} | parent_commands() | {CONSOLE_COMMAND}


def is_let_in(asker: Asker, way: Way) -> bool:
    """Tell whether a request of that way gets through, by itself or in a stream."""
    process, party = asker
    channel, topic = way[0], "anything" if way[1] == "*" or way[1].startswith("<") else way[1]
    kind = {"site": "regular", "console": "admin"}.get(party)
    destination = "server" if process == "parent" else f"server.{JOB}"
    headers = {
        MessageHeaderKey.MSG_TYPE: MessageType.REQ,
        MessageHeaderKey.ORIGIN: NAMES[party],
        MessageHeaderKey.DESTINATION: destination,
        CellMessageHeaderKeys.CLIENT_TYPE: kind,
    }
    plain = {MessageHeaderKey.CHANNEL: channel, MessageHeaderKey.TOPIC: topic}
    stream = {
        MessageHeaderKey.CHANNEL: STREAM_CHANNEL,
        MessageHeaderKey.TOPIC: STREAM_DATA_TOPIC,
        StreamHeaderKey.CHANNEL: channel,
        StreamHeaderKey.TOPIC: topic,
        StreamHeaderKey.STREAM_REQ_ID: AWAITED,
    }
    messages = [Message(headers | plain, b""), Message(headers | stream, b"")]
    for message in messages:
        message.set_prop(MessagePropKey.ENDPOINT, Endpoint(NAMES[party] if process == "parent" else "server"))
    gate = ServerGate(destination, lambda request_id: request_id == AWAITED)
    return any(gate.admit(message) is None and gate.admit_request(message) is None for message in messages)


REST = tuple(
    ServerEntry(entry.way, frozenset(), entry.why)
    for entry in CENSUS
    if entry.way not in {reviewed.way for reviewed in SERVER_CENSUS}
)


def test_every_way_in_that_flare_knows_is_reviewed() -> None:
    newcomers = sorted(":".join(way) for way in server_ways() - {entry.way for entry in SERVER_CENSUS + REST})
    assert not newcomers, f"review these in server_gate_census.py: {newcomers}"


def test_the_census_lists_nothing_that_flare_does_not_know() -> None:
    gone = sorted(":".join(way) for way in {entry.way for entry in SERVER_CENSUS} - server_ways())
    assert not gone, f"take these out of server_gate_census.py: {gone}"


def test_each_way_is_reviewed_once() -> None:
    assert len({entry.way for entry in SERVER_CENSUS}) == len(SERVER_CENSUS)


@pytest.mark.parametrize("entry", SERVER_CENSUS + REST, ids=lambda entry: ":".join(entry.way))
def test_the_gate_decides_as_reviewed(entry: ServerEntry) -> None:
    assert {asker for asker in ASKERS if is_let_in(asker, entry.way)} == entry.admits


def test_the_gate_lists_nothing_that_is_not_reviewed() -> None:
    listed = {way for parties in WAYS.values() for ways in parties.values() for way in ways}
    assert listed <= {entry.way for entry in SERVER_CENSUS if entry.admits}


def test_every_asker_of_the_gate_is_reviewed() -> None:
    assert {(process, party) for process, parties in WAYS.items() for party in parties} == ASKERS


def test_a_newcomer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    source = 'def _listen_command(self, command):\n    if command == "give_up_tokens":\n        return 1\n'
    monkeypatch.setitem(flare_trees(), LISTENER, ast.parse(source))
    with pytest.raises(AssertionError, match="server_parent_listener:give_up_tokens"):
        test_every_way_in_that_flare_knows_is_reviewed()
