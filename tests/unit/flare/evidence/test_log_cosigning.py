"""What a server can do to its log between two jobs, in one and among its sites: with and without a site's memory."""

import json
import logging
import shutil
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flare_cases import (
    DIMENSION,
    PAIR,
    SITES,
    TRAIN_ONLY,
    Driver,
    Pki,
    committed_steps,
    header,
    make_context,
    make_server,
    reservation,
    server_heads,
    shown,
)
from tests.unit.flare.phases.test_job_run_heads import Members

from almoner.audit.log_file import TransparencyLog
from almoner.audit.log_shown import read_shown
from almoner.errors import AlmonerError, EvidenceError, FederationError, ProtocolError
from almoner.flare.door.render import render_app
from almoner.flare.evidence.audit_log import witness_of
from almoner.flare.evidence.head_statements import introduction_bytes
from almoner.flare.evidence.live_log import LOG_FOLDER, LiveLog, read_cosigned
from almoner.flare.evidence.log_cosigning import JobLog
from almoner.flare.evidence.log_messages import LOG_ANSWER_BYTES, LOG_INTRODUCTION_BYTES, LogAnswer, LogIntroduction
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.wire import REFUSAL, Reply, TaskHeader
from almoner.flare.site.signed_decisions import sign_decision
from almoner.flare.site.tree import tree_digest
from almoner.flare.training.run import TrainingRun
from almoner.privacy.heads import EMPTY_SLOT
from almoner.protection.plain import PlainServer, PlainSite
from almoner.protection.signing import verify_signed

SITE, PEER = PAIR
FIRST, SECOND, THIRD = 7, 8, 9
ONCE = TRAIN_ONLY.model_copy(update={"rounds": 1})


class Refusing(Members):
    """Sites whose executor turns every failure into the refusal; what went wrong is noted."""

    def __init__(self, contexts: dict[str, JobContext]) -> None:
        super().__init__(contexts)
        self.contexts, self.errors, self.asked = contexts, list[str](), list[str]()

    def reply(self, site: str, header: TaskHeader, body: bytes) -> Reply:
        self.asked.append(header.kind)
        try:
            return super().reply(site, header, body)
        except AlmonerError as error:
            self.errors.append(f"{site}: {error}")
            return REFUSAL


def admit(context: JobContext, number: int) -> JobContext:
    """Return a job's context at a site, with its decision in the ledger; the first one was reserved and started."""
    made = replace(context, job_id=str(uuid.UUID(int=number)), protection=PlainSite(DIMENSION))
    decision = {"site": made.site.policy.site, "job_id": made.job_id, "verdict": "admitted"}
    with made.site.ledger() as ledger:
        if number != FIRST:
            ledger.reserve(replace(reservation(made), nonce=f"{number:032x}"))
            ledger.start(made.job_id, tree_digest(render_app(made.envelope)))
        ledger.record("decision", sign_decision(made.site.private_key(), decision))
    return made


class World:
    """A server with its log, and two sites with ledgers and memories, over several jobs."""

    def __init__(self, folder: Path, pki: Pki) -> None:
        self.pki, self.server = pki, make_server(folder / "server", pki)
        self.contexts = {site: make_context(folder / site, pki, ONCE, site=site) for site in PAIR}

    def job(self, number: int) -> tuple[TrainingRun, Refusing]:
        members = Refusing({site: admit(context, number) for site, context in self.contexts.items()})
        first = members.contexts[SITE]
        heads = server_heads(self.server, self.pki, first.job_id)
        plain = PlainServer(DIMENSION, 2)
        return TrainingRun(
            first.envelope, first.job_id, plain, DIMENSION, members.ask, lambda progress: None, heads
        ), members

    def finish(self, number: int) -> set[str]:
        """Run a job to its end; return who cosigned the log."""
        run, _ = self.job(number)
        run.cosign_log(run.run(PAIR))
        kept = read_cosigned(self.server, run.job_id)
        return set(kept.cosignatures) if kept else set()

    def log(self) -> list[bytes]:
        return list(TransparencyLog(self.server / LOG_FOLDER).entries())

    def rewrite(self, entries: list[bytes]) -> None:
        """Put another log in the place of the server's, signed with the server's own key."""
        (self.server / LOG_FOLDER / "entries.log").unlink()
        (self.server / LOG_FOLDER / "head.json").unlink()
        TransparencyLog(self.server / LOG_FOLDER).append(entries)
        LiveLog(self.server, "").publish()

    def memory(self, site: str) -> Path:
        return witness_of(self.contexts[site].site.folder, site).path

    def refused(self, site: str) -> int:
        """Return how many heads a site keeps as proof against the server."""
        return len(json.loads(self.memory(site).read_bytes())["refused"])


@pytest.fixture
def world(tmp_path: Path, pki: Pki) -> World:
    return World(tmp_path, pki)


REWRITINGS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "an entry dropped": lambda entries: [entries[0], *entries[2:]],
    "the end cut off": lambda entries: entries[:-1],
    "an entry changed": lambda entries: [entries[0].replace(b'"time":"2', b'"time":"3'), *entries[1:]],
    "begun anew": lambda entries: [],
}


@pytest.mark.threat("T-140")
@pytest.mark.parametrize("how", REWRITINGS)
def test_a_log_that_was_rewritten_between_two_jobs_is_refused_before_data_is_read(how: str, world: World) -> None:
    assert world.finish(FIRST) == set(PAIR)
    true, newest = world.log(), [witness_of(world.contexts[site].site.folder, site).newest() for site in PAIR]
    false = REWRITINGS[how](true)
    assert false != true
    world.rewrite(false)
    run, members = world.job(SECOND)
    with pytest.raises(FederationError, match="heads: 0 of at least 2 sites answered"):
        run.run(PAIR)
    assert set(members.asked) == {"setup", "heads"}
    assert len(members.errors) == 2
    for site, head in zip(PAIR, newest, strict=True):
        assert committed_steps(members.contexts[site]) == []
        assert witness_of(world.contexts[site].site.folder, site).newest() == head
        assert world.refused(site) == 1, "both heads are kept: they convict the server"
        world.memory(site).unlink()
    # the control off: sites that remember nothing take the false log, and cosign it
    assert world.finish(THIRD) == set(PAIR)
    assert set(true) - set(world.log())


@pytest.mark.threat("T-140")
def test_a_log_that_is_rewritten_while_a_job_runs_is_not_cosigned(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    run, members = world.job(FIRST)
    result = run.run(PAIR)
    world.rewrite(REWRITINGS["an entry changed"](world.log()))
    run.cosign_log(result)
    assert read_cosigned(world.server, run.job_id) is None
    assert all("does not begin with" in error for error in members.errors)
    assert "not cosigned by cleveland, hungary" in caplog.text
    assert result.rounds, "the job's result is not lost"


@pytest.mark.threat("T-140")
@pytest.mark.parametrize("kind", ["decision", "head"])
def test_a_site_misses_what_is_its_own_at_the_end(kind: str, world: World) -> None:
    run, members = world.job(FIRST)
    result = run.run(PAIR)
    entries = [entry for entry in world.log() if not (f'"kind":"{kind}"'.encode() in entry and SITE.encode() in entry)]
    world.rewrite(entries)
    for site in PAIR:
        world.memory(site).unlink()  # so that consistency does not tell
    run._log._sizes = dict.fromkeys(PAIR, 0)
    run._log._log.add = lambda facts: None  # type: ignore[method-assign] # nor does the server put it back
    run.cosign_log(result)
    kept = read_cosigned(world.server, run.job_id)
    assert kept is not None
    assert set(kept.cosignatures) == {PEER}
    assert any(f"a {kind} of cleveland is not in it" in error for error in members.errors)


@pytest.mark.threat("T-140")
def test_no_data_is_read_before_the_sites_decision_is_in_the_log(world: World) -> None:
    run, members = world.job(FIRST)
    logged = run._log._log.add
    run._log._log.add = lambda facts: logged(fact for fact in facts if fact[0] != "decision")  # type: ignore[method-assign]
    with pytest.raises(FederationError, match="heads: 0 of at least 2"):
        run.run(PAIR)
    assert "cleveland: log: a decision of cleveland is not in it" in members.errors[0]
    assert committed_steps(members.contexts[SITE]) == []


@pytest.mark.threat("T-141")
def test_sites_of_a_job_that_are_shown_two_logs_do_not_go_on(context: JobContext, tmp_path: Path, pki: Pki) -> None:
    driver = Driver(context)
    driver.introduce()
    other = LiveLog(make_server(tmp_path / "other", pki), context.job_id)
    other.add([("update", "", {"round": 1, "contributors": [], "commitments_root": ""})])
    front = driver.introductions[: 2 * introduction_size()]
    said = {SITE: front[: introduction_size()], PEER: front[introduction_size() :]}
    false = front + shown(JobLog(other, pki.roster), said) + EMPTY_SLOT * len(SITES)
    heads = driver.job.answer(header("heads", 0, PAIR), driver.introductions).body
    heads += driver.peer.prove(PAIR, false)  # the control off: each by itself finds nothing wrong
    with pytest.raises(ProtocolError, match="the ledger head of hungary was signed for something else"):
        driver.job.answer(header("cosign", 0, PAIR), heads)
    with pytest.raises(ProtocolError, match="the ledger head of cleveland was signed for something else"):
        driver.peer.cosign(PAIR, heads)


def introduction_size() -> int:
    return introduction_bytes(len(SITES))


def test_what_is_cosigned_is_the_jobs_end_and_extends_its_start(world: World, pki: Pki) -> None:
    assert world.finish(FIRST) == set(PAIR)
    kept = read_cosigned(world.server, str(uuid.UUID(int=FIRST)))
    assert kept is not None
    for site, signature in kept.cosignatures.items():
        verify_signed(bytes.fromhex(signature), kept.signed.head.cosign_statement(site), pki.roster, site, "head")
        assert witness_of(world.contexts[site].site.folder, site).newest() == kept.signed
    kept.verify_earlier("record")
    assert kept.earlier is not None
    kinds = [json.loads(entry)["kind"] for entry in world.log()]
    assert kinds[: kept.earlier.signed.head.size] == ["decision", "decision"]
    assert kinds[2:] == ["head"] * 4 + ["update", "result"]
    assert kept.signed.head.size == len(kinds)


def test_two_jobs_at_once_are_both_cosigned(world: World) -> None:
    slow, members = world.job(FIRST)
    result = slow.run(PAIR)
    assert world.finish(SECOND) == set(PAIR)
    slow.cosign_log(result)
    assert members.asked.count("log") == 4, "each site said first what it keeps by now"
    assert members.errors == []
    kept = read_cosigned(world.server, slow.job_id)
    assert kept is not None
    assert set(kept.cosignatures) == set(PAIR)


def test_a_head_that_another_job_overtook_convicts_nobody(world: World) -> None:
    slow, members = world.job(FIRST)
    slow._log.close(slow.run(PAIR), PAIR)
    assert world.finish(SECOND) == set(PAIR)
    body = slow._log.ask(PAIR)
    slow._log.take({site: members.reply(site, header("log"), body).body for site in PAIR})
    assert members.errors == []
    assert slow._log.waiting == (), "they will cosign when evidence is packed"
    assert world.refused(SITE) == 0


def test_a_head_that_another_job_overtook_at_set_up_is_checked_and_not_kept(world: World) -> None:
    world.finish(FIRST)
    late, members = world.job(SECOND)
    said = {site: members.reply(site, header("setup"), b"").body for site in PAIR}
    front, log = b"".join(said.values()), shown(late._log, said)
    assert world.finish(THIRD) == set(PAIR)
    newest = witness_of(world.contexts[SITE].site.folder, SITE).newest()
    members.reply(SITE, header("heads", 0, PAIR), front + log + EMPTY_SLOT * len(SITES))
    assert members.errors == []
    assert witness_of(world.contexts[SITE].site.folder, SITE).newest() == newest


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("lead", "a certificate of lead@cleveland.example, not of localhost"),
        ("stranger", "not issued by the root certificate"),
        ("hungary", "a certificate of hungary, not of localhost"),
    ],
)
def test_nobody_else_signs_the_servers_log(who: str, expected: str, context: JobContext, pki: Pki) -> None:
    driver = Driver(context)
    startup = context.site.folder / "server" / "kit" / "startup"
    shutil.copyfile(pki.key(who), startup / "server.key")
    shutil.copyfile(pki.certificate(who), startup / "server.crt")
    if who == "stranger":  # the server itself would not start with it
        startup.joinpath("rootCA.pem").write_bytes((pki.folder / "foreign-root.pem").read_bytes())
    driver.introduce()
    with pytest.raises(EvidenceError, match=expected):
        driver.prove()


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"schema_version": 1}'])
def test_a_server_that_shows_no_log_is_refused(body: bytes, context: JobContext) -> None:
    driver = Driver(context)
    driver.introduce()
    front = driver.introductions[: 2 * introduction_size()]
    driver.introductions = front + body + EMPTY_SLOT * len(SITES)
    with pytest.raises(ProtocolError, match="shows no head of its log"):
        driver.prove()


def test_a_site_is_shown_its_own_entries_alone(context: JobContext) -> None:
    driver = Driver(admit(context, FIRST))
    driver.introduce()
    log = read_shown(driver.introductions[2 * introduction_size() : -len(EMPTY_SLOT) * len(SITES)])
    [own] = log.sites[SITE].own
    assert json.loads(own.entry)["site"] == SITE
    assert log.sites[PEER].own == ()
    without = log.model_copy(update={"sites": {PEER: log.sites[PEER]}})
    with pytest.raises(ProtocolError, match="shows this site no proof"):
        driver.job._heads.cosign_log(without.model_dump_json().encode())


def test_answers_that_are_no_cosignatures_are_dropped(world: World, caplog: pytest.LogCaptureFixture) -> None:
    run, _ = world.job(FIRST)
    run._log.close(run.run(PAIR), PAIR)
    caplog.set_level(logging.WARNING)
    run._log.take({SITE: LogAnswer(5, b"\1" * 256).to_bytes(), PEER: b"\xff" * LOG_ANSWER_BYTES})
    run._log.keep()
    assert "the cosignature of the log of cleveland is not signed by it" in caplog.text
    assert "answer of hungary dropped: log: not a message" in caplog.text
    assert read_cosigned(world.server, run.job_id) is None


def test_messages_have_one_length_and_survive_it() -> None:
    for said in (LogIntroduction(0, ""), LogIntroduction(2**53 - 1, "ab" * 32)):
        assert len(said.to_bytes()) == LOG_INTRODUCTION_BYTES
        assert LogIntroduction.from_bytes(said.to_bytes()) == said
    for answer in (LogAnswer(0, b""), LogAnswer(9, b"\1" * 256)):
        assert len(answer.to_bytes()) == LOG_ANSWER_BYTES
        assert LogAnswer.from_bytes(answer.to_bytes()) == answer
    for bad in (b"", b"\0" * 39, b"\xff" * 40):
        with pytest.raises(ProtocolError):
            LogIntroduction.from_bytes(bad)
