"""Every way into a site's processes that FLARE registers has been reviewed, and the gate decides as reviewed.

The ways are read from FLARE's source: each call that registers a callback, wherever in the package, and each
admin processor and job command. A new FLARE version that adds one fails here, and the newcomer is named.
"""

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nvflare
import pytest
from nvflare.apis.fl_constant import ReservedTopic
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import CellChannel, MessageHeaderKey, MessageType
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.streaming.blob_streamer import BlobStreamer
from nvflare.fuel.f3.streaming.byte_receiver import ByteReceiver
from nvflare.fuel.f3.streaming.stream_const import STREAM_CHANNEL, STREAM_DATA_TOPIC, StreamHeaderKey
from nvflare.private.admin_defs import Message as AdminMessage
from nvflare.private.aux_runner import AuxRunner
from nvflare.private.fed.client.admin_commands import AdminCommands
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from nvflare.widgets.fed_event import FED_EVENT_TOPIC

from almoner.flare.gates.gate import Gate
from almoner.flare.gates.gate_census import CENSUS, FORWARDERS, Entry
from almoner.flare.gates.gate_parts import Process, Way

ROOT = Path(nvflare.__file__).parent
AUX, ADMIN, COMMAND = "aux_communication", "admin", "client_command"
REGISTRARS = {
    "register_request_cb",
    "_register_request_cb",
    "register_blob_cb",
    "register_blob_callback",
    "register_stream_cb",
    "register_callback",
    "register_aux_message_handler",
}
"""FLARE's methods that open a way in."""
SITE: dict[Process, str] = {"parent": "hungary", "job": "hungary.6a1b"}
AWAITED = "a-request-of-ours"


@cache
def flare_trees() -> dict[str, ast.Module]:
    return {str(path.relative_to(ROOT)): ast.parse(path.read_bytes()) for path in sorted(ROOT.rglob("*.py"))}


@cache
def nodes_of(tree: ast.Module) -> tuple[ast.AST, ...]:
    return tuple(node for node in ast.walk(tree) if isinstance(node, (ast.Call, ast.ClassDef, ast.Attribute)))


def module_of(path: str) -> object:
    return importlib.import_module("nvflare." + path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))


def resolve(path: str, node: ast.expr) -> str:
    """Return the text that an argument stands for; what depends on an object is named by place and expression."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    expression = ast.unparse(node)
    names = expression.split(".")
    if not all(name.isidentifier() for name in names) or names[0] == "self":
        return f"<{path}: {expression}>"
    value: object = module_of(path)
    for name in names:
        value = getattr(value, name, None)
    return value if isinstance(value, str) else f"<{path}: {expression}>"


def registering_calls() -> Iterator[tuple[str, str, dict[str, ast.expr]]]:
    """Yield file, method and arguments by name of each call that registers a callback."""
    for path, tree in flare_trees().items():
        for node in nodes_of(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in REGISTRARS:
                aux = node.func.attr == "register_aux_message_handler"
                arguments = dict(zip(("topic",) if aux else ("channel", "topic"), node.args, strict=False))
                arguments |= {word.arg: word.value for word in node.keywords if word.arg in ("channel", "topic")}
                yield path, node.func.attr, arguments


def is_handed_on(arguments: dict[str, ast.expr]) -> bool:
    """Tell whether a call hands on its caller's channel and topic."""
    return all(isinstance(node, ast.Name) and node.id in ("channel", "topic") for node in arguments.values())


def registered_ways() -> set[Way]:
    """Return all ways that some code of FLARE opens, in whatever process."""
    ways = set()
    for path, method, arguments in registering_calls():
        if (path, method) in FORWARDERS and is_handed_on(arguments):
            continue
        channel = AUX if method == "register_aux_message_handler" else resolve(path, arguments["channel"])
        ways.add((channel, resolve(path, arguments["topic"])))
    return ways


def subclasses(base: str, folder: str) -> Iterator[type]:
    """Yield the classes in FLARE's source that name `base` as a parent."""
    for path, tree in flare_trees().items():
        for node in nodes_of(tree) if path.startswith(folder) else ():
            if isinstance(node, ast.ClassDef) and any(ast.unparse(parent).endswith(base) for parent in node.bases):
                yield getattr(module_of(path), node.name)


def constants(holder: type) -> list[str]:
    """Return the values of a class of constants."""
    return [value for name, value in vars(holder).items() if not name.startswith("_")]


def flare_ways() -> set[Way]:
    """Return every way into a site that FLARE's source, or its tables in memory, know of."""
    processors = [kind() for kind in subclasses("RequestProcessor", "private/fed/client")]
    commands = [kind() for kind in subclasses("CommandProcessor", "private/fed/client")]
    topics = [topic for one in [*processors, *ClientRequestProcessors.request_processors] for topic in one.get_topics()]
    names = [one.get_command_name() for one in [*commands, *AdminCommands.commands]]
    return (
        registered_ways()
        | {(ADMIN, topic) for topic in topics}
        | {(COMMAND, name) for name in names}
        | {(AUX, topic) for topic in [*constants(ReservedTopic), FED_EVENT_TOPIC]}
        | {(channel, "*") for channel in constants(CellChannel)}
    )


def is_let_in(process: Process, way: Way) -> bool:
    """Tell whether a request of that way gets through, by itself or in a stream."""
    channel, topic = way[0], "anything" if way[1] == "*" or way[1].startswith("<") else way[1]
    headers = {MessageHeaderKey.MSG_TYPE: MessageType.REQ, MessageHeaderKey.DESTINATION: SITE[process]}
    plain = {MessageHeaderKey.CHANNEL: channel, MessageHeaderKey.TOPIC: topic}
    stream = {
        MessageHeaderKey.CHANNEL: STREAM_CHANNEL,
        MessageHeaderKey.TOPIC: STREAM_DATA_TOPIC,
        StreamHeaderKey.CHANNEL: channel,
        StreamHeaderKey.TOPIC: topic,
        StreamHeaderKey.STREAM_REQ_ID: AWAITED,
    }
    gate = Gate(SITE[process], process, lambda request_id: request_id == AWAITED)
    messages = [Message(headers | plain, AdminMessage(topic, "")), Message(headers | stream, b"")]
    return any(gate.admit(message) is None and gate.admit_request(message) is None for message in messages)


def test_every_way_in_that_flare_knows_is_reviewed() -> None:
    reviewed = {entry.way for entry in CENSUS}
    newcomers = sorted(":".join(way) for way in flare_ways() - reviewed)
    assert not newcomers, f"review these in gate_census.py: {newcomers}"


def test_the_census_lists_nothing_that_flare_does_not_know() -> None:
    gone = sorted(":".join(way) for way in {entry.way for entry in CENSUS} - flare_ways())
    assert not gone, f"take these out of gate_census.py: {gone}"


def test_each_way_is_reviewed_once() -> None:
    assert len({entry.way for entry in CENSUS}) == len(CENSUS)


@pytest.mark.parametrize("entry", CENSUS, ids=lambda entry: ":".join(entry.way))
def test_the_gate_decides_as_reviewed(entry: Entry) -> None:
    assert {process for process in SITE if is_let_in(process, entry.way)} == entry.admitted_by


def test_callbacks_are_registered_by_the_reviewed_methods_only() -> None:
    """A new method, or code that writes into the registry itself, would open ways that this census cannot see."""
    kinds = (CoreCell, Cell, ByteReceiver, BlobStreamer, AuxRunner)
    methods = {name for kind in kinds for name in dir(kind) if "register" in name}
    assert methods - {"register_event_handler"} == REGISTRARS  # that one is for events within a process
    attributes = {
        path
        for path, tree in flare_trees().items()
        for node in nodes_of(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("req_reg", "topic_table")
    }
    assert attributes == {"fuel/f3/cellnet/core_cell.py", "private/aux_runner.py"}


def test_forwarders_are_still_there() -> None:
    """What hands on its caller's channel and topic opens no way of its own; its callers are in the census."""
    handed_on = {(path, method) for path, method, arguments in registering_calls() if is_handed_on(arguments)}
    assert handed_on == FORWARDERS


def test_a_newcomer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def setup(cell):\n    cell.register_request_cb(channel='shell', topic='run', cb=print)\n"
    monkeypatch.setitem(flare_trees(), "private/fed/client/newcomer.py", ast.parse(source))
    assert ("shell", "run") in flare_ways()
    with pytest.raises(AssertionError, match="shell:run"):
        test_every_way_in_that_flare_knows_is_reviewed()
