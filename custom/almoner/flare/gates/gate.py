"""The gate: default-deny on every FLARE channel, topic and command, in both processes of a site.

FLARE's server forwards any logged-in sender's message to any site, and sites check neither sender nor right:
`sys.shell` reads any file, `train.delete_run` deletes folders, `__do_task__` re-drives a job, a `CONN_URL`
header makes a site dial out. The gate lets in what an honest job needs (`REQUESTS`, `STREAMS`, `ADMIN_TOPICS`)
and stops the rest, unanswered on arrival or with one fixed code. No rule rests on who sends: a sender's name
can be forged. `gate_census.py` lists every way in that FLARE registers, with the verdict on each.

It is installed by our own entry points before any cell exists; the server has a gate of its own, `server_gate.py`,
and a site does not rest on it.

Mitigates: T-14.
"""

from collections.abc import Mapping

from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.message import Message
from nvflare.private.admin_defs import Message as AdminMessage
from nvflare.private.fed.client.admin_commands import AdminCommands
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors

from almoner.flare.gates import gate_parts, local_listener
from almoner.flare.gates.deploy_processor import BoundedDeployProcessor
from almoner.flare.gates.gate_parts import ATTEST, BYE, IsAwaited, Process, Way, refuse

ADMIN_CHANNEL = "admin"
ADMIN_TOPICS = frozenset(
    {
        "train.deploy",
        "train.start_job",
        "train.abort",
        "train.abort_task",
        "train.check_status",
        "train.notify_job_status",
        "train.shutdown",
        "scheduler.check_resource",
        "scheduler.cancel_resource",
    }
)
"""What the server may ask a site's parent process; FLARE dispatches by the payload's topic."""

JOB_COMMANDS = frozenset({"abort", "abort_task", "check_status"})
"""What the parent process may ask its job process."""

END_RUN: Way = ("aux_communication", "__end_run__")

REQUESTS: Mapping[Process, frozenset[Way]] = {
    "parent": frozenset({BYE}),
    "job": frozenset({BYE, END_RUN, *(("client_command", name) for name in JOB_COMMANDS)}),
}
"""What may come as one message; in the parent process, `ADMIN_TOPICS` besides."""

STREAMS: Mapping[Process, frozenset[Way]] = {"parent": frozenset(), "job": frozenset({END_RUN})}
"""What may come in a stream, whose real channel and topic are in the stream's own headers."""


class Gate:
    """Decides about each message that reaches one cell of a site.

    Args:
        name: the cell's own fully qualified name.
        process: which of the two processes the cell is in.
        is_awaited: tells whether this process waits for the reply to a request of that id.
        attested: whether the server may ask for this site's attestation.
    """

    def __init__(self, name: str, process: Process, is_awaited: IsAwaited, attested: bool = False) -> None:
        self._name, self._process, self._is_awaited = name, process, is_awaited
        self._streams = STREAMS[process] | ({ATTEST} if attested and process == "parent" else frozenset())

    def admit(self, message: Message) -> Message | None:
        """Judge a message on arrival.

        *Guarantee*: never raises; a request to this cell that is not on the list, a reply that nobody waits for,
        and a message to anybody but this cell and its own job processes are stopped before FLARE decodes them.

        Returns:
            None to let the message in; a reply, which FLARE does not send, to drop it.
        """
        message.remove_header(MessageHeaderKey.CONN_URL)
        destination = message.get_header(MessageHeaderKey.DESTINATION)
        if destination != self._name:
            return None if self._is_own_child(destination) else refuse(message)
        if gate_parts.wants_certificates(message):
            return refuse(message)
        if not gate_parts.is_request(message):
            answered = message.get_header(MessageHeaderKey.REQ_ID)
            return None if gate_parts.is_any_awaited(answered, self._is_awaited) else refuse(message)
        if self._is_for_admin(message):
            return None  # the topic that counts is in the payload, which is not decoded yet
        return None if self._is_listed(message) else refuse(message)

    def admit_request(self, message: Message) -> Message | None:
        """Judge a decoded request that FLARE is about to dispatch.

        *Guarantee*: never raises; nothing but a request on the list gets through.

        Returns:
            None to let the request in; else the reply that FLARE sends.
        """
        if self._is_for_admin(message):
            payload = message.payload
            topic = payload.topic if isinstance(payload, AdminMessage) else None
            allowed = isinstance(topic, str) and topic in ADMIN_TOPICS
            return None if allowed else refuse(message, topic)
        return gate_parts.answer_goodbye(message) if self._is_listed(message) else refuse(message)

    def _is_own_child(self, destination: object) -> bool:
        """Tell whether a message is for a job process of this site, whose own gate decides."""
        return self._process == "parent" and isinstance(destination, str) and destination.startswith(f"{self._name}.")

    def _is_for_admin(self, message: Message) -> bool:
        """Tell whether a request is for the admin agent, which the parent process alone has."""
        return self._process == "parent" and message.get_header(MessageHeaderKey.CHANNEL) == ADMIN_CHANNEL

    def _is_listed(self, message: Message) -> bool:
        """Tell whether a request or a piece of a stream is on the list."""
        return gate_parts.is_listed(message, REQUESTS[self._process], self._streams, self._is_awaited)


def install(process: Process, attested: bool = False) -> None:
    """Put the gate before every cell that this process will create, and trim what FLARE would dispatch to.

    Args:
        attested: whether the server may ask for this site's attestation.
    """
    trim_commands()
    local_listener.install()
    gate_parts.guard_every_cell(lambda name, is_awaited: Gate(name, process, is_awaited, attested))


def trim_commands() -> None:
    """Remove every request processor and job command that an honest job does not need."""
    ClientRequestProcessors.request_processors[:] = [
        BoundedDeployProcessor() if processor.get_topics() == ["train.deploy"] else processor
        for processor in ClientRequestProcessors.request_processors
        if set(processor.get_topics()) <= ADMIN_TOPICS
    ]
    AdminCommands.commands[:] = [
        command for command in AdminCommands.commands if command.get_command_name() in JOB_COMMANDS
    ]
