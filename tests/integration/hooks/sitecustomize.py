"""Test-only: changes FLARE's processes where a test puts this folder on PYTHONPATH and sets a variable.

ALMONER_TEST_RECORD=<folder>: writes down every message that a process sends, as JSON lines, by wrapping the
two places that all messages go through: `encode_payload` (what is in one) and `_send_to_endpoint` (where to).

ALMONER_TEST_UNGATED=sites, server or all: starts these without their gate, to show that the attacks succeed then.

ALMONER_TEST_UNCHECKED=1: see unchecked.py.

ALMONER_TEST_TCP=1: leaves FLARE's own listener for job processes, clear TCP, in place of the Unix socket.

ALMONER_TEST_FAULTS=<site>: see faults.py.

ALMONER_TEST_OPENED=<folder>: writes down every data file (.csv) that a process opens.

ALMONER_TEST_NO_HEADS=1: starts a site that asks nobody about its ledger's head, to show that a rollback
succeeds then.

ALMONER_TEST_NO_JOBS=1: starts no helper for job processes, for tests that run no job.

ALMONER_TEST_NO_DEADLINE=1: decisions about jobs leave as soon as they are made.

ALMONER_TEST_DECISION_SECONDS=<seconds>: they leave at whole multiples of so many.

ALMONER_TEST_ROUNDS=<folder>: see rounds.py. ALMONER_TEST_LIES=1: see lies.py. ALMONER_TEST_WIDE=1: see wide.py.

ALMONER_TEST_FORGED=<folder>: see forged.py.

ALMONER_TEST_POISON=<site>[,<site>]:<attack>: see poison.py. ALMONER_TEST_OFF=<controls>: see switched.py.

Python imports this module at start. It lets the variables pass the site's environment allow-list, so that
job processes are changed too.
"""

import json
import os
import sys
import threading
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder

import faults
import forged
import lies
import poison
import rounds
import switched
import unchecked
import wide

FOLDER = os.environ.get("ALMONER_TEST_RECORD", "")
OPENED, NO_HEADS = "ALMONER_TEST_OPENED", "ALMONER_TEST_NO_HEADS"
DECISION_SECONDS = "ALMONER_TEST_DECISION_SECONDS"
LOCK = threading.Lock()


def write(record):
    with LOCK, open(os.path.join(FOLDER, f"{os.getpid()}.jsonl"), "a") as file:
        file.write(json.dumps(record, default=lambda value: f"<{type(value).__name__}>") + "\n")


def summary(value, depth=0):
    """Describe a payload: types, keys, lengths, and the values of small scalars."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": len(value)}
    if isinstance(value, dict):
        return {str(key): summary(item, depth + 1) for key, item in value.items()} if depth < 6 else "<dict>"
    if isinstance(value, (list, tuple)):
        return [summary(item, depth + 1) for item in list(value)[:20]]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    inner = getattr(value, "__dict__", None)
    return {"type": type(value).__name__, **({"in": summary(inner, depth + 1)} if inner and depth < 6 else {})}


def wrap_core_cell(module):
    cell, encode = module.CoreCell, module.encode_payload
    send = cell._send_to_endpoint

    def recorded_encode(message, *args, **kwargs):
        write({"at": "encode", "headers": summary(dict(message.headers or {})), "payload": summary(message.payload)})
        return encode(message, *args, **kwargs)

    def recorded_send(self, to_endpoint, message):
        payload = message.payload
        size = len(payload) if isinstance(payload, (bytes, bytearray, memoryview)) else None
        write(
            {
                "at": "send",
                "from": self.my_info.fqcn,
                "to": to_endpoint.name,
                "headers": summary(dict(message.headers or {})),
                "size": size,
                "payload": summary(payload),
                "marked": faults.is_marked(payload),
            }
        )
        return send(self, to_endpoint, message)

    module.encode_payload = recorded_encode
    cell._send_to_endpoint = recorded_send


def wrap_cell(module):
    encode = module.encode_payload

    def recorded_encode(message, *args, **kwargs):
        write({"at": "encode", "headers": summary(dict(message.headers or {})), "payload": summary(message.payload)})
        return encode(message, *args, **kwargs)

    module.encode_payload = recorded_encode


def wrap_environment(module):
    allowed = module.site_environment

    def recorded_environment(home, inherited):
        kept = {name: inherited[name] for name in inherited if name.startswith("ALMONER_TEST_") or name == "PYTHONPATH"}
        environment = allowed(home, inherited) | kept
        if "ALMONER_TEST_TCP" in kept:
            del environment["NVFLARE_INTERNAL_CONN_SCHEME"]
        return environment

    module.site_environment = recorded_environment


def open_gate(module):
    module.install = lambda *process: None


def record_opened(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".csv"):
        with LOCK, open(os.path.join(os.environ[OPENED], f"{os.getpid()}.jsonl"), "a") as file:
            file.write(json.dumps(str(arguments[0])) + "\n")


def ask_nobody(module):
    module.verify_contains = lambda entry_hash, head, holder: None


def start_no_helper(module):
    module.start_helper = lambda folder: None


def answer_at_once(module):
    module._wait_for_deadline = lambda arrival: None


def answer_late(module):
    module.DECISION_SECONDS = float(os.environ[DECISION_SECONDS])


WRAPPERS = {"almoner.flare.processes.environment": wrap_environment}
if FOLDER:
    WRAPPERS["nvflare.fuel.f3.cellnet.core_cell"] = wrap_core_cell
    WRAPPERS["nvflare.fuel.f3.cellnet.cell"] = wrap_cell
if os.environ.get(OPENED):
    sys.addaudithook(record_opened)
if os.environ.get(NO_HEADS):
    WRAPPERS["almoner.flare.evidence.head_exchange"] = ask_nobody
if os.environ.get("ALMONER_TEST_NO_JOBS"):
    WRAPPERS["almoner.flare.processes.job_forks"] = start_no_helper
if os.environ.get("ALMONER_TEST_NO_DEADLINE"):
    WRAPPERS["almoner.flare.gates.deploy_processor"] = answer_at_once
if os.environ.get(DECISION_SECONDS):
    WRAPPERS["almoner.flare.gates.deploy_processor"] = answer_late
if faults.SITE:
    WRAPPERS |= faults.WRAPPERS
if forged.FOLDER:
    WRAPPERS |= forged.WRAPPERS
if rounds.FOLDER:
    WRAPPERS |= rounds.WRAPPERS
if lies.ON:
    WRAPPERS |= lies.WRAPPERS
if unchecked.ON:
    WRAPPERS |= unchecked.WRAPPERS
if poison.SITES:
    WRAPPERS |= poison.WRAPPERS
if wide.ON:
    WRAPPERS |= wide.WRAPPERS
UNGATED = os.environ.get("ALMONER_TEST_UNGATED", "")
if UNGATED in ("sites", "all"):
    WRAPPERS["almoner.flare.gates.gate"] = open_gate
if UNGATED in ("server", "all"):
    WRAPPERS["almoner.flare.gates.server_gate"] = open_gate
for name, wrapper in switched.WRAPPERS.items():
    WRAPPERS[name] = switched.both(WRAPPERS.get(name), wrapper)


class WrappingLoader(Loader):
    def __init__(self, loader, wrapper):
        self.loader, self.wrapper = loader, wrapper

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        self.wrapper(module)

    def __getattr__(self, name):
        return getattr(self.loader, name)


class Finder(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in WRAPPERS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        spec.loader = WrappingLoader(spec.loader, WRAPPERS[name])
        return spec


sys.meta_path.insert(0, Finder())
