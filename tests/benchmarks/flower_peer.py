"""Flower's SecAgg+ (flwr 1.42.0), timed stage by stage; runs in the peers' environment, see `peers.py`.

Clients run the four stage functions of Flower's client mod; the server is Flower's `SecAggPlusWorkflow` on a grid
that hands each message to the clients in memory. Of the server's stages only what is not the clients' counts; no
network and no serialisation of Flower's messages is in any figure, and the strategy does nothing.

Each line of standard input is a question: {"drops": k} is one round in which k clients send no masked vector. The
answer is {"client": {stage: seconds}, "server": {stage: seconds}, "upload_bytes": bytes, "max_error": float}.
"""

import copy
import importlib
import json
import logging
import sys
import time
from types import SimpleNamespace

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common import Code, FitIns, FitRes, Parameters, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, parameters_to_arrayrecord
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import SecAggPlusWorkflow, WorkflowState
from flwr.supercore.task_identity import TaskIdentity

mod = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")  # the package hides it

NUM_EXAMPLES = 500
EMPTY = Parameters([], "numpy.ndarray")


class Clients:
    """All clients, as the grid that the server's workflow talks to.

    Stages 0 to 2 run once for each client, and later rounds get the same answers, so that a round at n=50 need not
    wait for fifty clients; `client_round` is the one that is timed anew in each round.
    """

    def __init__(self, dimension: int, num_clients: int) -> None:
        self.ids = list(range(100, 100 + num_clients))
        self.states = {node: mod.SecAggPlusState() for node in self.ids}
        self.updates = {node: make_update(dimension, node) for node in self.ids}
        self.asked: dict[int, list[ConfigRecord]] = {node: [] for node in self.ids}
        self.kept: dict[int, list[dict]] = {node: [] for node in self.ids}
        self.dropped: set[int] = set()
        self.stage = 0
        self.seconds = 0.0

    def send_and_receive(self, messages: list[Message], timeout: float | None = None) -> list[Message]:
        """Answer the server's messages; the time it takes is none of the server's."""
        begin = time.process_time()
        stage, self.stage = self.stage, self.stage + 1
        replies = [
            self._reply(stage, message)
            for message in messages
            if not (stage == 2 and message.metadata.dst_node_id in self.dropped)
        ]
        self.seconds += time.process_time() - begin
        return replies

    def _reply(self, stage: int, message: Message) -> Message:
        """Return a client's answer at a stage."""
        node, record = message.metadata.dst_node_id, message.content.config_records[RECORD_KEY_CONFIGS]
        configs = ConfigRecord({key: value for key, value in record.items() if key != Key.STAGE})
        if stage < 3 and len(self.kept[node]) <= stage:
            self.asked[node].append(configs)
            self.kept[node].append(self.run(stage, self.states[node], node, configs))
        result = self.kept[node][stage] if stage < 3 else self.run(stage, self.states[node], node, configs)
        content = fitres_to_recorddict(FitRes(Status(Code.OK, ""), EMPTY, NUM_EXAMPLES, {}), keep_input=True)
        content.config_records[RECORD_KEY_CONFIGS] = ConfigRecord(dict(result), keep_input=False)
        return Message(content, reply_to=message)

    def run(self, stage: int, state, node: int, configs: ConfigRecord) -> dict:
        """Run a stage of Flower's client."""
        if stage == 0:
            state.nid = node
            return mod._setup(state, configs)
        if stage == 1:
            return mod._share_keys(state, configs)
        if stage == 2:
            return mod._collect_masked_vectors(state, configs, NUM_EXAMPLES, self.updates[node])
        return mod._unmask(state, configs)

    def client_round(self, node: int) -> dict[str, float]:
        """Return the seconds of each stage of one client, run again; stages 0 and 1 on a copy of its state."""
        again = copy.deepcopy(self.states[node])
        keys = copy.deepcopy(self.asked[node][1])
        first, setup = timed(lambda: self.run(0, again, node, self.asked[node][0]))
        keys[str(node)] = [first[Key.PUBLIC_KEY_1], first[Key.PUBLIC_KEY_2]]
        _, share = timed(lambda: self.run(1, again, node, keys))
        _, mask = timed(lambda: self.run(2, self.states[node], node, self.asked[node][2]))
        present = {Key.ACTIVE_NODE_ID_LIST: self.ids, Key.DEAD_NODE_ID_LIST: []}
        _, unmask = timed(lambda: self.run(3, self.states[node], node, ConfigRecord(present)))
        return {"setup": setup, "share_keys": share, "mask": mask, "unmask": unmask}


def make_update(dimension: int, node: int) -> Parameters:
    """Return a client's update: float32[d]."""
    values = np.random.default_rng(node).standard_normal(dimension, dtype=np.float32) * np.float32(0.05)
    return ndarrays_to_parameters([values])


def timed(call):
    """Return what a call returns and the processor seconds that it took."""
    begin = time.process_time()
    result = call()
    return result, time.process_time() - begin


class Strategy:
    """A strategy that takes part with all clients and keeps the aggregate."""

    def __init__(self, ids: list[int]) -> None:
        self._ids = ids
        self.aggregate = EMPTY

    def configure_fit(self, server_round, parameters, client_manager):
        return [(SimpleNamespace(node_id=node), FitIns(EMPTY, {})) for node in self._ids]

    def aggregate_fit(self, server_round, results, failures):
        self.aggregate = results[0][1].parameters
        return None, {}


def run_round(clients: Clients, threshold: int, drops: int) -> dict[str, object]:
    """Run a round of the server's workflow with so many drops, and time it and one client."""
    clients.stage, clients.dropped = 0, set(clients.ids[:drops])
    strategy, state = Strategy(clients.ids), WorkflowState()
    records = RecordDict()
    records.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    records.array_records[MAIN_PARAMS_RECORD] = parameters_to_arrayrecord(EMPTY, keep_input=True)
    context = SimpleNamespace(
        state=records,
        strategy=strategy,
        client_manager=SimpleNamespace(num_available=lambda: len(clients.ids)),
        history=SimpleNamespace(add_metrics_distributed_fit=lambda **named: None),
    )
    workflow = SecAggPlusWorkflow(len(clients.ids), threshold)
    server = {}
    for name in ("setup", "share_keys", "collect_masked_vectors", "unmask"):
        clients.seconds = 0.0
        done, seconds = timed(lambda name=name: getattr(workflow, f"{name}_stage")(clients, context, state))
        if not done:
            raise RuntimeError(f"Flower's server stopped at {name}")
        server[name] = seconds - clients.seconds
    active = [node for node in clients.ids if node not in clients.dropped]
    mean = np.mean([parameters_to_ndarrays(clients.updates[node])[0] for node in active], axis=0)
    return {
        "client": clients.client_round(active[len(active) // 2]),
        "server": server,
        "upload_bytes": sum(map(len, clients.kept[active[0]][2][Key.MASKED_PARAMETERS])),
        "max_error": float(np.abs(parameters_to_ndarrays(strategy.aggregate)[0] - mean).max()),
    }


def main() -> None:
    """Answer questions until there are no more: `flower_peer.py DIMENSION CLIENTS THRESHOLD`."""
    logging.disable(logging.CRITICAL)
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # messages carry them
    dimension, num_clients, threshold = map(int, sys.argv[1:])
    clients = Clients(dimension, num_clients)
    for line in sys.stdin:
        print(json.dumps(run_round(clients, threshold, json.loads(line)["drops"])), flush=True)


if __name__ == "__main__":
    main()
