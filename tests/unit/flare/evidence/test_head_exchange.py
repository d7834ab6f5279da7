"""The exchange of ledger heads: a rolled-back ledger is found, a forked one too, and nobody can invent a head."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from flare_cases import PAIR, SITES, Driver, Pki, head, server_heads, shown

from almoner.errors import FederationError, LedgerError, ProtocolError
from almoner.flare.components.filters import check_budget
from almoner.flare.evidence.head_exchange import HeadExchange
from almoner.flare.evidence.head_statements import introduction_bytes, verify_head
from almoner.flare.evidence.held_heads import heads_json, read_heads
from almoner.flare.job.job_context import JobContext
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.heads import (
    EMPTY_SLOT,
    HEAD_BYTES,
    SignedHead,
    head_statement,
    newest,
    pack_heads,
    unpack_heads,
    verify_contains,
)
from almoner.protection.signing import sign

SITE, PEER = PAIR
NOTHING_HELD = EMPTY_SLOT * len(SITES)


@pytest.fixture
def met(context: JobContext) -> Driver:
    """The job at a site whose peer holds its head of an earlier job."""
    Driver(context).set_up()
    return Driver(context)


def roll_back(context: JobContext, copy: Path) -> None:
    """Put an older copy of the ledger in its place, byte for byte."""
    for leftover in context.site.folder.glob("ledger/ledger.sqlite-*"):
        leftover.unlink()
    shutil.copyfile(copy, context.site.folder / LEDGER)


def grow(context: JobContext, entries: int) -> None:
    with context.site.ledger() as ledger:
        for number in range(entries):
            ledger.record("remark", {"number": number})


@pytest.mark.threat("T-15")
@pytest.mark.parametrize("grown", [0, 1, 20], ids=["as it was", "one entry later", "longer than before"])
def test_rolled_back_ledger_is_found_by_the_head_that_the_peer_holds(
    context: JobContext, tmp_path: Path, grown: int
) -> None:
    shutil.copyfile(context.site.folder / LEDGER, tmp_path / "older")
    grow(context, 3)
    Driver(context).set_up()
    roll_back(context, tmp_path / "older")
    grow(context, grown)
    with context.site.ledger() as ledger:
        ledger.verify()  # alone it is as valid as ever
    driver = Driver(context)
    driver.introduce()
    with pytest.raises(LedgerError, match="rolled back: hungary holds this site's signed head"):
        driver.prove()
    with pytest.raises(ProtocolError, match="task train in state MET"):
        driver.train(1)


@pytest.mark.threat("T-15")
def test_without_a_head_that_is_held_the_rollback_goes_through(context: JobContext, tmp_path: Path) -> None:
    """The control off: a peer that never met this site has nothing to hold against it."""
    shutil.copyfile(context.site.folder / LEDGER, tmp_path / "older")
    Driver(context).set_up()
    roll_back(context, tmp_path / "older")
    shutil.rmtree(context.site.folder / "peer" / "ledger")
    driver = Driver(context)
    driver.set_up()
    driver.train(1)


@pytest.mark.threat("T-15")
def test_rolled_back_ledger_is_found_by_the_head_that_the_server_holds(
    context: JobContext, tmp_path: Path, pki: Pki
) -> None:
    held = server_heads(tmp_path / "server", pki)
    shutil.copyfile(context.site.folder / LEDGER, tmp_path / "older")
    first = Driver(context)
    first.set_up()
    held.keep(unpack_heads(PAIR, first.heads))
    roll_back(context, tmp_path / "older")
    shutil.rmtree(context.site.folder / "peer" / "ledger")
    driver = Driver(context)
    driver.introduce()
    driver.introductions = driver.introductions[: -len(NOTHING_HELD)] + pack_heads(SITES, held.held())
    with pytest.raises(LedgerError, match="the server holds this site's signed head"):
        driver.prove()


@pytest.mark.threat("T-15")
def test_ledger_that_does_not_verify_takes_no_part(met: Driver) -> None:
    connection = apsw.Connection(str(met.context.site.folder / LEDGER))
    connection.execute("UPDATE accounts SET rdp_spent = 0, rdp_committed = 0")
    connection.close()
    met.introduce()
    with pytest.raises(LedgerError, match="accounts does not follow"):
        met.prove()


def test_honest_ledger_that_grew_takes_part_again(met: Driver) -> None:
    grow(met.context, 5)
    met.set_up()
    with met.peer._context.site.ledger() as ledger:
        assert ledger.held_heads()[SITE].seq == head(met.context)[0] - 1  # the entry of the heads itself came after


def test_head_is_signed_only_after_the_check(met: Driver) -> None:
    """The set-up answer holds no head of the site's own: a ledger that fails the check replaces none that is held."""
    content = met.introduce().body
    assert SITE not in unpack_heads(SITES, content[257:-296])


def test_invented_heads_stop_nobody(met: Driver, pki: Pki) -> None:
    signature = sign(pki.key(PEER).read_bytes(), head_statement(SITE, 99, "ab" * 32, "cd" * 32))
    invented = SignedHead(99, "ab" * 32, "cd" * 32, signature)
    with met.peer._context.site.ledger() as ledger:
        ledger.hold_heads(met.context.job_id, {SITE: invented})
    met.set_up()


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "a byte of a held head": lambda body: body[:300] + bytes([body[300] ^ 1]) + body[301:],
    "holdings removed": lambda body: body[:257] + NOTHING_HELD + body[257 + len(NOTHING_HELD) :],
    "one introduction missing": lambda body: body[introduction_bytes(len(SITES)) :],
    "one slot missing": lambda body: body[:-HEAD_BYTES],
    "one byte more": lambda body: body + b"\0",
    "nothing": lambda body: b"",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_introductions_that_the_server_changed_are_refused(met: Driver, forgery: str) -> None:
    met.introduce()
    met.introductions = FORGERIES[forgery](met.introductions)
    with pytest.raises(ProtocolError):
        met.peer.prove(PAIR, met.introductions)


def test_introduction_of_another_job_is_refused(met: Driver) -> None:
    """Else the server could show what a site held before it learnt of the newest head."""
    other = HeadExchange(replace(met.context, job_id="00000000-0000-0000-0000-000000000008"))
    old = other.introduce()
    met.introduce()
    met.introductions = old + met.introductions[len(old) :]
    with pytest.raises(ProtocolError, match="the introduction of cleveland is not signed by it"):
        met.peer.prove(PAIR, met.introductions)


@pytest.mark.parametrize("sites", [(SITE,), (PEER,), (PEER, SITE), (*PAIR, PEER), (*PAIR, "nowhere"), ()])
def test_too_few_or_other_sites_are_refused(met: Driver, sites: tuple[str, ...]) -> None:
    met.introduce()
    exchange = HeadExchange(met.context)
    for step in (exchange.prove, exchange.cosign):
        with pytest.raises(ProtocolError, match="too few sites"):
            step(sites, met.introductions)


@pytest.mark.parametrize("forgery", ["another's", "missing", "changed"])
def test_heads_that_their_site_did_not_sign_are_not_kept(met: Driver, forgery: str) -> None:
    met.introduce()
    met.prove()
    heads = unpack_heads(PAIR, met.heads)
    forged = {
        "another's": {SITE: heads[SITE], PEER: heads[SITE]},
        "missing": {SITE: heads[SITE]},
        "changed": heads | {PEER: replace(heads[PEER], seq=heads[PEER].seq + 1)},
    }[forgery]
    before = head(met.context)
    with pytest.raises(ProtocolError, match=r"the ledger head of hungary|no head of hungary"):
        met.job._heads.cosign(PAIR, pack_heads(PAIR, forged))
    assert head(met.context) == before


def test_an_older_head_never_replaces_a_newer_one(met: Driver, tmp_path: Path, pki: Pki) -> None:
    met.set_up()
    with met.context.site.ledger() as ledger:
        held = ledger.held_heads()[PEER]
        older = replace(held, seq=1)
        ledger.hold_heads(met.context.job_id, {PEER: older})
        assert ledger.held_heads()[PEER] == held
    assert newest({PEER: held}, {PEER: replace(held, hash="11" * 32)}) == {PEER: held}


@pytest.mark.threat("T-15")
def test_a_copy_from_the_middle_of_a_job_is_found_by_the_head_that_went_with_the_result(
    context: JobContext, tmp_path: Path, pki: Pki
) -> None:
    """A snapshot or a nightly backup that was taken while a job ran holds every head of the job's start."""
    server = server_heads(tmp_path / "server", pki)
    driver = Driver(context)
    driver.set_up()
    shutil.copyfile(context.site.folder / LEDGER, tmp_path / "older")
    sent = check_budget(driver.train(1), context)
    server.keep(unpack_heads((SITE,), sent.head))
    roll_back(context, tmp_path / "older")
    again = Driver(context)
    again.introduce()
    again.prove()  # the control off: what others hold from the job's start is all in the copy
    held = again.introductions[: -len(NOTHING_HELD)] + pack_heads(SITES, server.held())
    with pytest.raises(LedgerError, match="rolled back: the server holds this site's signed head"):
        HeadExchange(context).prove(PAIR, held)


@pytest.mark.threat("T-15")
def test_a_head_of_an_earlier_job_cannot_be_shown_again(met: Driver) -> None:
    """Else a lying server could keep a peer from ever holding a newer one."""
    met.set_up()
    old = unpack_heads(PAIR, met.heads)
    later = Driver(met.context)
    later.introduce()
    later.prove()
    replayed = unpack_heads(PAIR, later.heads) | {PEER: old[PEER]}
    with pytest.raises(ProtocolError, match="the ledger head of hungary was signed for something else"):
        later.job._heads.cosign(PAIR, pack_heads(PAIR, replayed))


@pytest.mark.threat("T-15")
def test_a_head_proven_without_a_holder_is_not_cosigned_by_that_holder(context: JobContext, tmp_path: Path) -> None:
    """A lying server shows the rolled-back site an introduction from before the holder learnt of its head."""
    shutil.copyfile(context.site.folder / LEDGER, tmp_path / "older")
    first = Driver(context)
    nothing = first.peer.introduce()
    first.set_up()
    roll_back(context, tmp_path / "older")
    grow(context, 50)
    driver = Driver(context)
    driver.introduce()
    own = driver.introductions[: len(nothing)]
    fork = HeadExchange(context).prove(
        PAIR, own + nothing + shown(driver.log, {SITE: own, PEER: nothing}) + NOTHING_HELD
    )
    heads = fork + driver.peer.prove(PAIR, driver.introductions)
    with driver.peer._context.site.ledger() as ledger:
        held = ledger.held_heads()[SITE]
        with pytest.raises(ProtocolError, match="the ledger head of cleveland was signed for something else"):
            driver.peer.cosign(PAIR, heads)
        assert ledger.held_heads()[SITE] == held


def test_heads_of_a_former_certificate_make_room(met: Driver, pki: Pki) -> None:
    """A site with a new certificate could not be held to anything, as long as a head of the old one is higher."""
    signature = sign(pki.key("lead").read_bytes(), head_statement(PEER, 500, "ab" * 32, "cd" * 32))
    with met.context.site.ledger() as ledger:
        ledger.hold_heads(met.context.job_id, {PEER: SignedHead(500, "ab" * 32, "cd" * 32, signature)})
        met.set_up()
        assert ledger.held_heads()[PEER].seq < 500


class TestServer:
    def test_it_keeps_the_newest_across_restarts(self, met: Driver, tmp_path: Path, pki: Pki) -> None:
        for _ in range(2):
            driver = Driver(met.context)
            driver.set_up()
            server_heads(tmp_path, pki).keep(unpack_heads(PAIR, driver.heads))
        held = server_heads(tmp_path, pki).held()
        assert held == unpack_heads(PAIR, driver.heads)
        assert (tmp_path / "heads.json").stat().st_mode & 0o077 == 0

    def test_it_keeps_nothing_that_a_site_did_not_sign(self, met: Driver, tmp_path: Path, pki: Pki) -> None:
        met.set_up()
        heads = unpack_heads(PAIR, met.heads)
        with pytest.raises(ProtocolError, match="the ledger head of cleveland is not signed by it"):
            server_heads(tmp_path, pki).keep({SITE: heads[PEER]})
        assert not (tmp_path / "heads.json").exists()

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"heads": {"cleveland": {"seq": 0}}}', '{"heads": 1}'])
    def test_a_damaged_file_is_one_clear_line(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "heads.json").write_text(text)
        with pytest.raises(FederationError, match=r"heads.json: not a file of ledger heads"):
            read_heads(tmp_path / "heads.json")


def test_heads_survive_json_and_bytes(met: Driver, pki: Pki) -> None:
    met.set_up()
    heads = unpack_heads(PAIR, met.heads)
    for site, signed in heads.items():
        verify_head(signed, pki.roster, site)
        assert SignedHead.from_json(signed.to_json()) == signed
    assert pack_heads(PAIR, heads) == met.heads
    assert heads_json(heads) == {"heads": {site: heads[site].to_json() for site in PAIR}}


def test_a_missing_entry_and_another_one_are_told_apart() -> None:
    held = SignedHead(5, "ab" * 32, "cd" * 32, bytes(256))
    verify_contains("ab" * 32, held, "hungary")
    with pytest.raises(LedgerError, match="has no such entry"):
        verify_contains(None, held, "hungary")
    with pytest.raises(LedgerError, match="has another one"):
        verify_contains("cd" * 32, held, "hungary")
