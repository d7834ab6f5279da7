"""The egress policy: everything that a site's two processes send, and who learns what from it.

`CHANNELS` lists every message by process, channel and topic (streams unwrapped to the channel and topic that
they carry). `REPLY_KEYS`, `REPLY_HEADERS` and `CONTEXT_FIELDS` list what a task's answer consists of. The one
field that depends on data is the body of the answer under `almoner`; its kinds and lengths are fixed by
`filters.expected_body_bytes`, and every kind that touched data is charged before it is made. A test records
all messages of a whole job and compares them with these lists, both ways.

What the server learns beyond that: which sites are up, their address, FLARE's version, the job ids they run,
the time of each message, and whether a job process ended by itself.
"""

from dataclasses import dataclass
from typing import Literal

from almoner.flare.job.wire import PAYLOAD_KEY

Process = Literal["parent", "job"]


@dataclass(frozen=True)
class Channel:
    """One kind of message that leaves.

    Args:
        process: the site's parent process or its job process.
        carries: what is in it; nothing here depends on data unless it says so.
    """

    process: Process
    channel: str
    topic: str
    carries: str


CHANNELS = (
    Channel("parent", "task", "challenge", "a nonce, at log-in"),
    Channel("parent", "task", "register", "site name, certificate, host address, FLARE's version"),
    Channel("parent", "task", "heart_beat", "ids of the jobs that run here"),
    Channel("parent", "task", "report_job_failure", "a job's id and its process's exit code"),
    Channel("parent", "task", "quit", "the site's name, at shutdown"),
    Channel("parent", "admin", "admin", "answers to the server's commands: admitted or refused, started, status"),
    Channel("parent", "admin", "train.notify_job_status", "acknowledgement to the site's own job process"),
    Channel("parent", "cellnet.channel", "bye", "nothing"),
    Channel("job", "admin", "train.notify_job_status", "started or stopped, to the site's own parent process"),
    Channel("job", "aux_communication", "__sync_runner__", "ready to start"),
    Channel("job", "aux_communication", "__job_heartbeat__", "alive"),
    Channel("job", "aux_communication", "__task_check__", "a task's id, before its answer is sent"),
    Channel("job", "server_command", "get_task", "asks for the next task"),
    Channel(
        "job", "server_command", "submit_update", "a task's answer: the only message with a body that depends on data"
    ),
    Channel("job", "return_only", "", "acknowledgement of a streamed request of the server"),
    Channel("job", "cellnet.channel", "bye", "nothing"),
    Channel("job", "sm__STREAM", "sm__ACK", "how much of a stream has arrived"),
)

REPLY_KEYS = frozenset({"__headers__", PAYLOAD_KEY})

REPLY_HEADERS = frozenset(
    {
        "__audit_event_id__",
        "__cookie_jar__",
        "__msg_root_id__",
        "__peer_ctx__",
        "__rc__",
        "__task_id__",
        "__task_name__",
    }
)
"""FLARE's own headers of an answer: random ids, and what the server itself sent."""

CONTEXT_FIELDS = frozenset(
    {"__run_num__", "__identity_name__", "__fqsn__", "__is_leaf__", "__client_name__", "__current_job_id__"}
)
"""Public properties of FLARE's context that travel with an answer."""
