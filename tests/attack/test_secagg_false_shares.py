"""Members that deal or give back false shares, or complain falsely: the round goes on, and the log says who it was."""

from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from itertools import permutations

import numpy as np
import pytest
from tests.simulator import Simulation, running

from almoner.errors import FederationError
from almoner.protection.boxes import box_key
from almoner.secagg import dealing, reveal, shamir
from almoner.secagg.dealing import Dealt, Holding
from almoner.secagg.offers import Secret, box_address
from almoner.secagg.session import CONTRIBUTION_LABEL, OFFER_LABEL, contribution_header
from almoner.secagg.site import OutsideTheRing

LIAR = "site-2"


def with_offer(job: Simulation, dealer: str, change: object) -> None:
    """Have a dealer change its offer for round 1 before it signs it; the server takes it in place of the first."""
    side = job.sites[dealer]
    agreed, session = side._job
    dealt = side._state.dealt
    offer = change(dealt.offer, agreed, session)
    signature = agreed.keys.sign(session.stated(OFFER_LABEL, 1, dealer, offer.unsigned()))
    offer = replace(offer, signature=signature)
    side._state = replace(side._state, dealt=Dealt(dealt.secrets, offer, dealt.own_shares))
    job.server._offers[dealer] = offer


def bad_box(receiver: str, opens: bool):
    """Return a change of the box for one receiver: false shares in it, or rubbish."""

    def change(offer, agreed, session):
        place = session.terms.sites.index(receiver)
        key = box_key(
            agreed.keys, agreed.public_keys[receiver], agreed.transcript, box_address(1, agreed.site, receiver)
        )
        boxes = list(offer.boxes)
        boxes[place] = key.seal(bytes(64)) if opens else bytes(80)
        return replace(offer, boxes=tuple(boxes))

    return change


def holding_instead(job: Simulation, site: str, change: object) -> None:
    """Have a site reveal something else than what it holds."""
    honest = job.sites[site]._reveal

    def lying(state, sites, body):
        return honest(replace(state, holdings=change(state.holdings)), sites, body)

    job.sites[site]._reveal = lying


def spoilt(said: bytes) -> bytes:
    return said[:-1] + bytes([said[-1] ^ 1])


def ended(job: Simulation) -> str:
    """Run round 1; return why the job ended in it, if it did."""
    try:
        job.round(1)
    except FederationError as error:
        return str(error)
    return ""


def sums_right(job: Simulation) -> bool:
    total = job.totals[1]
    opened = job.open_all(1)
    return bool(opened) and all(np.array_equal(s, job.sum_of(1, total.contributors)) for s in opened.values())


@pytest.mark.threat("T-38")
def test_a_false_share_is_named_by_its_commitment_and_the_sum_is_right(monkeypatch):
    def false(holdings):
        return {dealer: Holding((shamir.draw_secret(), shamir.draw_secret())) for dealer in holdings}

    with monkeypatch.context() as patch:
        patch.setattr(reveal, "_is_committed", lambda *arguments: True)
        job = running(5)
        holding_instead(job, LIAR, false)
        assert "site-1 is to blame: it dealt shares that do not fit together" in ended(job)
    job = running(5)
    holding_instead(job, LIAR, false)
    assert ended(job) == ""
    assert job.totals[1].named == (LIAR,)
    assert sums_right(job)


@pytest.mark.threat("T-38")
def test_a_share_of_the_other_secret_counts_as_false():
    job = running(5)
    holding_instead(job, LIAR, lambda held: {d: Holding((h.shares[1], h.shares[0])) for d, h in held.items()})
    assert job.round(1).named == (LIAR,)
    assert sums_right(job)


@pytest.mark.threat("T-38")
def test_too_many_false_shares_end_the_job_and_name_who_gave_them():
    job = running(5)
    for liar in ("site-2", "site-3"):
        holding_instead(job, liar, lambda held: {dealer: Holding((bytes(32), bytes(32))) for dealer in held})
    with pytest.raises(FederationError, match=r"3 of 4 good shares .*site-2 is to blame.*site-3 is to blame"):
        job.round(1)


@pytest.mark.threat("T-38")
def test_a_dealer_of_false_shares_is_named_by_a_complaint():
    job = running(5)
    with_offer(job, LIAR, bad_box("site-4", opens=True))
    assert job.round(1).named == (LIAR,)
    assert sums_right(job)


@pytest.mark.threat("T-38")
def test_a_complaint_opens_no_other_box():
    job = running(5)
    with_offer(job, LIAR, bad_box("site-4", opens=True))
    job.round(1)
    said = job.answers[-1]["site-4"]
    slot = said[33:66]
    assert slot[0] == reveal.SlotKind.COMPLAINT
    keys = {}
    for dealer, receiver in permutations(job.sites, 2):
        agreed, _ = job.sites[dealer]._job
        address = box_address(1, dealer, receiver)
        keys[dealer, receiver] = box_key(agreed.keys, agreed.public_keys[receiver], agreed.transcript, address).raw
    assert [pair for pair, key in keys.items() if key == slot[1:]] == [(LIAR, "site-4")]
    assert len(set(keys.values())) == len(keys)


@pytest.mark.threat("T-38")
def test_a_false_complaint_names_the_complainer_and_its_share_counts():
    job = running(5)
    job.heard = lambda question, site, said: None if (question.task, site) == ("reveal", "site-5") else said

    def complain(holdings):
        agreed, _ = job.sites[LIAR]._job
        key = box_key(agreed.keys, agreed.public_keys["site-1"], agreed.transcript, box_address(1, "site-1", LIAR))
        return {**holdings, "site-1": Holding(None, key.raw)}

    holding_instead(job, LIAR, complain)
    assert job.round(1).named == (LIAR,)
    assert sums_right(job)


@pytest.mark.threat("T-38")
def test_a_complaint_that_opens_nothing_names_nobody_alone(caplog):
    job = running(5)
    with_offer(job, LIAR, bad_box("site-4", opens=False))
    assert job.round(1).named == ()
    assert "site-2 or site-4 is to blame" in caplog.text
    assert sums_right(job)


@pytest.mark.threat("T-38")
def test_a_dealer_whose_boxes_more_sites_cannot_open_than_can_collude_is_named():
    job = running(6)

    def change(offer, agreed, session):
        return bad_box("site-4", opens=False)(bad_box("site-5", opens=False)(offer, agreed, session), agreed, session)

    with_offer(job, LIAR, change)
    assert job.round(1).named == (LIAR,)
    assert sums_right(job)


@pytest.mark.threat("T-38")
def test_a_site_that_disputes_with_more_dealers_than_can_collude_is_named():
    job = running(5)
    holding_instead(
        job, LIAR, lambda held: {**held, "site-1": Holding(None, bytes(32)), "site-3": Holding(None, bytes(32))}
    )
    assert job.round(1).named == (LIAR,)
    assert sums_right(job)


@pytest.mark.threat("T-38")
def test_a_dealer_whose_shares_do_not_fit_together_is_named_and_ends_the_job(monkeypatch):
    honest = shamir.share

    def misfits(secret, threshold, indices):
        first, second = honest(secret, threshold, indices), honest(secret, threshold, indices)
        return {index: (first if index % 2 else second)[index] for index in indices}

    job = Simulation.of("secagg", 4)
    dealing_at_conclude(monkeypatch, job.sites[LIAR], misfits)
    job.set_up()
    with pytest.raises(FederationError, match="no secret of site-2; the job ends here; site-2 is to blame"):
        job.round(1)


@pytest.mark.threat("T-38")
@pytest.mark.parametrize("case", ["all", "one, which complains", "one, which gives it back"])
def test_what_is_no_share_counts_as_none_though_it_was_committed_to(monkeypatch, case):
    honest = shamir.share

    def no_shares(secret, threshold, indices):
        shares = honest(secret, threshold, indices)
        return {**shares, 1: b"\xff" * 32} if case != "all" else dict.fromkeys(indices, b"\xff" * 32)

    job = Simulation.of("secagg", 5)
    dealing_at_conclude(monkeypatch, job.sites[LIAR], no_shares)
    job.set_up()
    if case == "one, which gives it back":
        holding_instead(job, "site-1", lambda held: {**held, LIAR: Holding((b"\xff" * 32, b"\xff" * 32))})
    if case != "all":
        assert job.round(1).named == (LIAR,)
        assert sums_right(job)
    else:
        with pytest.raises(FederationError, match=r"good shares of site-2; the job ends here; site-2 is to blame"):
            job.round(1)


def dealing_at_conclude(patch, side, share):
    """Have one site share in another way at the end of the set-up."""
    honest = side._conclude

    def conclude(contributors, body):
        with patch.context() as now:
            now.setattr(dealing.shamir, "share", share)
            return honest(contributors, body)

    side._conclude = conclude


@pytest.mark.threat("T-38")
@pytest.mark.parametrize("secret", list(Secret))
def test_shares_are_committed_by_dealer_receiver_round_and_secret(secret):
    job = running(4)
    session = job.server._session
    share = bytes(32)
    cases = {
        reveal.commit_to_share(session, number, dealer, receiver, kind, share)
        for number in (1, 2)
        for dealer in ("site-1", "site-2")
        for receiver in ("site-1", "site-3")
        for kind in Secret
    }
    assert len(cases) == 16
    assert reveal.commit_to_share(session, 1, "site-1", "site-3", secret, share) in cases


@pytest.mark.threat("T-38")
def test_a_contribution_that_is_not_signed_is_left_out_and_named():
    job = running(5)
    job.heard = lambda q, site, said: spoilt(said) if (q.task, site) == ("train", "site-3") else said
    total = job.round(1)
    assert total.contributors == ("site-1", "site-2", "site-4", "site-5")
    assert total.named == ("site-3",)
    assert sums_right(job)


@pytest.mark.threat("T-38")
def test_a_contribution_from_outside_the_ring_is_not_counted():
    job = running(5)
    job.server._offers.pop(LIAR)
    honest_ask = job.ask

    def ask(site, question):
        if (site, question.task) != (LIAR, "train"):
            return honest_ask(site, question)
        with suppress(OutsideTheRing):
            honest_ask(site, question)
        agreed, session = job.sites[LIAR]._job
        ring = job.sites[LIAR]._state.ring
        header = contribution_header(session.terms)
        words = bytes(header.payload_bytes - 64)
        commitment = sha256(words).digest()
        stated = session.stated(CONTRIBUTION_LABEL, 1, LIAR, ring.digest, commitment)
        return header.encode() + words + agreed.keys.sign(stated)

    job.ask = ask
    assert job.round(1).contributors == ("site-1", "site-3", "site-4", "site-5")
    assert sums_right(job)
