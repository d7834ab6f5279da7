"""What leaves a site in a whole job is the egress policy's list, and nothing else.

A recorder in FLARE's message layer (hooks/sitecustomize.py) writes down every message that any process
sends; the job is the main one, with a release and a model.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from almoner.encryption.bfv_key import KEY_BYTES
from almoner.encryption.bfv_messages import MessageForm
from almoner.flare.commands.federation import Federation
from almoner.flare.commands.session import JobReport
from almoner.flare.evidence.head_statements import introduction_bytes
from almoner.flare.evidence.log_messages import LOG_ANSWER_BYTES
from almoner.flare.job.egress import CHANNELS, CONTEXT_FIELDS, REPLY_HEADERS, REPLY_KEYS
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.privacy.heads import HEAD_BYTES
from almoner.protection.boxes import BOX_OVERHEAD
from almoner.protection.meeting import AGREEMENT_BYTES, SLOT_BYTES
from almoner.protection.set_up import ED25519_BYTES, SET_UP_BYTES
from almoner.protection.signing import SIGNATURE_BYTES
from almoner.protection.vouchers import VOUCHER_BYTES
from almoner.release.accuracy import RELEASE_BYTES
from almoner.schema.job import JobSpec
from almoner.workloads.registry import workload

NOT_IN_EVERY_RUN = {("parent", "task", "quit"), ("job", "return_only", "")}
"""Listed, but sent only at an orderly shutdown, or when the server streams a request."""

WIRE_HEADER_BYTES = 17
HOOKS = Path(__file__).parent / "hooks"


@pytest.fixture(scope="module")
def recording(consortium: ProvisionedConsortium, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recording")


@pytest.fixture(scope="module")
def federation(consortium: ProvisionedConsortium, recording: Path) -> Iterator[Federation]:
    environment = {"ALMONER_TEST_RECORD": str(recording), "PYTHONPATH": str(HOOKS)}
    with Federation(consortium, environment) as running:
        running.start(lambda text: None)
        yield running


@pytest.fixture(scope="module")
def records(
    federation: Federation,
    consortium: ProvisionedConsortium,
    recording: Path,
    heart_spec: JobSpec,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[dict[str, Any]]:
    """All messages of the sites' processes, from start to shutdown."""
    from almoner.flare.commands.exporting import export_job
    from almoner.flare.commands.session import open_session

    spec = heart_spec.model_copy(update={"rounds": 3, "min_sites": 4})
    folder = export_job(spec, consortium.declarations, tmp_path_factory.mktemp("jobs"))
    with open_session(consortium.user_kit("lead@cleveland.example"), spec.study) as session:
        report: JobReport = session.follow(session.submit(folder), lambda progress: None, 240.0)
    assert report.completed, report
    federation.stop()
    found = []
    for path in recording.glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        senders = {line["from"] for line in lines if line["at"] == "send"}
        if senders and not any(sender.split(".")[0] == "server" for sender in senders):
            process = "job" if any("." in sender for sender in senders) else "parent"
            found += [{**line, "process": process} for line in lines]
    return found


NUM_ANSWERS = 4 * (3 + 4 + 3 * 2 + 2 + 1)
"""Four sites: set-up, two on ledger heads; four on keys; three rounds of two answers; release, model and log."""


def channel_of(record: dict[str, Any]) -> tuple[str, str, str]:
    headers = record["headers"]
    channel, topic = headers["cn__channel"], headers["cn__topic"]
    if topic == "sm__DATA":
        channel, topic = headers["sm__ch"], headers.get("sm__tp") or ""
    return record["process"], channel, topic


def answers(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every task answer, before FLARE serialises it."""
    for record in records:
        if record["at"] == "encode" and isinstance(record["payload"], dict) and "almoner" in record["payload"]:
            yield record["payload"]


@pytest.mark.threat("T-06")
def test_every_message_is_on_the_list(records: list[dict[str, Any]]) -> None:
    sent = Counter(channel_of(record) for record in records if record["at"] == "send")
    listed = {(entry.process, entry.channel, entry.topic) for entry in CHANNELS}
    assert set(sent) - listed == set()
    assert listed - set(sent) <= NOT_IN_EVERY_RUN
    answered = sent[("job", "server_command", "submit_update")]
    assert answered == NUM_ANSWERS


def test_recorder_saw_the_job(records: list[dict[str, Any]]) -> None:
    """The lists would also hold for an empty recording; this one is not empty."""
    processes = {record["from"].split(".")[0] for record in records if record["at"] == "send"}
    assert processes == {"cleveland", "hungary", "switzerland", "va-long-beach"}
    assert len(list(answers(records))) == NUM_ANSWERS


def test_answers_hold_one_body_of_a_known_length(records: list[dict[str, Any]], heart_spec: JobSpec) -> None:
    dimension = workload(heart_spec.workload).dimension
    lengths = Counter()
    for answer in answers(records):
        assert set(answer) <= REPLY_KEYS
        assert set(answer["__headers__"]) <= REPLY_HEADERS
        lengths[answer["almoner"]["bytes"] - WIRE_HEADER_BYTES] += 1
    update = MessageForm(dimension, 4).addend_bytes
    expected: Counter[int] = Counter()
    for length, number in (
        (introduction_bytes(4), 4),
        (HEAD_BYTES, 4),
        (SIGNATURE_BYTES, 4),
        (SET_UP_BYTES, 4),
        (ED25519_BYTES + 4 * SLOT_BYTES, 3),  # confirmations; the first site deals the key
        (ED25519_BYTES + 4 * SLOT_BYTES + KEY_BYTES + BOX_OVERHEAD, 1),
        (AGREEMENT_BYTES, 4),
        (ED25519_BYTES, 4 * (1 + 3)),  # conclusions and acknowledgements
        (update + HEAD_BYTES, 4 * 3),
        (RELEASE_BYTES + HEAD_BYTES + VOUCHER_BYTES, 4),
        (8 * dimension + VOUCHER_BYTES, 4),
        (LOG_ANSWER_BYTES, 4),
    ):
        expected[length] += number
    assert lengths == expected


def test_contexts_that_travel_along_hold_names_and_ids_only(records: list[dict[str, Any]]) -> None:
    def contexts(value: object) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "__peer_props__" in value:
                yield value["__peer_props__"]
            if value.get("type") == "FLContext":
                yield value["in"]["props"]
            for item in value.values():
                yield from contexts(item)

    found = [context for record in records for context in contexts(record["payload"])]
    assert found
    assert set().union(*found) <= CONTEXT_FIELDS


def test_no_request_to_a_site_was_answered_with_logs_errors_or_statistics(records: list[dict[str, Any]]) -> None:
    """Bodies of the parent's answers to the server are the texts of FLARE's own commands."""
    bodies = {
        str(record["payload"]["in"]["topic"])
        for record in records
        if record["at"] == "send"
        and record["process"] == "parent"
        and record["headers"]["cn__channel"] == "admin"
        and record["headers"]["cn__topic"] == "admin"
    }
    assert bodies <= {"reply_scheduler.check_resource", "reply", "reply_train.start_job", "reply_train.deploy"}
