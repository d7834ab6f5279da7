"""Contributions that are changed, exchanged or left out after they were signed, and who finds it without a value.

Sites and server find what concerns the round; an outsider, who holds no key, finds it from the messages alone.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.attack.test_secagg_lying_server import off
from tests.simulator import Simulation, losing, pem, roster_of, running

from almoner.errors import ProtocolError
from almoner.protection.message import HEADER_BYTES
from almoner.protection.scheme import Answers, Question, RoundTotal
from almoner.secagg import contribution
from almoner.secagg.audit import Audit
from almoner.secagg.contribution import make_contribution
from almoner.secagg.reveal import SLOT_BYTES, SlotKind
from almoner.secagg.session import CONTRIBUTION_LABEL

VICTIM = "site-3"
Heard = tuple[Question, Answers]


def changed(said: bytes, place: int) -> bytes:
    spoilt = bytearray(said)
    spoilt[place] ^= 1
    return bytes(spoilt)


def changing(job: Simulation, place: int) -> None:
    """Have somebody between a site and the server change one bit of its contribution."""
    job.heard = lambda q, site, said: changed(said, place) if (q.task, site) == ("train", VICTIM) else said


def revealed(job: Simulation) -> set[tuple[str, int]]:
    """Return of whom which kind of secret was opened, by any site."""
    [answers] = [a for q, a in zip(job.questions, job.answers, strict=True) if q.task == "reveal"]
    slots = [(site, said[place * SLOT_BYTES]) for said in answers.values() for place, site in enumerate(job.sites)]
    return {(site, kind) for site, kind in slots if kind != SlotKind.NOTHING}


@pytest.mark.threat("T-103")
@pytest.mark.parametrize("place", [HEADER_BYTES, -65, -1], ids=["words", "tag", "signature"])
def test_a_changed_contribution_is_found_and_named_and_no_other_one_is_opened(place: int) -> None:
    job = running(5)
    changing(job, place)
    total = job.round(1)
    assert (total.named, VICTIM in total.contributors) == ((VICTIM,), False)
    assert all(np.array_equal(found, job.sum_of(1, total.contributors)) for found in job.open_all(1).values())
    # who is counted is hidden by the masks of pairs still, whose keys nobody opened, and the victim by its own mask
    counted = {(site, SlotKind.SELF_SHARE) for site in total.contributors}
    assert revealed(job) == counted | {(VICTIM, SlotKind.KEY_SHARE)}


@pytest.mark.threat("T-103")
def test_without_the_signature_the_sum_fails_for_all_and_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    off(monkeypatch, CONTRIBUTION_LABEL)
    job = running(5)
    changing(job, HEADER_BYTES)
    total = job.round(1)
    assert VICTIM in total.contributors
    assert total.named == ()
    assert job.open_all(1) == {}
    assert "tag does not verify" in str(job.errors["site-1"])
    assert "not what site-3 contributed" in str(job.errors[VICTIM])


def audited(job: Simulation, change: Callable[[Heard], Heard] = lambda heard: heard) -> None:
    """Have an outsider follow all that was said, as somebody shows it."""
    audit = Audit(job.server._terms, roster_of(tuple(job.sites)), pem("root"))
    for question, answers in zip(job.questions, job.answers, strict=True):
        audit.follow(*change((question, answers)))
        if question.task == "reveal":
            audit.end_round(question.number, job.totals[question.number])


@pytest.fixture
def recorded() -> Simulation:
    """Two rounds, in the first of which a contribution is lost."""
    job = Simulation.of("secagg", 4)
    job.shown = losing((1, "train", VICTIM))
    job.set_up()
    job.round(1)
    job.open_all(1)
    job.round(2)
    return job


def test_an_outsider_follows_an_honest_job(recorded: Simulation) -> None:
    audited(recorded)
    assert [VICTIM in recorded.totals[number].contributors for number in (1, 2)] == [False, False]


@pytest.mark.threat("T-103")
@pytest.mark.parametrize("place", [HEADER_BYTES, -65, -1], ids=["words", "tag", "signature"])
def test_an_outsider_finds_a_changed_contribution(recorded: Simulation, place: int) -> None:
    def change(heard: Heard) -> Heard:
        question, answers = heard
        if question.task == "train":
            answers = answers | {"site-2": changed(answers["site-2"], place)}
        return question, answers

    with pytest.raises(ProtocolError, match="round 1: site-2: the signature does not verify"):
        audited(recorded, change)


@pytest.mark.threat("T-103")
def test_an_outsider_finds_a_contribution_that_is_counted_and_not_shown(recorded: Simulation) -> None:
    def change(heard: Heard) -> Heard:
        question, answers = heard
        return question, {site: said for site, said in answers.items() if site != "site-2"}

    with pytest.raises(ProtocolError, match="contribution of site-2 is counted, and was not shown"):
        audited(recorded, change)


@pytest.mark.threat("T-103")
def test_an_outsider_finds_a_total_over_fewer_than_signed(recorded: Simulation) -> None:
    total: RoundTotal = recorded.totals[1]
    recorded.totals[1] = replace(total, contributors=total.contributors[1:])
    with pytest.raises(ProtocolError, match="round 1: its contributors or root are not those that sites signed"):
        audited(recorded)


@pytest.mark.threat("T-103")
def test_an_outsider_finds_an_exchange_even_with_the_sites_own_signature() -> None:
    """A site that helps the server signs two contributions to one round; the other is counted than is shown."""
    job, second = running(4), {}
    honest_ask = job.ask

    def ask(site: str, question: Question) -> bytes:
        if (site, question.task) == (VICTIM, "train"):
            side = job.sites[VICTIM]
            spent = side._contribute

            def contribute(number: int, values: np.ndarray) -> contribution.Sent:
                agreed, session = side._job
                ring = side._state.ring
                other = make_contribution(session, ring, VICTIM, agreed.keys, side._tag(number), (), values)
                second[VICTIM] = other.message
                return spent(number, values)

            side._contribute = contribute
        return honest_ask(site, question)

    job.ask = ask
    job.round(1)

    def change(heard: Heard) -> Heard:
        question, answers = heard
        return question, answers | second if question.task == "train" else answers

    audited(job)
    with pytest.raises(ProtocolError, match="another contribution of site-3 is counted than was shown"):
        audited(job, change)


def test_an_outsider_follows_rounds_in_order(recorded: Simulation) -> None:
    audit = Audit(recorded.server._terms, roster_of(tuple(recorded.sites)), pem("root"))
    train = next(question for question in recorded.questions if question.task == "train")
    with pytest.raises(ProtocolError, match="set-up was not followed"):
        audit.follow(train, {})
    with pytest.raises(ProtocolError, match="round 1: its contributors or root"):
        audit.end_round(1, recorded.totals[1])


@pytest.mark.threat("T-103")
@pytest.mark.parametrize(
    ("task", "named"),
    [
        ("confirm", ("site-1", "site-2", "site-9")),
        ("confirm", ("site-1", "site-2")),
        ("conclude", ("site-4", "site-1")),
    ],
)
def test_an_outsider_takes_no_other_sites_for_those_of_the_job(
    recorded: Simulation, task: str, named: tuple[str, ...]
) -> None:
    def change(heard: Heard) -> Heard:
        question, answers = heard
        return (replace(question, contributors=named) if question.task == task else question), answers

    with pytest.raises(ProtocolError, match=r"audit: (who was present|the members)"):
        audited(recorded, change)
