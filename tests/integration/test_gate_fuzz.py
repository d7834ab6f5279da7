"""Random and mutated cell messages at a site while jobs run there: nothing unlisted answers, all jobs complete.

Left out are the listed commands by which anybody who is logged in may end a job or a site (T-16).
"""

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, MessageType, ReturnCode
from nvflare.fuel.f3.cellnet.utils import encode_payload
from nvflare.fuel.f3.message import Message as CellMessage
from nvflare.fuel.f3.streaming.stream_const import (
    STREAM_ACK_TOPIC,
    STREAM_CHANNEL,
    STREAM_DATA_TOPIC,
    STREAM_ERROR_TOPIC,
    StreamHeaderKey,
)
from nvflare.private.admin_defs import Message
from tests.integration.attacker import LEAD, SITE, SITES_GATED, admin_message
from tests.integration.conftest import make_consortium
from tests.integration.test_gate_attacks_job import with_size
from tests.integration.test_site_killed import wait_until

from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation
from almoner.flare.commands.session import open_session
from almoner.flare.gates.gate import ADMIN_TOPICS, JOB_COMMANDS, REQUESTS
from almoner.flare.gates.gate_census import CENSUS
from almoner.flare.gates.gate_parts import STREAM_SIGNALS
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.schema.job import JobSpec

MESSAGES = int(os.environ.get("ALMONER_FUZZ_MESSAGES", "100000"))
SEED = 20_261_122
EFFECTIVE = {"train.shutdown", "train.abort", "train.abort_task", "abort", "abort_task", "__end_run__"}
REFUSED_TOPICS = ("sys.shell", "sys.info", "train.delete_run", "train.restart", "info.show_errors")
LISTED = ADMIN_TOPICS | {":".join(way) for way in REQUESTS["job"]} | {f"{STREAM_CHANNEL}:{t}" for t in STREAM_SIGNALS}
BURST = 200
"""Messages between two looks at the job."""
KEPT_HEADERS = {MessageHeaderKey.DESTINATION, MessageHeaderKey.REQ_ID}
"""Where a message goes, and by which answers are told apart."""


class Fuzzer:
    """Makes messages of all kinds and sends them over the lead's own connection; counts what comes back."""

    def __init__(self, cell: CoreCell, seed: int) -> None:
        self._cell, self._random = cell, random.Random(seed)
        self._ways = [entry.way for entry in CENSUS if entry.way[1] not in EFFECTIVE]
        self._asked: dict[str, str] = {}
        self.answers: Counter[tuple[str, str]] = Counter()
        cell.in_filter_reg.reg.clear()
        cell.add_incoming_filter("*", "*", self._count)

    def _count(self, message: CellMessage) -> CellMessage | None:
        """Count an answer of the site by what was asked and the return code."""
        if str(message.get_header(MessageHeaderKey.ORIGIN)).split(".")[0] != SITE:
            return None
        asked = self._asked.get(str(message.get_header(MessageHeaderKey.REQ_ID)), "?")
        self.answers[asked, str(message.get_header(MessageHeaderKey.RETURN_CODE))] += 1
        return message  # anything true drops it

    def _junk(self) -> Any:
        """Return a value of a random kind."""
        pick = self._random
        kinds = (None, "", "*", "../..", "\x00\n{$PATH}", pick.randbytes(40), -1, 2**63, 0.5, [1, "a"], {"a": None})
        return pick.choice(kinds)

    def _payload(self) -> Any:
        """Return a payload: an admin message, a job command's dictionary, or junk."""
        pick = self._random
        topics = [*REFUSED_TOPICS, *(ADMIN_TOPICS - EFFECTIVE), *(JOB_COMMANDS - EFFECTIVE)]
        message = admin_message(pick.choice(topics), pick.choice(["cat log.txt", self._junk()]))
        for name in pick.sample(["job_id", "job_meta", "app_name", "admin_command", "_authz"], 2):
            message.set_header(name, self._junk())
        return pick.choice([message, message, {"command": "show_errors", "data": {}}, self._junk()])

    def _headers(self, target: str) -> dict[str, Any]:
        """Return the headers of one message."""
        pick, me = self._random, self._cell.get_fqcn()
        channel, topic = pick.choice(self._ways) if pick.random() < 0.9 else (self._junk(), self._junk())
        headers = {
            MessageHeaderKey.CHANNEL: channel,
            MessageHeaderKey.TOPIC: topic,
            MessageHeaderKey.ORIGIN: pick.choice([me] * 12 + ["server", "hungary", "cleveland"]),
            MessageHeaderKey.REQ_ID: str(pick.random()),
            MessageHeaderKey.REPLY_EXPECTED: True,
            MessageHeaderKey.OPTIONAL: True,
            MessageHeaderKey.MSG_TYPE: pick.choice([MessageType.REQ] * 6 + [MessageType.REPLY, MessageType.RETURN]),
        }
        if pick.random() < 0.3:
            wrapped = {StreamHeaderKey.CHANNEL: channel, StreamHeaderKey.TOPIC: topic, StreamHeaderKey.STREAM_ID: 1}
            signal = pick.choice([STREAM_DATA_TOPIC, STREAM_ACK_TOPIC, STREAM_ERROR_TOPIC])
            headers |= wrapped | {MessageHeaderKey.CHANNEL: STREAM_CHANNEL, MessageHeaderKey.TOPIC: signal}
        if pick.random() < 0.05:
            headers |= {MessageHeaderKey.SECURE: True, MessageHeaderKey.ENCRYPTED: True}
        if pick.random() < 0.1:
            headers[MessageHeaderKey.CONN_URL] = "tcp://127.0.0.1:1"
        route = {MessageHeaderKey.FROM_CELL: me, MessageHeaderKey.TO_CELL: "server"}
        return headers | route | {MessageHeaderKey.DESTINATION: target}

    def send_one(self, targets: tuple[str, ...]) -> None:
        """Send one message; a fifth have a header that is anything, a tenth a payload that does not decode."""
        message = CellMessage(self._headers(self._random.choice(targets)), self._payload())
        way = [str(message.get_header(name)) for name in (MessageHeaderKey.CHANNEL, MessageHeaderKey.TOPIC)]
        for_admin = way[0] == "admin" and isinstance(message.payload, Message)
        self._asked[message.get_header(MessageHeaderKey.REQ_ID)] = message.payload.topic if for_admin else ":".join(way)
        encode_payload(message, fobs_ctx=self._cell.get_fobs_context())
        self._cell._filter_outgoing_request(*way, message)  # adds the lead's token
        if self._random.random() < 0.1:
            message.payload = self._random.randbytes(60)
        if self._random.random() < 0.2:
            header = self._random.choice(sorted(set(message.headers) - KEPT_HEADERS))
            message.set_header(header, self._junk())
        self._cell.communicator.send(self._cell.agents["server"].endpoint, CoreCell.APP_ID, message)


@pytest.fixture(scope="module")
def consortium(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedConsortium:
    """The checkout's consortium with accounts large enough for as many jobs as the fuzzing takes."""
    wide = tmp_path_factory.mktemp("wide")
    for folder in ("provisioning", "policies", "site_configs"):
        shutil.copytree(root / folder, wide / folder)
    for policy in (wide / "policies").glob("*.yaml"):
        policy.write_text(policy.read_text().replace("epsilon_cap: 3.0", "epsilon_cap: 90.0"))
    (wide / "build").symlink_to(root / "build")
    return make_consortium(wide, tmp_path_factory.mktemp("consortium") / "heart")


@pytest.fixture(scope="module")
def federation(consortium: ProvisionedConsortium) -> Iterator[Federation]:
    """The server's gate is out, so that everything reaches the site."""
    with Federation(consortium, SITES_GATED) as running:
        running.start(lambda text: None)
        yield running


@pytest.mark.slow
@pytest.mark.threat("T-14")
@pytest.mark.timeout(1800)
def test_fuzzed_site_answers_nothing_unlisted_and_its_jobs_complete(
    federation: Federation, consortium: ProvisionedConsortium, heart_spec: JobSpec, tmp_path: Path
) -> None:
    spec = with_size(heart_spec, rounds=50, local_steps=100, target_epsilon=1.4)
    ledger = Ledger.open(consortium.site_folder(SITE) / LEDGER)
    sent = jobs = 0
    start = time.monotonic()
    user = consortium.user_kit(LEAD)
    with open_session(user, spec.study) as session, open_session(user, spec.study) as other:
        fuzzer = Fuzzer(other._session.api.cell.core_cell, SEED)
        while sent < MESSAGES:
            job_id = session.submit(export_job(spec, consortium.declarations, tmp_path / str(jobs)))
            wait_until(lambda job_id=job_id: ledger.committed(job_id, "train-0001"), 120.0)
            while sent < MESSAGES and not ledger.committed(job_id, "train-0050"):
                for _ in range(BURST):
                    fuzzer.send_one((SITE, f"{SITE}.{job_id}"))
                sent += BURST
            jobs += 1
            report = session.follow(job_id, lambda progress: None, 600.0)
            assert report.completed, report
    print(f"gate fuzz: {sent} messages during {jobs} jobs in {time.monotonic() - start:.0f} s")
    print(f"answers {dict(fuzzer.answers)}")
    assert fuzzer.answers.total() > MESSAGES / 100, "hardly any message reached the site"
    answered = {asked for asked, code in fuzzer.answers if code != ReturnCode.INVALID_REQUEST}
    assert answered <= LISTED
    ledger.verify()
    assert all(process.poll() is None for process in federation._processes.values())
