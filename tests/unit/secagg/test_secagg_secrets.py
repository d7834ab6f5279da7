"""Secrets are spent once, hide themselves, and offers count only for the members that they were dealt to."""

import copy
import inspect
import pickle
import pkgutil
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from tests.attack.lying_server import LyingServer
from tests.simulator import Simulation, altered, running

import almoner.secagg
from almoner.errors import ProtocolError
from almoner.protection.hidden import Hidden
from almoner.secagg import reveal
from almoner.secagg.contribution import make_roll
from almoner.secagg.offers import announce, make_ring, read_offer, read_ring
from almoner.secagg.reveal import SLOT_BYTES, judge
from almoner.secagg.session import OFFER_LABEL


def test_a_rounds_secrets_make_masks_once():
    server = LyingServer(running(4))
    secrets = server.job.sites["site-1"]._state.dealt.secrets
    ring = server.ring(*server.names)
    assert len(secrets.spend(server.session, ring, "site-1")) == 4
    with pytest.raises(ProtocolError, match="spent or of another round"):
        secrets.spend(server.session, ring, "site-1")


def test_a_rounds_secrets_make_no_masks_for_another_round():
    server = LyingServer(running(4))
    secrets = server.job.sites["site-1"]._state.dealt.secrets
    ring = replace(server.ring(*server.names), number=2)
    with pytest.raises(ProtocolError, match="spent or of another round"):
        secrets.spend(server.session, ring, "site-1")


def hidden_classes() -> list[type]:
    modules = [
        import_module(f"almoner.secagg.{module.name}") for module in pkgutil.iter_modules(almoner.secagg.__path__)
    ]
    found = {c for module in modules for _, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, Hidden)}
    return sorted(found - {Hidden}, key=lambda c: c.__name__)


@pytest.mark.parametrize("kind", hidden_classes(), ids=lambda c: c.__name__)
def test_what_holds_secrets_shows_and_writes_nothing(kind):
    held = object.__new__(kind)
    assert repr(held) == str(held) == f"<{kind.__name__}>"
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="holds a secret"):
            write(held)


def test_no_secret_is_in_the_text_of_a_site_or_its_parts():
    job = running(4)
    job.round(1)
    side = job.sites["site-1"]
    agreed, _ = side._job
    secrets = [agreed.tag_key, *(share for share in side._state.dealt.own_shares)]
    text = repr(vars(side)) + repr(side)
    for secret in secrets:
        assert repr(secret)[2:-1] not in text
        assert secret.hex() not in text
    with pytest.raises(TypeError):
        pickle.dumps(side)


def test_the_names_of_what_is_hidden_cover_every_state_and_secret():
    names = {c.__name__ for c in hidden_classes()}
    assert {"SetUp", "Ready", "Begun", "Contributed", "Acknowledged", "Revealed", "Ended", "Opened"} <= names
    assert {"RoundSecrets", "Dealt", "Holding", "Mask", "RoundTag", "RunningTag", "Sent"} <= names


def test_who_was_told_other_members_is_left_out():
    job = Simulation.of("secagg", 5)

    def shown(question, site):
        if (question.task, site) != ("conclude", "site-1"):
            return question
        size = len(question.body) // 5
        return altered(question, contributors=question.contributors[:4], body=question.body[: 4 * size])

    job.shown = shown
    assert job.set_up() == ("site-2", "site-3", "site-4", "site-5")
    total = job.round(1)
    assert total.contributors == job.members
    assert all(np.array_equal(sums, job.sum_of(1, total.contributors)) for sums in job.open_all(1).values())


@pytest.mark.parametrize("key", [bytes(32), (1).to_bytes(32, "little"), b"\xff" * 32])
def test_an_offer_with_a_mask_key_that_makes_no_secret_is_refused(key):
    server = LyingServer(running(4))
    agreed, session = server.job.sites["site-1"]._job
    offer = replace(server.offers["site-1"], mask_key=key)
    signature = agreed.keys.sign(session.stated(OFFER_LABEL, 1, "site-1", offer.unsigned()))
    with pytest.raises(ProtocolError, match="X25519 key"):
        read_offer(replace(offer, signature=signature).encode(), session, 1, "site-1")


def test_the_digest_of_a_ring_covers_round_names_and_every_offer():
    server = LyingServer(running(5))
    offers = {name: server.offers[name] for name in server.names[:4]}
    digests = {
        make_ring(server.session, 1, offers).digest,
        make_ring(server.session, 2, offers).digest,
        make_ring(server.session, 1, dict(reversed(offers.items()))).digest,
        make_ring(server.session, 1, {**offers, "site-4": server.offers["site-5"]}).digest,
        make_ring(server.session, 1, dict(list(offers.items())[:3])).digest,
    }
    assert len(digests) == 5


def test_the_digest_of_a_roll_covers_round_ring_names_and_every_entry():
    server = LyingServer(running(5))
    whole, part = server.ring(*server.names), server.ring(*server.names[:4])
    entries = {name: bytes([k]) * 96 for k, name in enumerate(server.names[:4])}
    renamed = dict(zip(server.names[1:], entries.values(), strict=True))
    rolls = [
        make_roll(server.session, whole, entries),
        make_roll(server.session, part, entries),
        make_roll(server.session, replace(whole, number=2), entries),
        make_roll(server.session, whole, renamed),
        make_roll(server.session, whole, dict(list(entries.items())[:3])),
        make_roll(server.session, whole, {**entries, "site-1": bytes([9]) * 96}),
    ]
    assert len({roll.digest for roll in rolls}) == 6


def test_an_announcement_of_too_few_or_cut_short_is_refused():
    server = LyingServer(running(5))
    ring = server.ring(*server.names)
    body = announce(ring.offers)
    with pytest.raises(ProtocolError, match="3 sites, at least 4 are needed"):
        read_ring(server.session, 1, ring.sites[:3], body[: 3 * len(body) // 5])
    with pytest.raises(ProtocolError, match="bytes for 5 sites"):
        read_ring(server.session, 1, ring.sites, body[:-1])


def test_a_reveal_about_a_site_outside_the_ring_is_blamed():
    server = LyingServer(running(5))
    ring = server.ring(*server.names[:4])
    for name in ring.sites:
        server.have_contributed(name, ring)
    roll = server.roll(ring, *ring.sites)
    slots = dict.fromkeys(server.names, bytes(SLOT_BYTES))
    slots["site-5"] = bytes([reveal.SlotKind.SELF_SHARE]) + bytes(32)
    judgement = judge(server.session, ring, roll, {"site-1": slots})
    assert (
        "which is not in the ring"
        in judge(server.session, ring, roll, {"site-2": {"site-5": slots["site-5"]}}).blamed["site-2"]
    )
    assert judgement.blamed["site-1"] == "it revealed a false share of site-1"
    assert not any(judgement.shares.values())


def test_a_site_reveals_one_secret_of_each_site_of_the_ring_and_nothing_of_others():
    server = LyingServer(running(6))
    ring = server.ring(*server.names[:5])
    for name in ring.sites:
        server.have_contributed(name, ring)
    roll = server.roll(ring, *server.names[:4])
    signatures = {name: server.have_acknowledged(name, roll) for name in ring.sites}
    chosen = b"".join(signatures.values())
    said = server.job.sites["site-2"].answer("reveal", 1, ring.sites, chosen)
    kinds = [said[place * SLOT_BYTES] for place in range(6)]
    assert kinds == [1, 1, 1, 1, 2, 0]


@pytest.mark.parametrize("kind", [0, 2, 4, 255])
def test_a_right_share_under_a_wrong_kind_is_blamed(kind):
    server = LyingServer(running(4))
    ring = server.ring(*server.names)
    for name in server.names:
        server.have_contributed(name, ring)
    roll = server.roll(ring, *server.names)
    holdings = server.job.sites["site-2"]._state.holdings
    slots = {dealer: bytes([1]) + holding.shares[0] for dealer, holding in holdings.items()}
    assert judge(server.session, ring, roll, {"site-2": slots}).blamed == {}
    slots["site-3"] = bytes([kind]) + slots["site-3"][1:]
    judgement = judge(server.session, ring, roll, {"site-2": slots})
    assert judgement.blamed == {"site-2": "it revealed a false share of site-3"}
    assert not judgement.shares["site-3"]
