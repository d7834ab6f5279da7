"""BfvSite and BfvServer over the real set-up: the key of one job, states, the first failure as the last answer."""

import gc
import logging
import pickle
import weakref

import numpy as np
import pytest
from tests.contract.federation import Federation
from tests.unit.encryption.bfv_cases import he_terms
from tests.unit.protection.protection_cases import SITES, key_pem, root_pem, roster

from almoner.encryption.bfv_messages import MessageForm, least_contributors
from almoner.encryption.bfv_rounds import NOT_THE_SUM
from almoner.encryption.bfv_server import BfvServer
from almoner.encryption.bfv_site import BfvSite
from almoner.errors import FederationError, ProtocolError
from almoner.protection.message import HEADER_BYTES

D = 9
ERASED = "erased the job's key"


def site_of(name, **changes):
    return BfvSite(he_terms(D, **changes), roster(), root_pem(), name, key_pem(name))


class Liar(BfvServer):
    """Passes off another total; all sites are shown the same, and acknowledge it."""

    def __init__(self, spoil, terms):
        super().__init__(terms, roster())
        self.spoil = spoil

    def _add(self, addends):
        return self.spoil(super()._add(addends))


def lied_to(spoil):
    return Federation(Liar(spoil, he_terms(D)), {site: site_of(site) for site in SITES})


def other_numbers(total):
    return total[:HEADER_BYTES] + bytes(8 * 4096) + total[HEADER_BYTES + 8 * 4096 :]


def federation(**changes):
    terms = he_terms(D, **changes)
    return Federation(BfvServer(terms, roster()), {site: site_of(site, **changes) for site in SITES})


def values(by=1):
    return {site: np.full(D, by * place) for place, site in enumerate(SITES)}


def keys_of(held):
    return {site: machine._rounds._key.to_bytes() for site, machine in held.sites.items()}


@pytest.mark.threat("T-12")
def test_all_sites_hold_the_jobs_key_and_the_server_none():
    """What the server saw of the whole set-up and a round holds no part of the key; the next job has another."""
    seen = []
    ask = Federation.ask

    class Watched(Federation):
        def ask(self, site, question):
            seen.append(question.body)
            seen.append(ask(self, site, question))
            return seen[-1]

    watched = Watched(BfvServer(he_terms(D), roster()), {site: site_of(site) for site in SITES})
    total = watched.round(values())
    [key] = set(keys_of(watched).values())
    assert all(key[start : start + 16] not in data for data in [*seen, total.body] for start in range(24, 4096, 512))
    assert set(keys_of(federation()).values()).isdisjoint({key})
    assert not hasattr(watched.server, "_key")


@pytest.mark.threat("T-13", "T-37")
def test_the_first_forged_total_is_the_last_question():
    held = lied_to(other_numbers)
    total, site = held.round(values()), held.sites["bob"]
    key = weakref.ref(site._rounds._key)
    with pytest.raises(ProtocolError) as caught:
        site.open(1, total.contributors, total.body)
    assert str(caught.value) == NOT_THE_SUM
    del caught
    gc.collect()
    assert key() is None
    for act in (
        lambda: site.open(1, total.contributors, total.body),
        lambda: site.begin(2, (), b""),
        lambda: site.protect(1, values()["bob"]),
        lambda: site.answer("keys", 0, (), b""),
        lambda: site.answer("acknowledge", 1, total.contributors, bytes(32)),
    ):
        with pytest.raises(ProtocolError, match=ERASED):
            act()


@pytest.mark.threat("T-37")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(other_numbers, id="other numbers"),
        pytest.param(lambda total: total[:HEADER_BYTES] + bytes(8) + total[HEADER_BYTES + 8 :], id="one changed"),
        pytest.param(lambda total: total[:-64] + bytes(64), id="another c1 of the last site"),
    ],
)
def test_whatever_decryption_finds_has_one_text(spoil):
    held = lied_to(spoil)
    total = held.round(values())
    for site in held.sites.values():
        with pytest.raises(ProtocolError) as caught:
            site.open(1, total.contributors, total.body)
        assert str(caught.value) == NOT_THE_SUM


@pytest.mark.threat("T-37")
def test_an_earlier_total_is_refused_though_all_acknowledge_it():
    earlier = []

    def replay(total):
        earlier.append(total)
        return earlier[0]

    held = lied_to(replay)
    first = held.round(values())
    for site in held.sites.values():
        site.open(1, first.contributors, first.body)
    second = held.round(values(2))
    with pytest.raises(ProtocolError, match=NOT_THE_SUM):
        held.sites["ada"].open(2, second.contributors, second.body)
    with pytest.raises(ProtocolError, match="in order, each once"):
        held.sites["bob"].begin(1, (), b"")


def test_least_contributors():
    assert least_contributors(he_terms(D)) == 3
    assert least_contributors(he_terms(D, min_sites=4)) == 4
    assert least_contributors(he_terms(D, num_colluding_sites=2)) == 4


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda site: site.answer("reveal", 0, (), b""), "no such question"),
        (lambda site: site.answer("acknowledge", 1, SITES, bytes(32)), "not agreed on a key yet"),
        (lambda site: site.answer("keys", 1, (), b""), "belongs to the set-up"),
        (lambda site: site.answer("conclude", 0, SITES, b""), "not asked now"),
        (lambda site: site.begin(1, (), b""), "not agreed on a key yet"),
        (lambda site: site.begin(1, SITES, b""), "something is announced"),
        (lambda site: site.begin(1, (), b"x"), "something is announced"),
        (lambda site: site.protect(1, np.zeros(D, dtype=np.int64)), "not agreed on a key yet"),
        (lambda site: site.open(1, SITES, b""), "not agreed on a key yet"),
    ],
)
def test_what_is_not_allowed_ends_the_job(act, text):
    site = site_of("ada")
    with pytest.raises(ProtocolError, match=text):
        act(site)
    with pytest.raises(ProtocolError, match=ERASED):
        site.answer("keys", 0, (), b"")


def test_a_defect_ends_the_job_too():
    held = federation()
    held.sites["ada"].begin(1, (), b"")
    with pytest.raises(TypeError):
        held.sites["ada"].answer("acknowledge", 1, None, bytes(32))
    with pytest.raises(ProtocolError, match=ERASED):
        held.sites["ada"].begin(1, (), b"")


def test_questions_asked_again_have_the_same_answers():
    asked = []
    ask = Federation.ask

    class Twice(Federation):
        def ask(self, site, question):
            first = ask(self, site, question)
            asked.append(question.task)
            assert ask(self, site, question) == first
            return first

    held = Twice(BfvServer(he_terms(D), roster()), {site: site_of(site) for site in SITES})
    total = held.round(values())
    assert set(asked) == {"keys", "confirm", "agree", "conclude", "train", "acknowledge"}
    assert held.sites["eve"].open(1, total.contributors, total.body).tolist() == [10] * D


def test_a_site_that_does_not_conclude_is_left_out(caplog):
    class Forger(Federation):
        def ask(self, site, question):
            said = super().ask(site, question)
            return bytes(64) if (site, question.task) == ("dan", "conclude") else said

    with caplog.at_level(logging.WARNING, "almoner.encryption"):
        held = Forger(BfvServer(he_terms(D), roster()), {site: site_of(site) for site in SITES})
    assert held.members == ("ada", "bob", "cyd", "eve")
    assert "conclude: answer of dan" in caplog.text
    total = held.round(values())
    assert held.sites["ada"].open(1, total.contributors, total.body).tolist() == [0 + 1 + 2 + 4] * D


def test_too_few_good_messages_end_the_job_with_one_line(caplog):
    class Spoiler(Federation):
        def ask(self, site, question):
            said = super().ask(site, question)
            return bytes(len(said)) if question.task == "train" and site in SITES[2:] else said

    held = Spoiler(BfvServer(he_terms(D), roster()), {site: site_of(site) for site in SITES})
    with pytest.raises(FederationError, match="round 1: 2 of at least 3 sites") as caught:
        held.round(values())
    assert "\n" not in str(caught.value)
    assert "message of cyd: magic" in caplog.text


def test_a_message_with_a_coefficient_beyond_the_modulus_is_left_out(caplog):
    class Spoiler(Federation):
        def ask(self, site, question):
            said = super().ask(site, question)
            if (site, question.task) != ("bob", "train"):
                return said
            return said[:HEADER_BYTES] + b"\xff" * 8 + said[HEADER_BYTES + 8 :]

    held = Spoiler(BfvServer(he_terms(D), roster()), {site: site_of(site) for site in SITES})
    total = held.round(values())
    assert (total.contributors, total.named) == (("ada", "cyd", "dan", "eve"), ("bob",))
    assert "a coefficient is not below the modulus" in caplog.text
    assert held.sites["ada"].open(1, total.contributors, total.body).tolist() == [0 + 2 + 3 + 4] * D


def test_a_message_of_other_parameters_is_left_out_and_the_log_says_so(caplog):
    class Stranger(Federation):
        def ask(self, site, question):
            said = super().ask(site, question)
            if (site, question.task) != ("bob", "train"):
                return said
            return said[: HEADER_BYTES - 16] + bytes(16) + said[HEADER_BYTES:]

    held = Stranger(BfvServer(he_terms(D), roster()), {site: site_of(site) for site in SITES})
    assert held.round(values()).named == ("bob",)
    assert "parameters is 0000" in caplog.text
    assert "all parties must run the same job and release" in caplog.text


def test_more_sites_than_the_noise_budget_allows_are_refused():
    with pytest.raises(ProtocolError, match="51 sites → this protection needs 3 to 50"):
        he_terms(D, sites=tuple(f"site-{place}" for place in range(51)))


def test_a_site_shows_and_pickles_nothing():
    site = site_of("ada")
    assert repr(site) == "<BfvSite>"
    with pytest.raises(TypeError, match="not copied or pickled"):
        pickle.dumps(site)


def test_sizes():
    upload, total = MessageForm(1_000_000, 5).addend_bytes, MessageForm(1_000_000, 50).total_bytes
    assert (upload, total) == (36 + 123 * (4096 * 8 + 64), 36 + 123 * (4096 * 8 + 50 * 64) + 50 * 64)
    assert upload / 4e6 < 1.01
    assert total / 4e6 < 1.11
    site, server = site_of("ada"), BfvServer(he_terms(D), roster())
    assert site.answer_bytes("train") == server.message_bytes == 36 + 4096 * 8 + 64
    assert site.total_bytes(()) == server.total_bytes == 36 + 4096 * 8 + 2 * 5 * 64
    assert (site.answer_bytes("conclude"), site.answer_bytes("acknowledge"), site.announcement_bytes(())) == (64, 64, 0)
    with pytest.raises(ProtocolError, match="no question reveal"):
        site.answer_bytes("reveal")
