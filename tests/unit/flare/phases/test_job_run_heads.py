"""The server's part of the exchange of heads: a member who answers nonsense is left out, the others go on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flare_cases import DIMENSION, PAIR, SITES, TRAIN_ONLY, Pki, make_context, server_heads

from almoner.errors import FederationError
from almoner.flare.components.filters import check_budget, let_out, put_on_protection
from almoner.flare.evidence.head_statements import introduction_bytes, verifies
from almoner.flare.job.answers import IsGood
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import Reply, ReplyKind, TaskHeader
from almoner.flare.training.job import TrainingJob
from almoner.flare.training.run import TrainingRun
from almoner.privacy.heads import HEAD_BYTES
from almoner.protection.plain import PlainServer, message_bytes
from almoner.protection.scheme import Question
from almoner.schema.aggregation import PlainAggregation, SecaggAggregation

Replies = dict[str, Reply]
MALLORY = "switzerland"
UPDATE_BYTES = message_bytes(DIMENSION) + HEAD_BYTES
NONSENSE = {
    "introduction": ("setup", Reply(kind=ReplyKind.SETUP, round=0, body=b"\1" * introduction_bytes(len(SITES)))),
    "head": ("heads", Reply(kind=ReplyKind.HEAD, round=0, body=b"\1" * HEAD_BYTES)),
    "no head": ("heads", Reply(kind=ReplyKind.HEAD, round=0, body=bytes(HEAD_BYTES))),
    "result": (
        "train",
        Reply(kind=ReplyKind.UPDATE, round=1, body=b"\1" * UPDATE_BYTES),
    ),
}


class Members:
    """Real sites' jobs with their filters; one of them may answer something else to one kind of task."""

    def __init__(self, contexts: dict[str, JobContext], kind: str = "", answer: Reply | None = None) -> None:
        self.jobs = {site: (TrainingJob(context), context) for site, context in contexts.items()}
        self.kind, self.answer = kind, answer

    def ask(
        self, header: TaskHeader, body: bytes, sites: tuple[str, ...], need: int, enough: int, is_good: IsGood
    ) -> dict[str, Reply]:
        return {site: self.reply(site, header, body) for site in sites}

    def reply(self, site: str, header: TaskHeader, body: bytes) -> Reply:
        if site == MALLORY and header.kind == self.kind and self.answer is not None:
            return self.answer
        job, context = self.jobs[site]
        sealed: Sealed = job.answer(header, body)
        for step in (check_budget, put_on_protection, let_out):
            sealed = step(sealed, context)
        assert isinstance(sealed.body, bytes)
        return Reply(kind=sealed.kind, round=sealed.round, body=sealed.body)


@pytest.fixture
def run(tmp_path: Path, pki: Pki) -> Callable[..., tuple[TrainingRun, Members]]:
    def make(kind: str = "", answer: Reply | None = None) -> tuple[TrainingRun, Members]:
        sites = (*PAIR, MALLORY)
        contexts = {site: make_context(tmp_path / site, pki, TRAIN_ONLY, site=site) for site in sites}
        members = Members(contexts, kind, answer)
        first = contexts[PAIR[0]]
        heads = server_heads(tmp_path / "server", pki)
        server = PlainServer(DIMENSION, first.envelope.spec.min_sites)
        job = TrainingRun(first.envelope, first.job_id, server, DIMENSION, members.ask, lambda progress: None, heads)
        return job, members

    return make


def test_all_honest_members_take_part_and_their_heads_are_kept(run: Callable[..., tuple[TrainingRun, Members]]) -> None:
    job, members = run()
    result = job.run((*PAIR, MALLORY))
    assert [record.contributors for record in result.rounds] == [(*PAIR, MALLORY)] * 2
    assert set(result.heads) == set(result.cosignatures) == {*PAIR, MALLORY}
    held = job.heads.held()
    for site, (_, context) in members.jobs.items():
        with context.site.ledger() as ledger:
            assert held[site].hash == ledger.head()[1], "the head that went with the last result covers all of it"
        assert held[site].seq > result.heads[site]["seq"]


@pytest.mark.threat("T-15")
@pytest.mark.parametrize("what", NONSENSE)
def test_a_member_that_answers_nonsense_stops_nobody(
    run: Callable[..., tuple[TrainingRun, Members]], what: str
) -> None:
    job, _ = run(*NONSENSE[what])
    result = job.run((*PAIR, MALLORY))
    assert [record.contributors for record in result.rounds] == [PAIR] * 2
    assert len(result.cosignatures) == (3 if what == "result" else 2)


def test_a_head_under_another_certificate_is_not_held(run: Callable[..., tuple[TrainingRun, Members]]) -> None:
    job, _ = run()
    job.run((*PAIR, MALLORY))
    head = job.heads.held()[PAIR[0]]
    assert verifies(head, job.heads.roster, PAIR[0])
    assert not verifies(head, job.heads.roster, PAIR[1])
    assert not verifies(replace(head, seq=head.seq + 1), job.heads.roster, PAIR[0])


GROUPS = SecaggAggregation(
    kind="secagg", num_colluding_sites=1, groups=3, rule="median", num_byzantine_sites=1, l2_clip_norm=1.0
)


@pytest.mark.parametrize(("aggregation", "enough"), [(PlainAggregation(kind="plain"), 2), (GROUPS, 3)])
def test_set_up_waits_for_all_where_a_single_late_site_can_end_the_job(
    aggregation: PlainAggregation | SecaggAggregation, enough: int, run: Callable[..., tuple[TrainingRun, Members]]
) -> None:
    job, members = run()
    spec = job.envelope.spec.model_copy(update={"aggregation": aggregation})
    job.envelope = job.envelope.model_copy(update={"spec": spec})
    asked: list[tuple[str, int, int]] = []

    def ask(header: TaskHeader, body: bytes, sites: tuple[str, ...], need: int, late: int, is_good: IsGood) -> Replies:
        asked.append((header.kind, need, late))
        return members.ask(header, body, sites, need, late, is_good) if header.kind != "train" else {}

    job.ask = ask
    question = Question("train", 1, (), b"", (*PAIR, MALLORY), 0, {}, 3)
    job._put(question)
    assert asked == [("train", 0, 3)]
    with pytest.raises(FederationError, match="round 1, train: 0 of at least 2 sites answered"):
        job.run((*PAIR, MALLORY))
    assert asked[1:4] == [(kind, 2, enough) for kind in ("setup", "heads", "cosign")]
