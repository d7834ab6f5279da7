"""When waiting for answers is over: junk counts for nothing, and does not make honest sites late."""

import threading
from types import SimpleNamespace

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from almoner.flare.job import answers as module
from almoner.flare.job.answers import Answers
from almoner.flare.job.wire import PAYLOAD_KEY, REFUSAL, Reply, ReplyKind, encode_reply

SITES = ("a", "b", "c", "d")
GOOD = Reply(kind=ReplyKind.KEYS, round=0, body=b"good")
JUNK = Reply(kind=ReplyKind.KEYS, round=0, body=b"junk, and longer")


def is_good(site: str, reply: Reply) -> bool:
    return len(reply.body) == len(GOOD.body)


def send(answers: Answers, site: str, reply: Reply) -> None:
    result = Shareable()
    result[PAYLOAD_KEY] = encode_reply(reply)
    answers.receive(SimpleNamespace(result=result, client=SimpleNamespace(name=site)), FLContext())  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is late is left out at once."""
    monkeypatch.setattr(module, "STRAGGLER_SECONDS", 0.0)
    monkeypatch.setattr(module, "STRAGGLER_FACTOR", 0.0)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)


def waited(answers: Answers, late: str, ends_before: bool = False) -> set[str]:
    """Return whose answers were waited for; the last site answers when the server has looked at the others'.

    Args:
        ends_before: whether the waiting is to end before that answer: it has the time a busy machine takes.
    """
    looked = threading.Event()
    count = answers._is_good

    def watched(site: str, reply: Reply) -> bool:
        looked.set()
        return count(site, reply)

    answers._is_good = watched
    found: list[set[str]] = []
    waiting = threading.Thread(target=lambda: found.append(set(answers.wait(Signal()))))
    waiting.start()
    assert looked.wait(60.0)
    waiting.join(60.0 if ends_before else 0.5)
    send(answers, late, GOOD)
    waiting.join(60.0)
    return found[0]


@pytest.mark.parametrize("bad", [JUNK, REFUSAL])
def test_a_member_that_answers_junk_at_once_makes_nobody_late(bad: Reply) -> None:
    answers = Answers(SITES, 3, is_good)
    for site, reply in zip(SITES[:3], (bad, GOOD, GOOD), strict=True):
        send(answers, site, reply)
    assert waited(answers, "d") == set(SITES)


def test_counting_junk_leaves_an_honest_site_out() -> None:
    answers = Answers(SITES, 3, lambda site, reply: reply.kind is not ReplyKind.REFUSAL)
    for site, reply in zip(SITES[:3], (JUNK, GOOD, GOOD), strict=True):
        send(answers, site, reply)
    assert waited(answers, "d", ends_before=True) == set(SITES[:3])


def test_nobody_is_late_before_enough_have_answered() -> None:
    """Groups of two that both need both: three answers settle nothing. No number of them ends the job."""
    late = {}
    for enough in (3, 4):
        answers = Answers(SITES, 0, is_good, enough)
        for site in SITES[:3]:
            send(answers, site, GOOD)
        late[enough] = set(SITES) - waited(answers, "d", ends_before=enough == 3)
    assert late == {3: {"d"}, 4: set()}


def test_it_ends_where_enough_cannot_come_any_more() -> None:
    answers = Answers(SITES, 3, is_good)
    send(answers, "a", JUNK)
    answers.give_up("b")
    assert set(answers.wait(Signal())) == {"a"}
