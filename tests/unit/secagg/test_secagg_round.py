"""Whole rounds: masks cancel for every way of dropping out, and nothing opens below the threshold."""

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulator import Simulation, key_pem, losing, names_of, pem, roster_of, running, terms_of

from almoner.errors import FederationError, ProtocolError
from almoner.protection.message import HEADER_BYTES
from almoner.protection.set_up import JobTerms
from almoner.secagg import merkle, shamir
from almoner.secagg import offers as offers_module
from almoner.secagg.blocks import BLOCK_VALUES
from almoner.secagg.contribution import make_roll, read_contribution
from almoner.secagg.offers import make_ring, read_offer
from almoner.secagg.reveal import judge, read_reveal, reveal_bytes
from almoner.secagg.server import SecaggServer
from almoner.secagg.site import SecaggSite
from almoner.secagg.unmasking import _is_offered, masks_left

STAGES = ("stays", "train lost", "contribution lost", "acknowledgement lost", "reveal lost")


def dropping(job: Simulation, number: int, stages: dict[str, str]) -> None:
    """Have sites drop out of a round at the stages that are named."""

    def shown(question, site):
        lost = {"train lost": "train", "acknowledgement lost": "acknowledge", "reveal lost": "reveal"}
        return None if question.number == number and question.task == lost.get(stages[site]) else question

    def heard(question, site, said):
        gone = question.number == number and question.task == "train" and stages[site] == "contribution lost"
        return None if gone else said

    job.shown, job.heard = shown, heard


@given(st.lists(st.sampled_from(STAGES), min_size=6, max_size=6), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_masks_cancel_for_every_way_of_dropping_out_and_nothing_opens_below_the_threshold(drawn, seed):
    job = running(6)
    stages = dict(zip(job.sites, drawn, strict=True))
    dropping(job, 1, stages)
    job.order = random.Random(seed)
    contributors = tuple(site for site in job.sites if stages[site] not in ("train lost", "contribution lost"))
    able = [site for site in job.sites if stages[site] not in ("train lost", "acknowledgement lost")]
    revealing = [site for site in able if stages[site] != "reveal lost"]
    if min(len(contributors), len(able), len(revealing)) >= 4:
        total = job.round(1)
        assert total.contributors == contributors
        assert total.named == ()
        opened = job.open_all(1)
        assert sorted(opened) == sorted(able)
        assert all(np.array_equal(sums, job.sum_of(1, contributors)) for sums in opened.values())
    else:
        with pytest.raises(FederationError, match=r"of (at least )?4 sites"):
            job.round(1)
        assert no_secret_comes_of_what_the_server_heard(job)


def no_secret_comes_of_what_the_server_heard(job: Simulation) -> bool:
    """Combine whatever shares the server got; tell that none gives a secret of the round."""
    session, heard = job.server._session, dict(zip([q.task for q in job.questions], job.answers, strict=True))
    if "reveal" not in heard:
        return True
    found = {site: read_offer(said, session, 1, site) for site, said in heard["conclude"].items()}
    ring = make_ring(session, 1, found)
    entries = {s: read_contribution(said, session, ring, s).entry for s, said in heard["train"].items()}
    roll, cut = make_roll(session, ring, entries), reveal_bytes(6)
    reveals = {s: read_reveal(said[:cut], session, ring, roll, s) for s, said in heard["reveal"].items()}
    judgement = judge(session, ring, roll, reveals)
    with pytest.raises(FederationError, match="of 4 good shares"):
        masks_left(session, ring, roll, judgement)
    combined = [
        (dealer, secret, shamir.combine(shares))
        for dealer, shares in judgement.shares.items()
        if shares
        for secret in offers_module.Secret
    ]
    return not any(_is_offered(session, ring, dealer, secret, value) for dealer, secret, value in combined)


@given(st.data())
@settings(max_examples=5, deadline=None)
def test_rounds_go_on_after_losses_and_who_missed_a_reveal_comes_back(data):
    job = running(6)
    job.repeat = True
    lost_reveals: set[str] = set()
    for number in range(1, 6):
        loser = data.draw(st.sampled_from([None, *job.sites]))
        job.shown = losing((number, "reveal", loser)) if loser else losing()
        total = job.round(number)
        assert total.contributors == tuple(site for site in job.sites if site not in lost_reveals)
        assert all(np.array_equal(s, job.sum_of(number, total.contributors)) for s in job.open_all(number).values())
        lost_reveals = {loser} if loser else set()
    assert not job.errors


@pytest.mark.parametrize(("num_sites", "colluding"), [(3, 1), (4, 1), (5, 1), (5, 2), (10, 3)])
def test_the_sum_is_exact_for_small_and_larger_consortia(num_sites, colluding):
    job = running(num_sites, colluding=colluding, dimension=10)
    job.round(1)
    opened = job.open_all(1)
    assert len(opened) == num_sites
    assert all(np.array_equal(sums, job.sum_of(1, tuple(job.sites))) for sums in opened.values())


@pytest.mark.slow
def test_fifty_sites_with_the_most_dropouts():
    job = running(50, colluding=11, dimension=10)
    gone = set(list(job.sites)[:19])
    job.heard = lambda question, site, said: None if question.task == "train" and site in gone else said
    total = job.round(1)
    assert len(total.contributors) == 31
    assert np.array_equal(job.open_all(1)["site-50"], job.sum_of(1, total.contributors))
    assert job.questions[-1].answer_bytes["site-50"] < 10_000


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 49_151, 49_152, 49_153, 100_001])
def test_any_dimension(dimension):
    job = running(4, dimension=dimension)
    job.round(1)
    assert np.array_equal(job.open_all(1)["site-1"], job.sum_of(1, tuple(job.sites)))


def test_min_sites_above_the_threshold_counts_for_ring_and_contributors():
    job = running(5, min_sites=5)
    job.heard = lambda question, site, said: None if (question.task, site) == ("train", "site-3") else said
    with pytest.raises(FederationError, match="4 of 5 sites"):
        job.round(1)


def test_a_site_that_misses_train_is_out_and_the_others_go_on():
    job = running(5)
    job.shown = losing((1, "train", "site-5"))
    job.round(1)
    assert set(job.open_all(1)) == {"site-1", "site-2", "site-3", "site-4"}
    job.round(2)
    assert "leaves the job" in str(job.errors["site-5"])


def test_values_saturate_and_are_not_modified_and_may_be_int32():
    job = running(4)
    big = np.array([2**40, -(2**40), 32_768, -32_768, 5, 2**62, -(2**63)])
    big.flags.writeable = False
    small = np.array([2**31 - 1, -(2**31), 32_768, -32_768, 5, 0, 0], dtype=np.int32)
    job.values = lambda number, site: {"site-1": big, "site-2": small}.get(site, np.zeros(7, dtype=np.int64))
    job.round(1)
    limit = 32_767
    wanted = [2 * limit, -2 * limit, 2 * limit, -2 * limit, 10, limit, -limit]
    assert job.open_all(1)["site-3"].tolist() == wanted


@pytest.mark.parametrize(
    "values",
    [np.zeros(7), np.zeros(7, dtype=np.int16), np.zeros(8, dtype=np.int64), np.zeros((1, 7), dtype=np.int64), [0] * 7],
)
def test_other_types_and_shapes_are_refused_before_any_secret_is_spent(values):
    job = running(4)
    ring = tuple(job.sites)
    body = b"".join(offer.encode() for offer in job.server._offers.values())
    job.sites["site-1"].begin(1, ring, body)
    with pytest.raises(ProtocolError, match="protect: the values"):
        job.sites["site-1"].protect(1, values)


def test_lengths_depend_on_the_job_alone_and_are_those_announced():
    job = running(5)
    job.round(1)
    for question, answers in zip(job.questions, job.answers, strict=True):
        for site, said in answers.items():
            assert len(said) == question.answer_bytes[site]
            if question.task not in ("keys", "confirm", "agree"):
                assert len(said) == job.sites[site].answer_bytes(question.task)
    train = next(question for question in job.questions if question.task == "train")
    assert len(train.body) == job.sites["site-1"].announcement_bytes(tuple(job.sites))
    assert len(job.totals[1].body) == job.sites["site-1"].total_bytes(tuple(job.sites))


def test_an_upload_is_at_most_seven_tenths_of_float32():
    terms = terms_of("secagg", names_of(10), dimension=1_000_000)
    site = SecaggSite(terms, roster_of(names_of(10)), pem("root"), "site-1", key_pem("site-1"))
    assert site.answer_bytes("train") == HEADER_BYTES + 8 * 333_334 + 8 + 64
    assert site.answer_bytes("train") / 4e6 < 0.67


def test_two_sites_or_terms_of_another_scheme_are_refused():
    with pytest.raises(ProtocolError, match="2 sites"):
        terms_of("secagg", names_of(2), min_sites=2)
    terms = terms_of("he", names_of(4))
    with pytest.raises(ProtocolError, match="scheme he"):
        SecaggSite(terms, roster_of(names_of(4)), pem("root"), "site-1", key_pem("site-1"))


def test_the_server_needs_the_set_up_first():
    terms: JobTerms = terms_of("secagg", names_of(4))
    with pytest.raises(ProtocolError, match="set_up first"):
        next(SecaggServer(terms, roster_of(names_of(4))).round(1, names_of(4)))


def test_the_root_lets_anyone_check_that_a_contribution_was_counted():
    job = running(4)
    total = job.round(1)
    roll = next(question for question in job.questions if question.task == "acknowledge").body
    entries = [roll[start : start + 96] for start in range(0, len(roll), 96)]
    proof = merkle.inclusion_proof(entries, 2)
    merkle.verify_inclusion(entries[2], 2, 4, proof, bytes.fromhex(total.commitments_root))


@pytest.mark.parametrize("side", ["site", "server", "opening"])
def test_no_side_holds_a_second_copy_of_an_update(side):
    """d = 2 million: an update is 16 MB, its message 5.4 MB; what each step needs beyond its input is bounded."""
    job = Simulation.of("secagg", 3, dimension=2_000_000)
    job.set_up()
    values = {site: job.values(1, site) for site in job.sites}
    job.values = lambda number, site: values[site]
    update = values["site-1"].nbytes
    peaks = {}

    def measured(name, act):
        def call(*arguments):
            tracemalloc.start()
            try:
                return act(*arguments)
            finally:
                peaks[name] = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()

        return call

    site = job.sites["site-1"]
    site.protect = measured("site", site.protect)
    site.open = measured("opening", site.open)
    answers_of = job.server._have_revealed

    def reveals(*arguments):
        found = yield from answers_of(*arguments)
        tracemalloc.start()
        return found

    job.server._have_revealed = reveals
    job.round(1)
    peaks["server"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    job.open_all(1)
    most = {"site": 0.5 * update, "server": 0.5 * update, "opening": 1.2 * update}
    assert peaks[side] < most[side]


@pytest.mark.parametrize("bits", [10, 6])
def test_narrow_values_go_through_a_round_with_a_site_missing(bits):
    limit, dimension = 2 ** (bits - 1) - 1, BLOCK_VALUES + 5
    job = running(5, limit=limit, dimension=dimension)
    dropping(job, 1, dict.fromkeys(job.sites, "stays") | {"site-2": "contribution lost"})
    contributors = job.round(1).contributors
    assert contributors == ("site-1", "site-3", "site-4", "site-5")
    sent = [np.clip(job.values(1, site), -limit, limit) for site in contributors]
    assert np.array_equal(job.open_all(1)["site-2"], np.sum(sent, axis=0))
