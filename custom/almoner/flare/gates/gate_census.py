"""The census of ways into a site: every channel and topic that FLARE's code opens, with the verdict on each.

`tests/unit/flare/gates/test_gate_census.py` reads the same list from FLARE's source and asks the gate about each way:
a new FLARE version that opens another way fails there until it is reviewed and entered here. Nothing here is
used at run time; the gate refuses what it does not list, whether or not it stands here.

How to read a way:

- channel `admin`: the topic inside the payload, which FLARE's admin agent dispatches by (parent process);
- channel `client_command`: a command to a job process; channel `aux_communication`: an aux topic;
- topic `*`: a callback for all topics of a channel, or a channel without one: what is not listed by name;
- topic `<file: expression>`: a topic that a component computes; none is on the gate's list.

Events have no ways of their own: from outside they come under the aux topic `fed.event` alone, whatever their
type, so refusing it refuses them all.

Mitigates: T-14.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from almoner.flare.gates.gate_parts import Process, Way

_PARENT: frozenset[Process] = frozenset({"parent"})
_JOB: frozenset[Process] = frozenset({"job"})


@dataclass(frozen=True)
class Entry:
    """The verdict on one way in.

    Args:
        way: channel and topic.
        admitted_by: the processes of a site that let it in; empty when it is refused.
        why: the reason for the verdict.
    """

    way: Way
    admitted_by: frozenset[Process]
    why: str


def _entries(channel: str, topics: str, why: str, admitted_by: frozenset[Process] = frozenset()) -> Iterator[Entry]:
    """Yield one entry for each line of `topics`."""
    for topic in topics.split("\n"):
        yield Entry((channel, topic.strip()), admitted_by, why)


def _lines(topics: str) -> str:
    """Return space-separated topics as lines."""
    return topics.replace(" ", "\n")


_NET_AGENT = _lines(
    "bulk_item bulk_test cells change_root comm_config config_vars conns echo heartbeat list_pools msg_stats peers "
    "process_info route show_pool speed start_route stop stop_cell stress url_use"
)
_ADMIN = _lines(
    "train.deploy train.start_job train.abort train.abort_task train.check_status train.notify_job_status "
    "train.shutdown scheduler.check_resource scheduler.cancel_resource"
)
_ADMIN_REFUSED = _lines(
    "* comp_caller.call info.reset_errors info.show_errors info.show_stats resource_manager.report_resources "
    "sys.configure_site_log sys.info sys.report_env sys.report_version sys.shell train.configure_job_log "
    "train.delete_run train.get_scopes train.restart"
)
_CLIENT_API = _lines(
    "client_api.abort client_api.heartbeat client_api.hello client_api.log client_api.result_ready "
    "client_api.result_source_settled client_api.result_status client_api.session_open client_api.session_ready "
    "client_api.shutdown client_api.task_ready client_api.task_status"
)
_AUX_REFUSED = _lines(
    "* __abort_task__ __app_metrics__ __aux_command__ __do_task__ __job_heartbeat__ __msg_root_deleted__ "
    "__stop_cellnet__ __sync_runner__ __task_check__ fed.event"
)
_AUX_COMPONENTS = """ObjectStreamer.Abort
ObjectStreamer.Request
RM.RELIABLE_REPLY
RM.RELIABLE_REQUEST
send_value
tie.client_done
<app_common/ccwf/client_controller_executor.py: topic_for_end_workflow(my_wf_id)>
<app_common/ccwf/client_ctl.py: topic_for_end_workflow(my_wf_id)>
<app_common/ccwf/swarm_client_ctl.py: self.request_to_submit_learn_result_task_name>
<app_common/ccwf/swarm_client_ctl.py: self.topic_for_my_workflow(Constant.TOPIC_SHARE_RESULT)>
<app_common/streamers/object_retriever.py: self.topic>
<edge/controllers/sage.py: message_topic_for_task_update(self.task_name)>
<edge/executors/hug.py: message_topic_for_task_end(task_name)>
<edge/executors/hug.py: message_topic_for_task_update(task_name)>
<widgets/fed_event.py: self.topic>"""

_DOWNLOAD = "arrays by reference, to whoever asks; our replies are bytes, which FLARE streams instead"
_SERVER = "for the server's processes"
_UNUSED = "for a component that no job of ours has"

CENSUS: tuple[Entry, ...] = (
    # what honest jobs need
    *_entries("admin", _ADMIN, "the server deploys, starts and stops jobs", _PARENT),
    *_entries("client_command", _lines("abort abort_task check_status"), "the parent process asks its job", _JOB),
    *_entries("aux_communication", "__end_run__", "the server ends a job", _JOB),
    *_entries("return_only", "*", "streamed replies, to requests that wait for one", _PARENT | _JOB),
    *_entries("sm__STREAM", _lines("sm__ACK sm__ERROR"), "about streams that this process sends", _PARENT | _JOB),
    # FLARE's network layer
    *_entries("sm__STREAM", "sm__DATA", "judged by the channel and topic that the stream wraps"),
    *_entries("cellnet.channel", "bye", "answered and not acted on: FLARE would cut the connection to the forwarder"),
    *_entries("cellnet.channel", _lines("bulk *"), "honest jobs send single messages"),
    *_entries("credential_manager", "key_exchange", "no message of ours is encrypted by FLARE"),
    *_entries("_net_manager", _NET_AGENT, "diagnosis and remote control of cells"),
    *_entries("download_service__", _lines("download_service__download download_service__source_failure"), _DOWNLOAD),
    # a site's own agents
    *_entries("admin", _ADMIN_REFUSED, "reads, changes or deletes what is on a site, or tells about it"),
    *_entries(
        "client_command", _lines("* configure_job_log reset_errors show_errors show_stats"), "tells logged values"
    ),
    *_entries("client_command", "shutdown", "does nothing in FLARE 2.9"),
    *_entries("aux_communication", _AUX_REFUSED, "re-drives a job, or is asked by sites and answered by the server"),
    *_entries("aux_communication", _AUX_COMPONENTS, _UNUSED),
    *_entries(
        "server_command", _lines("* get_task submit_update"), "hands tasks to any cell that calls itself a child"
    ),
    # not in a site of ours
    *_entries("cc_validation", "get_sites", _UNUSED),
    *_entries("cc_validation", "request_fresh_token", "let in only where the consortium asks for attestation"),
    *_entries("client_api", _CLIENT_API, _UNUSED),
    *_entries("client_sub_worker_command", "*", _UNUSED),
    *_entries("collab", "call", _UNUSED),
    *_entries("edge_request", _lines("* result_report selection_request task_request"), _UNUSED),
    *_entries("flare_agent", _lines("abort bye get_task heartbeat submit_result"), _UNUSED),
    *_entries("metrics", "log", _UNUSED),
    *_entries("multi_process_executor", _lines("* execute_result fire_event"), _UNUSED),
    *_entries("simulator_runner", "*", _UNUSED),
    *_entries("stream", "test", _UNUSED),
    *_entries("workspace_transfer", _lines("prepare_download publish_results"), _UNUSED),
    *_entries("hci_channel", _lines("* SESSION_EXPIRED"), "for consoles and the server"),
    *_entries("server_parent_listener", "*", _SERVER),
    *_entries("task", _lines("* challenge heart_beat quit register report_job_failure"), _SERVER),
)

FORWARDERS = frozenset(
    {
        ("apis/utils/reliable_message.py", "register_aux_message_handler"),
        ("fuel/f3/cellnet/cell.py", "register_blob_cb"),
        ("fuel/f3/cellnet/cell.py", "register_request_cb"),
        ("fuel/f3/stream_cell.py", "register_blob_callback"),
        ("fuel/f3/stream_cell.py", "register_callback"),
        ("fuel/f3/streaming/blob_streamer.py", "register_callback"),
        ("private/fed/client/client_engine.py", "register_aux_message_handler"),
        ("private/fed/client/client_run_manager.py", "register_aux_message_handler"),
        ("private/fed/server/server_engine.py", "register_aux_message_handler"),
    }
)
"""Files and methods of FLARE that register what their callers pass on: the callers are in the census."""
