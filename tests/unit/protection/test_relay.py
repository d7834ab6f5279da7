"""The honest server: one site's malformed answer costs that site the job, not the others."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import pytest
from protection_cases import (
    CONCLUDED,
    DEALT_BYTES,
    SITES,
    TERMS,
    Network,
    agreement,
    entry_of,
    issue,
    key_pem,
    network,
    roster,
)

from almoner.errors import FederationError, ProtocolError
from almoner.protection import set_up
from almoner.protection.agreement import agree_on_keys
from almoner.protection.scheme import Question
from almoner.protection.set_up import DIGEST_BYTES, SIGNED_BYTES

OTHERS = ("ada", "bob", "cyd", "dan")


def spoil(task: str, change: Callable[[bytes], bytes], site: str = "eve") -> Network:
    """Change what the server hears of one site's answer."""
    net = network()
    net.hear = lambda question, asked, said: change(said) if (question.task, asked) == (task, site) else said
    return net


def flip(position: int) -> Callable[[bytes], bytes]:
    def change(said: bytes) -> bytes:
        changed = bytearray(said)
        changed[position] ^= 1
        return bytes(changed)

    return change


@pytest.mark.parametrize("task", ["keys", "confirm", "agree"])
@pytest.mark.parametrize("change", [flip(0), flip(40), flip(-1), lambda said: said[:-1], lambda said: b""])
def test_a_malformed_answer_counts_as_none(task: str, change: Callable[[bytes], bytes]) -> None:
    net = spoil(task, change)
    result = net.run()
    assert result.members == result.agreed == tuple(net.agreed) == OTHERS
    assert not net.errors


def test_questions_follow_from_the_answers() -> None:
    net = network(dealt=True)
    net.hear = lambda question, site, said: b"" if (question.task, site) == ("agree", "bob") else said
    result = net.run()
    assert [question.task for question in net.asked] == ["keys", "confirm", "agree", "conclude"]
    assert [question.contributors for question in net.asked] == [(), SITES, SITES, ("ada", "cyd", "dan", "eve")]
    assert {question.number for question in net.asked} == {0}
    assert {question.min_answers for question in net.asked} == {TERMS.quorum}
    assert [question.sites for question in net.asked] == [SITES, SITES, SITES, ("ada", "cyd", "dan", "eve")]
    assert all(tuple(question.answer_bytes) == question.sites for question in net.asked)
    assert tuple(result.set_up_messages) == SITES
    assert (result.members, result.agreed) == (("ada", "cyd", "dan", "eve"),) * 2


def test_who_does_not_conclude_is_no_member_but_was_agreed_upon() -> None:
    net = spoil("conclude", lambda said: b"")
    result = net.run()
    assert (result.members, result.agreed) == (OTHERS, SITES)
    assert result.answers == dict.fromkeys(OTHERS, CONCLUDED)


@pytest.mark.parametrize("task", ["keys", "confirm", "agree", "conclude"])
def test_too_few_good_answers_end_the_job(task: str) -> None:
    net = network(SITES[:4])
    net.hear = lambda question, site, said: b"" if (question.task, site) == (task, "dan") else said
    with pytest.raises(FederationError, match=f"{task}: 3 of at least 4 sites answered; the job ends here"):
        net.run()


def test_min_sites_above_the_threshold() -> None:
    terms = dataclasses.replace(TERMS, min_sites=5)
    net = Network({site: agreement(site, terms=terms) for site in SITES})
    net.hear = lambda question, site, said: b"" if (question.task, site) == ("keys", "dan") else said
    with pytest.raises(FederationError, match="keys: 4 of at least 5 sites"):
        net.run(agree_on_keys(terms, SITES, roster(), 0, len(CONCLUDED)))


@pytest.mark.parametrize("which", ["exchange", "signing", "both in one message"])
def test_who_shows_anothers_key_is_left_out(which: str) -> None:
    """The one earlier in the roster stays, whoever copied from whom: the sites would refuse both."""
    first: list[bytes] = []

    def hear(question: Question, site: str, said: bytes) -> bytes:
        if question.task != "keys" or site not in ("ada", "eve"):
            return said
        first.append(said)
        keys, own = first[0][DIGEST_BYTES:SIGNED_BYTES], said[DIGEST_BYTES:SIGNED_BYTES]
        if site == "ada":
            return said
        mixed = {"exchange": keys[:32] + own[32:], "signing": own[:32] + keys[32:], "both in one message": own[:32] * 2}
        public = set_up.PublicKeys(mixed[which][:32], mixed[which][32:])
        return TERMS.digest() + mixed[which] + set_up.sign(key_pem("eve"), set_up._stated(TERMS, "eve", public))

    net = network(hear=hear)
    assert net.run().members == OTHERS
    assert not net.errors


def test_a_roster_without_a_certificate_for_a_site() -> None:
    other = roster(entry_of("bob", issue("somebody", "user")))
    net = network()
    with pytest.raises(ProtocolError, match="bob is of somebody else"):
        net.run(agree_on_keys(TERMS, SITES, other, 0, len(CONCLUDED)))


def test_the_log_names_who_and_why_and_nothing_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    net = spoil("confirm", flip(100))
    net.run()
    assert "answer of eve dropped: confirmation of eve: the signature does not verify" in caplog.text
    for agreed in net.agreed.values():
        for secret in (agreed.tag_key, agreed.keys.exchange.private_bytes_raw()):
            assert secret.hex() not in caplog.text
            assert repr(secret) not in caplog.text


def test_the_length_of_the_dealt_secret_is_asked_of_the_dealer() -> None:
    net = network(SITES[1:], dealt=True)
    seen: dict[str, Any] = {}
    net.show = lambda question, site: (
        seen.setdefault(question.task, question)
        and (
            question.contributors,
            question.body,
        )
    )
    net.run()
    lengths = seen["confirm"].answer_bytes
    assert lengths["bob"] - lengths["cyd"] == DEALT_BYTES + 16
