"""Every message in every state: what the module's own table lists is taken, everything else raises and ends the job.

A real job of two rounds is recorded at one site: each message that it got, and a copy of the site before each. Every
message is then given to every copy. What is allowed is read from the table in `site.py`'s docstring.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest
from tests.simulator import Simulation, running, snapshot

from almoner.errors import ProtocolError
from almoner.protection.scheme import Question, SiteProtection
from almoner.secagg import site as site_module
from almoner.secagg.site import OutsideTheRing

SITE = "site-2"
VALUES = {number: np.arange(7) * number for number in (1, 2)}


@dataclass(frozen=True)
class Message:
    """One call of a site's driver."""

    name: str
    number: int
    sites: tuple[str, ...] = ()
    body: bytes = b""

    def give(self, side: SiteProtection) -> object:
        match self.name:
            case "begin":
                return side.begin(self.number, self.sites, self.body)
            case "protect":
                return side.protect(self.number, VALUES[self.number])
            case "open":
                return side.open(self.number, self.sites, self.body).tolist()
        return side.answer(self.name, self.number, self.sites, self.body)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def recording() -> tuple[list[Message], list[SiteProtection]]:
    """Return the messages of a job of two rounds, and a copy of the site before each and at the end."""
    job = Simulation.of("secagg", 4)
    messages: list[Message] = []
    copies: list[SiteProtection] = []

    def record(message: Message) -> object:
        copies.append(snapshot(job.sites[SITE]))
        messages.append(message)
        return message.give(job.sites[SITE])

    honest_ask = job.ask

    def ask(site: str, question: Question) -> bytes:
        if site != SITE:
            return honest_ask(site, question)
        message = Message(question.task, question.number, question.contributors, question.body)
        if question.task != "train":
            return record(message)  # type: ignore[return-value]
        record(replace(message, name="begin"))
        return record(Message("protect", question.number))  # type: ignore[return-value]

    job.ask = ask  # type: ignore[method-assign]
    job.set_up()
    for number in (1, 2):
        total = job.round(number)
        for other in job.sites:
            if other != SITE:
                job._open(other, number, total)
        record(Message("open", number, total.contributors, total.body))
    copies.append(snapshot(job.sites[SITE]))
    return messages, copies


def table() -> set[tuple[str, str, str]]:
    """Return (state, message, state) for every transition in the docstring."""
    found = set()
    for line in (site_module.__doc__ or "").splitlines():
        if match := re.match(r" {4}(set-up|\w+) +--([\w, ]+)--> +(set-up|\w+)", line):
            found |= {(match[1], message.strip(), match[3]) for message in match[2].split(",")}
    return found


def state_of(side: SiteProtection) -> str:
    return {"SetUp": "set-up", "Contributed": "sent"}.get(name := type(side._state).__name__, name.lower())  # type: ignore[attr-defined]


PARTS = [
    ("keys", 0), ("confirm", 0), ("agree", 0), ("conclude", 0),
    ("begin", 1), ("protect", 1), ("acknowledge", 1), ("reveal", 1), ("open", 1),
    ("begin", 2), ("protect", 2), ("acknowledge", 2), ("reveal", 2), ("open", 2),
]  # fmt: skip


def test_the_recording_is_a_whole_job():
    messages, copies = recording()
    assert [(message.name, message.number) for message in messages] == PARTS
    assert [state_of(copy) for copy in copies] == [
        "set-up", "set-up", "set-up", "set-up",
        "ready", "begun", "sent", "acknowledged", "revealed",
        "ready", "begun", "sent", "acknowledged", "revealed", "ready",
    ]  # fmt: skip


def test_the_docstring_lists_every_state_and_message():
    transitions = table()
    assert len(transitions) == 11
    assert {state for state, _, _ in transitions} == {"set-up", "ready", "begun", "sent", "acknowledged", "revealed"}
    assert {message for _, message, _ in transitions} == {name for name, _ in PARTS}


def expected(messages: list[Message], copies: list[SiteProtection], before: int, given: int) -> str:
    """Return "moves", "repeats" or "refused" for message `given` at the copy before message `before`.

    Only "reveal" may be left out here: without "protect", the recorded roll names a site that did not contribute.
    """
    name, number = messages[given].name, messages[given].number
    if given < before:
        last_begin = max([k for k in range(before) if messages[k].name == "begin"], default=0)
        last_open = max([k for k in range(before) if messages[k].name == "open"], default=-1)
        return "repeats" if given >= last_begin or given == last_open else "refused"
    if given == before:
        return "moves"
    round_now = max(message.number for message in messages[: before + 1])
    return (
        "moves" if (state_of(copies[before]), name) == ("acknowledged", "open") and number == round_now else "refused"
    )


PAIRS = [(before, given) for before in range(len(PARTS) + 1) for given in range(len(PARTS))]


@pytest.mark.parametrize(("before", "given"), PAIRS, ids=lambda k: PARTS[k][0] + str(PARTS[k][1]) if k < 14 else "end")
def test_every_message_in_every_state(before, given):
    messages, copies = recording()
    side, message = snapshot(copies[before]), messages[given]
    state = state_of(side)
    match expected(messages, copies, before, given):
        case "moves":
            message.give(side)
            if message.name in ("keys", "confirm", "agree"):
                assert state_of(side) == "set-up"
            assert (state, message.name, state_of(side)) in table()
        case "repeats":
            assert message.give(side) == message.give(side)
            assert state_of(side) == state
        case _:
            refuses(side, message)


@pytest.mark.parametrize("given", range(len(PARTS)), ids=lambda k: PARTS[k][0] + str(PARTS[k][1]))
@pytest.mark.parametrize("later", [0, 1])
def test_a_changed_message_is_refused_when_it_is_due_and_after_the_first(given, later, monkeypatch):
    messages, copies = recording()
    side, message = snapshot(copies[given + later]), messages[given]
    if message.name == "protect":
        if later:
            monkeypatch.setitem(VALUES, message.number, VALUES[message.number] + 1)
            refuses(side, message)
        return
    body = message.body[:-1] + bytes([message.body[-1] ^ 1]) if message.body else b"x"
    refuses(snapshot(side), replace(message, body=body))
    refuses(snapshot(side), replace(message, body=message.body + b"\0"))
    refuses(snapshot(side), replace(message, number=message.number + 1))
    if message.sites:
        refuses(snapshot(side), replace(message, sites=message.sites[:-1]))
        refuses(snapshot(side), replace(message, sites=message.sites[::-1]))
        refuses(snapshot(side), replace(message, sites=(*message.sites[:-1], "mallory")))


@pytest.mark.parametrize(
    "name", ["keys", "confirm", "agree", "conclude", "begin", "protect", "acknowledge", "reveal", "open"]
)
def test_nothing_is_answered_after_close(name):
    messages, copies = recording()
    for before in range(len(copies)):
        side = snapshot(copies[before])
        side.close()
        refuses(side, next(message for message in messages if message.name == name))


def test_outside_the_ring_a_site_acknowledges_reveals_and_opens_but_does_not_contribute():
    messages, copies = recording_outside()
    begin, acknowledge, reveal, opened = messages
    for act in (begin, begin):
        with pytest.raises(OutsideTheRing):
            act.give(copies[0])
    refuses(snapshot(copies[0]), Message("protect", 2))
    assert len(acknowledge.give(copies[0])) == 64
    assert len(reveal.give(copies[0])) == copies[0].answer_bytes("reveal")
    opened.give(copies[0])
    assert state_of(copies[0]) == "ready"


def test_a_site_that_began_and_did_not_contribute_acknowledges_a_roll_without_it():
    job = running(4)
    honest_ask = job.ask

    def ask(site: str, question: Question) -> bytes:
        if (site, question.task) != (SITE, "train"):
            return honest_ask(site, question)
        job.sites[SITE].begin(question.number, question.contributors, question.body)
        raise ProtocolError("its data could not be read")

    job.ask = ask  # type: ignore[method-assign]
    total = job.round(1)
    assert SITE not in total.contributors
    assert state_of(job.sites[SITE]) == "revealed"
    assert SITE in job.open_all(1)


def recording_outside() -> tuple[list[Message], list[SiteProtection]]:
    """Return round 2's messages for a site whose offer did not reach the server, and the site before them."""
    job = running(4)
    job.round(1)
    job.open_all(1)
    job.server._offers.pop(SITE)  # type: ignore[attr-defined]
    before = snapshot(job.sites[SITE])
    first = len(job.questions)
    total = job.round(2)
    assert SITE not in total.contributors
    questions = {question.task: question for question in job.questions[first:]}
    asked = [Message(q.task, q.number, q.contributors, q.body) for q in questions.values()]
    return [replace(asked[0], name="begin"), *asked[1:], Message("open", 2, total.contributors, total.body)], [before]


def refuses(side: SiteProtection, message: Message) -> None:
    """Check that a site refuses a message, and everything after it."""
    with pytest.raises(ProtocolError):
        message.give(side)
    assert state_of(side) == "ended"
    with pytest.raises(ProtocolError, match="keys are forgotten"):
        side.protect(1, VALUES[1])
    assert side._job is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", [k for k, (name, _) in enumerate(PARTS) if name not in ("keys", "protect")])
def test_no_bit_of_a_message_may_change(given):
    messages, copies = recording()
    message, rng = messages[given], np.random.default_rng(given)
    for place in rng.choice(8 * len(message.body), 12, replace=False).tolist():
        body = bytearray(message.body)
        body[place // 8] ^= 1 << place % 8
        refuses(snapshot(copies[given]), replace(message, body=bytes(body)))
