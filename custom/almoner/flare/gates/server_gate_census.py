"""The census of ways into the server: who is let in by each channel and topic, and why.

It is used as `gate_census`, whose ways are those of all of FLARE's code: one that stands there and not here is
refused by the server too, for the reason given there. Here stand the ways that the server lets somebody in by, and
those that its code alone opens:

- channel `server_command`: a command to the server's job process; channel `server_parent_listener`: one to its parent;
- channel `hci_channel`: a console's commands, whose rights FLARE checks by the consortium's `authorization.json`.

Mitigates: T-14.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from almoner.flare.gates.gate_parts import Process, Way
from almoner.flare.gates.server_names import Party

Asker = tuple[Process, Party]
"""A kind of participant, and the process of the server that it asks."""

CONSOLE: Asker = ("parent", "console")
SITE: Asker = ("parent", "site")
OWN_JOB: Asker = ("parent", "server_job")
SITE_JOB: Asker = ("job", "site_job")
PARENT: Asker = ("job", "server")
STRANDED: Asker = ("parent", "site_job")
"""A site's job process asks the server's for the same job; of the parent process it needs nothing."""

ASKERS = frozenset({CONSOLE, SITE, OWN_JOB, SITE_JOB, PARENT, STRANDED})


@dataclass(frozen=True)
class ServerEntry:
    """The verdict on one way into the server.

    Args:
        way: channel and topic.
        admits: who is let in by it; empty when it is refused to all.
        why: the reason for the verdict.
    """

    way: Way
    admits: frozenset[Asker]
    why: str


def _entries(channel: str, topics: str, why: str, *admits: Asker) -> Iterator[ServerEntry]:
    """Yield one entry for each of the space-separated topics."""
    for topic in topics.split():
        yield ServerEntry((channel, topic), frozenset(admits), why)


_UNLISTED = "what is not listed by name"

SERVER_CENSUS: tuple[ServerEntry, ...] = (
    # the network layer
    *_entries("return_only", "*", "streamed replies, to requests that wait for one", *ASKERS),
    *_entries("sm__STREAM", "sm__ACK sm__ERROR", "about streams that this process sends", *ASKERS),
    # the parent process
    *_entries("task", "challenge register", "log-in, as the kind of participant that the connection is", SITE, CONSOLE),
    *_entries("task", "heart_beat quit report_job_failure", "about the site itself", SITE),
    *_entries("task", "*", _UNLISTED),
    *_entries("hci_channel", "command", "a console's commands", CONSOLE),
    *_entries("hci_channel", "*", _UNLISTED),
    *_entries("hci_channel", "SESSION_EXPIRED", "for consoles"),
    *_entries("aux_communication", "ObjectStreamer.Request ObjectStreamer.Abort", "a console submits a job", CONSOLE),
    *_entries("download_service__", "download_service__download", "a console fetches a result by reference", CONSOLE),
    *_entries("server_parent_listener", "get_clients heartbeat update_run_status", "a job about itself", OWN_JOB),
    *_entries("server_parent_listener", "*", _UNLISTED),
    # the job process
    *_entries("server_command", "get_task submit_update", "a site's part in its job", SITE_JOB),
    *_entries(
        "aux_communication", "__sync_runner__ __task_check__ __job_heartbeat__", "a site's part in its job", SITE_JOB
    ),
    *_entries(
        "server_command", "abort handle_dead_job", "the server stops a job, or tells it that a site died", PARENT
    ),
    *_entries("server_command", "get_run_info show_stats get_errors reset_errors", "a console's questions", PARENT),
    *_entries("server_command", "configure_job_log", "loads what a logging configuration names"),
    *_entries("server_command", "app_command heartbeat server_state shutdown", "for what no job of ours has"),
    *_entries("server_command", "*", _UNLISTED),
)
