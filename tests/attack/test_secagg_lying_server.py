"""A server that wants one site's update, or a smaller sum than it may have. Each attack works with its check off."""

from contextlib import suppress
from itertools import product

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.attack.lying_server import LyingServer
from tests.simulator import running, snapshot

from almoner.errors import ProtocolError
from almoner.secagg import contribution, site
from almoner.secagg.masking import RingRound
from almoner.secagg.offers import Offer, Secret, announce
from almoner.secagg.session import CONTRIBUTION_LABEL, OFFER_LABEL, Session

VICTIM = "site-1"


def off(monkeypatch: pytest.MonkeyPatch, *labels: bytes) -> None:
    """Turn off the check of signatures over some kinds of message."""
    checked = Session.verify

    def verify(self: Session, label: bytes, *arguments: object) -> None:
        if label not in labels:
            checked(self, label, *arguments)

    monkeypatch.setattr(Session, "verify", verify)


def is_of_the_victim(server: LyingServer, values: np.ndarray) -> bool:
    return np.array_equal(values, server.job.values(server.number, VICTIM))


# Bad U: a roll of the victim and the colluding site.


def small_roll(server: LyingServer) -> np.ndarray:
    ring = server.ring(*server.names)
    for name in server.names:
        server.have_contributed(name, ring)
    roll = server.roll(ring, VICTIM, server.colluder)
    signatures = {name: server.have_acknowledged(name, roll) for name in server.names}
    for name in server.names:
        server.have_revealed(name, signatures)
    masks = [server.self_mask(ring, VICTIM)]
    masks += [server.pair_mask(ring, VICTIM, other) for other in server.names[1:-1]]
    private = X25519PrivateKey.from_private_bytes(server.job.colluder_key)
    made_for = RingRound(server.session.transcript, 1, ring.digest, server.names)
    masks.append(-made_for.pair_mask(private, server.colluder, VICTIM, ring.offers[VICTIM].mask_key))
    return server.decode((VICTIM,), masks)


@pytest.mark.threat("T-36")
def test_a_roll_below_the_threshold(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(contribution, "check_subset", lambda *arguments: None)
        server = with_key_of_the_colluder(LyingServer(running(4)))
        assert is_of_the_victim(server, small_roll(server))
    server = with_key_of_the_colluder(LyingServer(running(4)))
    with pytest.raises(ProtocolError, match="2 sites, at least 3 are needed"):
        small_roll(server)


def with_key_of_the_colluder(server: LyingServer) -> LyingServer:
    """Give the server the colluding site's own mask key."""
    server.job.colluder_key = server.job.sites[server.colluder]._state.dealt.secrets._secrets[Secret.KEY]
    return server


@pytest.mark.threat("T-36")
@pytest.mark.parametrize("wrong", ["order", "twice", "stranger", "outside"])
def test_a_roll_of_other_sites_than_the_ring(wrong):
    server = LyingServer(running(5))
    ring = server.ring(*server.names[:4])
    for name in ring.sites:
        server.have_contributed(name, ring)
    roll = server.roll(ring, *ring.sites)
    entries = roll.entries
    sites, body = {
        "order": (roll.sites[::-1], b"".join(entries[::-1])),
        "twice": ((*roll.sites[:3], roll.sites[2]), b"".join((*entries[:3], entries[2]))),
        "stranger": ((*roll.sites[:3], "mallory"), roll.body),
        "outside": ((*roll.sites[:3], "site-5"), roll.body),
    }[wrong]
    with pytest.raises(ProtocolError, match="not sites of the job in its order"):
        server.job.sites["site-2"].answer("acknowledge", 1, sites, body)


# Split R: the victim is shown a ring of sites that will be said to have dropped out.


def split_ring(server: LyingServer) -> np.ndarray:
    """n = 4, t = 3: to the victim R = {1, 2, 4}, to others {1, 2, 3, 4}; then U = {1, 3, 4}, so 2's key is given."""
    to_victim, to_others = server.ring(VICTIM, "site-2", "site-4"), server.ring(*server.names)
    server.have_contributed(VICTIM, to_victim)
    for name in ("site-3", "site-4"):
        server.have_contributed(name, to_others)
    server.job.sites["site-2"].begin(1, to_others.sites, announce(to_others.offers))
    roll = server.roll(to_others, VICTIM, "site-3", "site-4")
    signatures = {name: server.have_acknowledged(name, roll) for name in ("site-2", "site-3", "site-4")}
    for name in signatures:
        server.have_revealed(name, signatures)
    masks = [server.self_mask(to_victim, VICTIM), server.pair_mask(to_victim, VICTIM, "site-2")]
    private = X25519PrivateKey.from_private_bytes(server.job.colluder_key)
    made_for = RingRound(server.session.transcript, 1, to_victim.digest, server.names)
    masks.append(-made_for.pair_mask(private, "site-4", VICTIM, to_victim.offers[VICTIM].mask_key))
    return server.decode((VICTIM,), masks)


@pytest.mark.threat("T-36")
def test_one_ring_to_the_victim_and_another_to_the_others(monkeypatch):
    with monkeypatch.context() as patch:
        off(patch, CONTRIBUTION_LABEL)
        server = with_key_of_the_colluder(LyingServer(running(4)))
        assert is_of_the_victim(server, split_ring(server))
    server = with_key_of_the_colluder(LyingServer(running(4)))
    with pytest.raises(ProtocolError, match="round 1: site-1: the signature does not verify"):
        split_ring(server)


# Split U: every site is shown a roll of four; what is left of all is three, the colluding site among them.

LEFT_OUT = {
    "site-1": ("site-3", "site-4"),
    "site-2": ("site-4", "site-5"),
    "site-3": ("site-3", "site-5"),
    "site-4": ("site-3", "site-4"),
    "site-5": ("site-5",),
}


def split_roll(server: LyingServer) -> np.ndarray:
    """n = 6, t = 4: three sites each are told that 3, 4 or 5 dropped out; the colluding site has the fourth share."""
    ring = server.ring(*server.names)
    for name in server.names:
        server.have_contributed(name, ring)
    server.take_all_of_the_colluder()
    for name in server.honest:
        roll = server.roll(ring, *(other for other in server.names if other not in LEFT_OUT[name]))
        signature = server.have_acknowledged(name, roll)
        server.have_revealed(name, {name: signature})
    left = (VICTIM, "site-2", server.colluder)
    masks = [server.self_mask(ring, name) for name in left]
    masks += [server.pair_mask(ring, name, gone) for name in left for gone in ("site-3", "site-4", "site-5")]
    return server.decode(left, masks)


@pytest.mark.threat("T-36")
def test_other_rolls_to_other_sites(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(site, "verify_acknowledgements", lambda *arguments: None)
        server = LyingServer(running(6))
        assert np.array_equal(split_roll(server), server.job.sum_of(1, (VICTIM, "site-2", "site-6")))
    server = LyingServer(running(6))
    with pytest.raises(ProtocolError, match="1 sites, at least 4 are needed"):
        split_roll(server)


@pytest.mark.threat("T-36")
def test_acknowledgements_of_another_roll_do_not_count():
    server = LyingServer(running(5))
    ring = server.ring(*server.names)
    for name in server.names:
        server.have_contributed(name, ring)
    whole, part = server.roll(ring, *server.names), server.roll(ring, *server.names[1:])
    signatures = {name: server.have_acknowledged(name, part if name == VICTIM else whole) for name in server.names}
    with pytest.raises(ProtocolError, match="round 1: site-1: the signature does not verify"):
        server.have_revealed("site-2", signatures)


# The same values once with the victim and once without; and both secrets of the victim.


def two_sums(server: LyingServer, again: LyingServer) -> np.ndarray:
    """Open U and then U without the victim; `again` are the sites as the second pass finds them."""
    sums = []
    for asked, sites in ((server, server.names), (again, server.names[1:])):
        roll = asked.roll(asked.ring(*asked.names), *sites)
        signatures = {name: asked.have_acknowledged(name, roll) for name in asked.names}
        for name in asked.names:
            asked.have_revealed(name, signatures)
        ring = asked.ring(*asked.names)
        masks = [asked.self_mask(ring, name) for name in sites]
        masks += [asked.pair_mask(ring, name, VICTIM) for name in sites if VICTIM not in sites]
        sums.append(asked.decode(sites, masks))
    return sums[0] - sums[1]


@pytest.mark.threat("T-36")
def test_a_sum_with_the_victim_and_one_without():
    server = LyingServer(running(5))
    ring = server.ring(*server.names)
    for name in server.names:
        server.have_contributed(name, ring)
    assert is_of_the_victim(server, two_sums(server, snapshot(server)))  # sites that do not remember their answers
    server = LyingServer(running(5))
    for name in server.names:
        server.have_contributed(name, server.ring(*server.names))
    with pytest.raises(ProtocolError, match="acknowledge of round 1 is not allowed now"):
        two_sums(server, server)


def both_secrets(server: LyingServer, again: LyingServer) -> np.ndarray:
    """Have b of the victim from one pass and its mask key from another; nobody else's values are needed then."""
    ring = server.ring(*server.names)
    for asked, sites in ((server, server.names), (again, server.names[1:])):
        roll = asked.roll(ring, *sites)
        signatures = {name: asked.have_acknowledged(name, roll) for name in asked.names}
        for name in asked.names:
            asked.have_revealed(name, signatures)
    private = X25519PrivateKey.from_private_bytes(again.secret(VICTIM, Secret.KEY))
    made_for = RingRound(server.session.transcript, 1, ring.digest, server.names)
    others = server.names[1:]
    masks = [made_for.pair_mask(private, VICTIM, other, ring.offers[other].mask_key) for other in others]
    return server.decode((VICTIM,), [server.self_mask(ring, VICTIM), *masks])


@pytest.mark.threat("T-36")
def test_a_request_for_both_secrets_of_the_victim():
    server = LyingServer(running(5))
    ring = server.ring(*server.names)
    for name in server.names:
        server.have_contributed(name, ring)
    kept = snapshot(server)
    assert is_of_the_victim(server, both_secrets(server, snapshot(server)))
    with pytest.raises(ProtocolError, match="acknowledge of round 1 is not allowed now"):
        both_secrets(kept, kept)
    assert not (set(kept.shares) & {(dealer, Secret.KEY) for dealer in kept.names})
    with pytest.raises(LookupError):
        kept.secret(VICTIM, Secret.KEY)


# A site restored from a snapshot answers twice: it counts as colluding, and no more than c of them do.


def acknowledged_twice(restored: tuple[str, ...]) -> bool:
    """Tell whether t acknowledgements of two rolls can be had when some sites sign both."""
    server = LyingServer(running(4))
    ring = server.ring(*server.names)
    for name in server.names:
        server.have_contributed(name, ring)
    rolls = server.roll(ring, *server.names), server.roll(ring, *server.names[1:])
    for choice in product((0, 1), repeat=4):
        counts = [0, 0]
        for name, first in zip(server.names, choice, strict=True):
            sides = [server.job.sites[name]] + ([snapshot(server.job.sites[name])] if name in restored else [])
            for side, which in zip([snapshot(side) for side in sides], (first, 1 - first), strict=False):
                with suppress(ProtocolError):
                    side.answer("acknowledge", 1, rolls[which].sites, rolls[which].body)
                    counts[which] += 1
        if min(counts) >= server.session.terms.threshold:
            return True
    return False


@pytest.mark.threat("T-36")
@pytest.mark.parametrize("restored", [(), ("site-1",), ("site-4",)])
def test_up_to_c_restored_sites_do_not_open_a_second_roll(restored):
    assert not acknowledged_twice(restored)


@pytest.mark.threat("T-36")
def test_more_restored_sites_than_assumed_would():
    assert acknowledged_twice(("site-1", "site-4"))


# Rounds run again, messages of other rounds, keys of the server.


@pytest.mark.threat("T-36")
def test_a_round_that_is_run_again():
    job = running(4)
    first = LyingServer(snapshot(job))
    second = LyingServer(snapshot(job))  # the same sites before the round: what forgetful sites would answer
    rings = first.ring(*first.names), second.ring(*second.names[:3])
    for server, ring in zip((first, second), rings, strict=True):
        for name in ring.sites:
            server.have_contributed(name, ring)
    assert second.contributions[VICTIM].entry != first.contributions[VICTIM].entry
    side = first.job.sites[VICTIM]
    with pytest.raises(ProtocolError, match="begin of round 1 is not allowed now"):
        side.begin(1, rings[1].sites, announce(rings[1].offers))


@pytest.mark.threat("T-36")
def test_a_round_that_is_left_out(monkeypatch):
    off(monkeypatch, OFFER_LABEL)
    server = LyingServer(running(4), 2)
    ring = server.ring(*server.names)
    with pytest.raises(ProtocolError, match="begin of round 2 is not allowed now"):
        server.job.sites[VICTIM].begin(2, ring.sites, announce(ring.offers))


@pytest.mark.threat("T-36")
def test_other_values_under_the_same_masks():
    server = LyingServer(running(4))
    ring = server.ring(*server.names)
    other = snapshot(server)
    for asked, shift in ((server, 0), (other, 3)):
        asked.job.values = lambda number, name, shift=shift: np.arange(7) + shift
        asked.have_contributed(VICTIM, ring)
    words = [asked.contributions[VICTIM].words for asked in (server, other)]
    packing = server.session.packing
    assert np.array_equal(words[1] - words[0], packing.pack(np.full(7, 3)) - packing.pack(np.zeros(7, dtype=np.int64)))
    with pytest.raises(ProtocolError, match="other values than those"):
        server.job.sites[VICTIM].protect(1, np.arange(7) + 3)


def replayed(server: LyingServer, entry: bytes) -> bytes:
    """In round 2, name the victim with its contribution to round 1."""
    ring = server.ring(*server.names)
    for name in server.names[1:]:
        server.have_contributed(name, ring)
    server.contributions[VICTIM] = contribution.Contribution(np.zeros(1), 0, entry)
    return server.have_acknowledged("site-2", server.roll(ring, *server.names))


@pytest.mark.threat("T-36")
def test_a_contribution_of_another_round(monkeypatch):
    job = running(4)
    job.round(1)
    entry = next(question.body for question in job.questions if question.task == "acknowledge")[:96]
    job.open_all(1)
    with monkeypatch.context() as patch:
        off(patch, CONTRIBUTION_LABEL)
        assert len(replayed(LyingServer(snapshot(job), 2), entry)) == 64
    with pytest.raises(ProtocolError, match="round 2: site-1: the signature does not verify"):
        replayed(LyingServer(job, 2), entry)


@pytest.mark.threat("T-36")
def test_an_offer_of_another_round(monkeypatch):
    job = running(4)
    old = dict(job.server._offers)
    job.round(1)
    job.open_all(1)
    with monkeypatch.context() as patch:
        off(patch, OFFER_LABEL)
        server = LyingServer(snapshot(job), 2)
        server.have_contributed("site-2", server.ring(*server.names, site_1=old[VICTIM]))
    server = LyingServer(job, 2)
    with pytest.raises(ProtocolError, match="round 2: site-1: the signature does not verify"):
        server.have_contributed("site-2", server.ring(*server.names, site_1=old[VICTIM]))


def swapped_keys(server: LyingServer) -> np.ndarray:
    """Show the victim the server's own mask keys in place of the others', which get the true ones."""
    keys = {name: X25519PrivateKey.generate() for name in server.names[1:]}
    forged = {
        name.replace("-", "_"): forged_offer(server.offers[name], key.public_key().public_bytes_raw())
        for name, key in keys.items()
    }
    to_victim, to_others = server.ring(*server.names, **forged), server.ring(*server.names)
    server.have_contributed(VICTIM, to_victim)
    for name in server.names[1:]:
        server.have_contributed(name, to_others)
    roll = server.roll(to_others, *server.names)
    signatures = {name: server.have_acknowledged(name, roll) for name in server.names[1:]}
    for name in signatures:
        server.have_revealed(name, signatures)
    made_for = RingRound(server.session.transcript, 1, to_victim.digest, server.names)
    public = to_victim.offers[VICTIM].mask_key
    masks = [-made_for.pair_mask(key, name, VICTIM, public) for name, key in keys.items()]
    return server.decode((VICTIM,), [server.self_mask(to_victim, VICTIM), *masks])


def forged_offer(offer: Offer, mask_key: bytes) -> Offer:
    return Offer(mask_key, offer.self_commitment, offer.commitments, offer.boxes, offer.signature)


@pytest.mark.threat("T-36")
def test_swapped_mask_keys(monkeypatch):
    with monkeypatch.context() as patch:
        off(patch, OFFER_LABEL, CONTRIBUTION_LABEL)
        server = LyingServer(running(4))
        assert is_of_the_victim(server, swapped_keys(server))
    with pytest.raises(ProtocolError, match="round 1: site-2: the signature does not verify"):
        swapped_keys(LyingServer(running(4)))


@pytest.mark.threat("T-36")
def test_swapped_mask_keys_are_caught_by_the_others_too(monkeypatch):
    off(monkeypatch, OFFER_LABEL)
    with pytest.raises(ProtocolError, match="round 1: site-1: the signature does not verify"):
        swapped_keys(LyingServer(running(4)))


@pytest.mark.threat("T-36")
def test_a_ring_with_another_offer_of_this_site_than_its_own(monkeypatch):
    off(monkeypatch, OFFER_LABEL)
    server = LyingServer(running(4))
    other = X25519PrivateKey.generate().public_key().public_bytes_raw()
    ring = server.ring(*server.names, site_1=forged_offer(server.offers[VICTIM], other))
    with pytest.raises(ProtocolError, match="not what site-1 offered"):
        server.have_contributed(VICTIM, ring)


@pytest.mark.threat("T-36", "T-103")
def test_a_roll_with_another_contribution_of_this_site_than_its_own(monkeypatch):
    off(monkeypatch, CONTRIBUTION_LABEL)
    server = LyingServer(running(4))
    ring = server.ring(*server.names)
    for name in server.names:
        server.have_contributed(name, ring)
    server.contributions[VICTIM] = contribution.Contribution(np.zeros(1), 0, bytes(96))
    with pytest.raises(ProtocolError, match="not what site-1 contributed"):
        server.have_acknowledged(VICTIM, server.roll(ring, *server.names))


@pytest.mark.threat("T-12")
def test_what_the_server_alone_is_sent_is_none_of_the_values():
    server = LyingServer(running(4))
    ring = server.ring(*server.names)
    for name in server.names:
        server.have_contributed(name, ring)
    with pytest.raises(ProtocolError, match="no sum of so many addends"):
        server.decode((VICTIM,), [])
    with pytest.raises(ProtocolError, match="no sum of so many addends"):
        server.decode(server.names, [])
