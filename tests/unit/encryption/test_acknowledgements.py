"""All honest sites open the same total of a round: attacks with the check out, then in; states; threads."""

from contextlib import nullcontext
from hashlib import sha256
from threading import Event, Thread

import numpy as np
import pytest
from tests.contract.federation import Federation
from tests.unit.encryption.bfv_cases import JOB_KEYS, acknowledged, he_terms, open_total, rounds, send, total_of
from tests.unit.protection.protection_cases import SITES, key_pem, root_pem, roster

from almoner.encryption import bfv_rounds
from almoner.encryption.bfv_server import BfvServer
from almoner.encryption.bfv_site import BfvSite
from almoner.errors import FederationError, ProtocolError

D = 7
VALUES = {site: np.random.default_rng(place).integers(-30_000, 30_001, D) for place, site in enumerate(SITES)}
SENT = send(VALUES)
FEW = "sites acknowledged it, at least 4 must"


def total(sites=SITES):
    return total_of(D, sites, [SENT[site] for site in sites])


def sender(site="ada", **changes):
    made = rounds(site, D, **changes)
    made.protect(1, VALUES[site])
    return made


# Another U for each site


def without(site):
    return tuple(other for other in SITES if other != site)


def open_for_each(sites):
    """Each site acknowledges and opens the sum without another one of them; nobody signs twice."""
    sums = {}
    for site, left_out in zip(sites, SITES[1:] + SITES[:1], strict=True):
        claimed = without(left_out)
        sums[claimed] = sites[site].open(1, claimed, acknowledged(1, claimed, total(claimed), (site,)))
    return sums


@pytest.mark.threat("T-12", "T-37")
def test_another_sum_for_each_site_gives_every_single_update_without_the_check(monkeypatch):
    """The server holds no key: the models that five sites give are five equations in five updates."""
    monkeypatch.setattr(bfv_rounds, "check_acknowledged", lambda *_: None)
    sites = {site: sender(site) for site in SITES}
    for site, left_out in zip(SITES, SITES[1:] + SITES[:1], strict=True):
        sites[site].acknowledge(1, without(left_out), sha256(total(without(left_out))).digest())
    sums = open_for_each(sites)
    start, step = 0.25, 2.0**-10
    models = [start - step * opened / len(claimed) for claimed, opened in sums.items()]
    equations = np.array([[float(site in claimed) for site in SITES] for claimed in sums])
    right = [(start - model) / step * len(claimed) for model, claimed in zip(models, sums, strict=True)]
    solved = np.rint(np.linalg.solve(equations, np.array(right)))
    assert all(np.array_equal(solved[place], VALUES[site]) for place, site in enumerate(SITES))


@pytest.mark.threat("T-12", "T-37")
def test_another_sum_for_each_site_opens_nowhere():
    for site, left_out in zip(SITES, SITES[1:] + SITES[:1], strict=True):
        claimed, held = without(left_out), sender(site)
        held.acknowledge(1, claimed, sha256(total(claimed)).digest())
        with pytest.raises(ProtocolError, match=f"total of round 1: 1 {FEW}"):
            held.open(1, claimed, acknowledged(1, claimed, total(claimed), (site,)))


@pytest.mark.threat("T-37")
@pytest.mark.parametrize("first", range(5))
def test_of_two_totals_at_most_one_opens_even_if_a_site_signs_both(first):
    """n = 5, c = 1, t = 4: eve signs both, of the others some sign one and some the other."""
    sides = {SITES: SITES[:first], without("bob"): SITES[first:4]}
    opened = [claimed for claimed, honest in sides.items() if honest and opens(honest[0], claimed, {*honest, "eve"})]
    assert opened == {0: [without("bob")], 1: [without("bob")], 2: [], 3: [SITES], 4: [SITES]}[first]


def opens(name, claimed, signers):
    """Return whether a site opens a total that it and others signed."""
    site = sender(name)
    site.acknowledge(1, claimed, sha256(total(claimed)).digest())
    try:
        site.open(1, claimed, acknowledged(1, claimed, total(claimed), signers))
    except ProtocolError:
        return False
    return True


@pytest.mark.threat("T-37")
def test_a_site_opens_what_it_acknowledged_and_no_other():
    claimed, good = without("bob"), acknowledged(1, SITES, total())
    other = total_of(D, SITES, list(send(VALUES).values()))
    site = sender()
    site.acknowledge(1, SITES, sha256(total()).digest())
    with pytest.raises(ProtocolError, match="did not acknowledge one over these sites"):
        site.open(1, claimed, acknowledged(1, claimed, total(claimed)))
    with pytest.raises(ProtocolError, match="not the one that this site acknowledged"):
        site.open(1, SITES, other + good[len(other) :])
    with pytest.raises(ProtocolError, match="did not acknowledge one over these sites"):
        sender().open(1, SITES, good)


@pytest.mark.threat("T-37")
def test_signatures_that_do_not_count():
    good = acknowledged(1, SITES, total(), SITES[:3])
    slots = len(good) - 64 * len(SITES)
    for fourth in (
        good[slots : slots + 64],
        acknowledged(2, SITES, total())[-128:-64],
        acknowledged(1, without("eve"), total())[-128:-64],
        acknowledged(1, SITES, total(without("eve")))[-128:-64],
        JOB_KEYS["dan"].sign(bytes(32)),
        bytes(64),
        b"\xff" * 64,
    ):
        site = sender()
        site.acknowledge(1, SITES, sha256(total()).digest())
        with pytest.raises(ProtocolError, match=f"3 {FEW}"):
            site.open(1, SITES, good[:-128] + fourth + bytes(64))
    assert np.array_equal(open_total(sender(), 1, SITES, total()), sum(VALUES.values()))


@pytest.mark.threat("T-37")
@pytest.mark.parametrize("changes", [{"min_sites": 5}, {"members": SITES[:4]}])
def test_signatures_of_members_alone_count_and_min_sites_of_them_are_needed(changes):
    claimed = without("eve") if "members" in changes else SITES
    signers = SITES[1:] if "members" in changes else SITES[:4]
    site = sender(**changes)
    site.acknowledge(1, claimed, sha256(total(claimed)).digest())
    with pytest.raises(ProtocolError, match="sites acknowledged it, at least"):
        site.open(1, claimed, acknowledged(1, claimed, total(claimed), signers))


# One acknowledgement a round, in the order of the rounds


def test_the_same_question_again_has_the_same_answer_and_another_one_none():
    site, digest = sender(), sha256(total()).digest()
    said = site.acknowledge(1, SITES, digest)
    assert site.acknowledge(1, SITES, digest) == said
    for other in ((1, SITES, bytes(32)), (1, without("bob"), digest), (2, SITES, digest)):
        with pytest.raises(ProtocolError, match="another total was acknowledged"):
            site.acknowledge(*other)
    site.open(1, SITES, acknowledged(1, SITES, total()))
    assert site.acknowledge(1, SITES, digest) == said


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ((1, SITES, bytes(31)), "a digest of 31 bytes"),
        ((0, SITES, bytes(32)), "was not begun"),
        ((2, SITES, bytes(32)), "was not begun"),
        ((1, SITES[:2], bytes(32)), "2 sites, at least 3"),
        ((1, SITES[::-1], bytes(32)), "not sites of the job in its order"),
        ((1, SITES, bytes(32)), "ada is named as a contributor and has sent nothing"),
    ],
)
def test_claims_that_are_not_acknowledged(question, text):
    with pytest.raises(ProtocolError, match=text):
        rounds("ada", D).acknowledge(*question)


def test_a_site_that_sent_nothing_acknowledges_the_others_and_sends_nothing_after_that():
    site, claimed = rounds("ada", D), without("ada")
    site.acknowledge(1, claimed, sha256(total(claimed)).digest())
    with pytest.raises(ProtocolError, match="acknowledged already"):
        site.protect(1, VALUES["ada"])
    opened = site.open(1, claimed, acknowledged(1, claimed, total(claimed)))
    assert np.array_equal(opened, sum(VALUES[other] for other in claimed))


@pytest.mark.threat("T-37")
def test_no_round_is_left_out():
    """Sites that skip other rounds would hold other models."""
    site = sender()
    for number in (0, 2, 3):
        with pytest.raises(ProtocolError, match="in order, each once"):
            site.begin(number)
    open_total(site, 1, SITES, total())
    with pytest.raises(ProtocolError, match="in order, each once"):
        site.begin(3)
    site.begin(2)
    site.begin(2)


# The server; threads


def site_of(name):
    return BfvSite(he_terms(D), roster(), root_pem(), name, key_pem(name))


class Forger(Federation):
    """Some sites sign something else."""

    forgers: tuple[str, ...] = ("dan",)

    def ask(self, site, question):
        said = super().ask(site, question)
        return bytes(64) if question.task == "acknowledge" and site in self.forgers else said


def test_a_bad_acknowledgement_is_left_out_and_its_site_named(caplog):
    held = Forger(BfvServer(he_terms(D), roster()), {site: site_of(site) for site in SITES})
    found = held.round(VALUES)
    assert (found.contributors, found.named) == (SITES, ("dan",))
    assert "round 1: acknowledgement of dan: the signature does not verify" in caplog.text
    for site in held.sites.values():
        assert np.array_equal(site.open(1, SITES, found.body), sum(VALUES.values()))


def test_too_few_acknowledgements_end_the_job_with_one_line():
    held = Forger(BfvServer(he_terms(D), roster()), {site: site_of(site) for site in SITES})
    held.forgers = ("dan", "eve")
    with pytest.raises(FederationError, match="round 1, acknowledge: 3 of at least 4 sites") as caught:
        held.round(VALUES)
    assert "\n" not in str(caught.value)


class WatchedLock:
    """A site's lock that says when somebody has to wait for it."""

    def __init__(self, lock, waits):
        self._lock, self._waits = lock, waits

    def __enter__(self):
        if not self._lock.acquire(blocking=False):
            self._waits.set()
            self._lock.acquire()

    def __exit__(self, *error):
        self._lock.release()


def sent_by_two_threads(monkeypatch, lock):
    """Return what a site sends if other values come while it encrypts."""
    federation = Federation(BfvServer(he_terms(D), roster()), {site: site_of(site) for site in SITES})
    site, inside, moved, sent = federation.sites["ada"], Event(), Event(), []
    site._lock = WatchedLock(site._lock, moved) if lock else nullcontext()
    encrypt = bfv_rounds._encrypt

    def slow(*args):
        if not inside.is_set():
            inside.set()
            assert moved.wait(60)
        return encrypt(*args)

    def send_values(values):
        try:
            sent.append(site.protect(1, values))
        except ProtocolError as error:
            sent.append(error)
        if inside.is_set():
            moved.set()

    monkeypatch.setattr(bfv_rounds, "_encrypt", slow)
    site.begin(1, (), b"")
    first = Thread(target=send_values, args=(VALUES["ada"],))
    first.start()
    assert inside.wait(60)
    send_values(VALUES["bob"])
    first.join(60)
    return sent


@pytest.mark.threat("T-36")
def test_two_threads_send_two_vectors_in_a_round_without_the_lock(monkeypatch):
    assert [type(said) for said in sent_by_two_threads(monkeypatch, lock=False)] == [bytes, bytes]


@pytest.mark.threat("T-36")
def test_two_threads_send_one_vector_in_a_round(monkeypatch):
    sent = sent_by_two_threads(monkeypatch, lock=True)
    (refused,) = (said for said in sent if not isinstance(said, bytes))  # either thread may get to note its own first
    assert len(sent) == 2
    assert "other values were sent in it already" in str(refused)
