"""The one way that both gates open where a consortium asks for attestation: to whom, and to whom not."""

import pytest
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, MessagePropKey, MessageType
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.fuel.f3.message import Message
from nvflare.fuel.f3.streaming.stream_const import STREAM_CHANNEL, STREAM_DATA_TOPIC, StreamHeaderKey

from almoner.flare.gates.gate import Gate
from almoner.flare.gates.gate_parts import ATTEST, Process, Way
from almoner.flare.gates.server_gate import ServerGate

JOB = "6a1b1111-0000-4000-8000-000000000000"
OTHERS: tuple[Way, ...] = (("cc_validation", "get_sites"), ("cc_validation", "*"), ("admin", ATTEST[1]))

pytestmark = pytest.mark.threat("T-171")


def streamed(way: Way, sender: str, to: str) -> Message:
    """Return a request as FLARE sends it on a channel of its own: in a stream."""
    message = Message(
        {
            MessageHeaderKey.MSG_TYPE: MessageType.REQ,
            MessageHeaderKey.ORIGIN: sender,
            MessageHeaderKey.DESTINATION: to,
            MessageHeaderKey.CHANNEL: STREAM_CHANNEL,
            MessageHeaderKey.TOPIC: STREAM_DATA_TOPIC,
            StreamHeaderKey.CHANNEL: way[0],
            StreamHeaderKey.TOPIC: way[1],
        },
        b"",
    )
    message.set_prop(MessagePropKey.ENDPOINT, Endpoint(sender))
    certificate = "lead@cleveland.example" if sender.startswith("_admin_") else sender.split(".")[0]
    message.set_prop(MessagePropKey.COMMON_NAME, certificate)
    return message


def site_lets_in(way: Way, attested: bool, process: Process = "parent") -> bool:
    name = "hungary" if process == "parent" else f"hungary.{JOB}"
    gate, message = Gate(name, process, lambda _: False, attested), streamed(way, "server", name)
    return gate.admit(message) is None and gate.admit_request(message) is None


def server_lets_in(way: Way, attested: bool, sender: str = "hungary", at: str = "server") -> bool:
    gate, message = ServerGate(at, lambda _: False, attested), streamed(way, sender, at)
    return gate.admit(message) is None and gate.admit_request(message) is None


@pytest.mark.parametrize("attested", [True, False])
def test_server_and_sites_ask_each_other_where_the_consortium_does(attested: bool) -> None:
    assert site_lets_in(ATTEST, attested) is attested
    assert server_lets_in(ATTEST, attested) is attested


@pytest.mark.parametrize("way", OTHERS)
def test_nothing_else_of_that_channel_comes_in(way: Way) -> None:
    assert not site_lets_in(way, True)
    assert not server_lets_in(way, True)


def test_neither_consoles_nor_job_processes_ask_nor_are_asked() -> None:
    assert not server_lets_in(ATTEST, True, f"_admin_{JOB}")
    assert not server_lets_in(ATTEST, True, f"hungary.{JOB}")
    assert not server_lets_in(ATTEST, True, f"hungary.{JOB}", f"server.{JOB}")
    assert not site_lets_in(ATTEST, True, "job")


def test_sites_do_not_reach_each_other() -> None:
    gate, message = ServerGate("server", lambda _: False, True), streamed(ATTEST, "hungary", "cleveland")
    assert gate.admit(message) is not None
