"""A server that lies to sites which hold the key: each attack is seen to work with the checks out, then to fail.

"Out" means that `_verify` accepts everything, or that pads are zero; the rest is the code that runs.
"""

import gc
import weakref

import numpy as np
import pytest
import tenseal.sealapi as seal
from tests.unit.encryption.bfv_cases import (
    KEY,
    acknowledged,
    agreed,
    expand,
    open_total,
    rounds,
    send,
    total_from,
    total_of,
)
from tests.unit.protection.protection_cases import SITES

from almoner.encryption import bfv_rounds
from almoner.encryption.bfv_cipher import add_modulo, scale_up
from almoner.encryption.bfv_messages import SEED_BYTES
from almoner.encryption.bfv_parameters import COEFF_MODULUS as Q
from almoner.encryption.bfv_parameters import PLAIN_MODULUS as T
from almoner.encryption.bfv_parameters import context
from almoner.encryption.bfv_rounds import NOT_THE_SUM
from almoner.encryption.packing import FIELD_BITS, SLOTS
from almoner.encryption.seal_files import Workspace
from almoner.encryption.seal_frames import frames
from almoner.errors import ProtocolError
from almoner.protection.scheme import VALUE_BOUND

D = 2 * SLOTS
"""The values fill the first chunk; count and tags are in the second."""

VALUES = {site: np.random.default_rng(place).integers(-30_000, 30_001, D) for place, site in enumerate(SITES)}
SENT = send(VALUES)
SUM = sum(VALUES.values())


@pytest.fixture
def unchecked(monkeypatch):
    monkeypatch.setattr(bfv_rounds, "_verify", lambda sound, received, expected: None)


def reader(site="ada", number=1, **changes):
    """Return a site that has sent its values in a round."""
    site_rounds = rounds(site, D, number, **changes)
    site_rounds.protect(number, VALUES[site])
    return site_rounds


def honest_total():
    return total_of(D, SITES, list(SENT.values()))


def refused(contributors, total, number=1, text=NOT_THE_SUM, **changes):
    """The server shows all sites the same wrong total, and they acknowledge it."""
    with pytest.raises(ProtocolError) as caught:
        open_total(reader(number=number, **changes), number, contributors, total)
    assert text in str(caught.value)


def test_the_honest_total_opens_and_opens_again():
    site = reader()
    for _ in range(2):
        assert np.array_equal(open_total(site, 1, SITES, honest_total()), SUM)


@pytest.mark.parametrize("values", [VALUES["ada"], VALUES["bob"]])
def test_nothing_is_sent_in_a_round_that_is_over(values):
    site = reader()
    open_total(site, 1, SITES, honest_total())
    with pytest.raises(ProtocolError, match="is over"):
        site.protect(1, values)


# What the server is sent


def read_without_the_key(part):
    """Return the entries that a message would hold if it were not encrypted."""
    slots = np.array([(2 * T * int(value) + Q) // (2 * Q) % T for value in part.first[0]])
    return (slots & (2**FIELD_BITS - 1)) - VALUE_BOUND


@pytest.mark.threat("T-12")
def test_a_message_reads_as_nothing_without_the_key():
    """Of 4,096 entries 2^-22 each fit by chance: false alarm below 1e-5 at two."""
    for site, part in SENT.items():
        assert np.count_nonzero(read_without_the_key(part) == VALUES[site][:SLOTS]) < 2


# One site's values as "the sum"


def thrice_ada():
    """Three times Ada's ciphertext, tags and all, as the sum of three sites."""
    return total_of(D, SITES[:3], [SENT["ada"]] * 3)


@pytest.mark.threat("T-12", "T-37")
def test_one_sites_ciphertext_three_times_without_the_checks(unchecked):
    assert np.array_equal(open_total(reader("bob"), 1, SITES[:3], thrice_ada()), 3 * VALUES["ada"])


@pytest.mark.threat("T-12", "T-37")
def test_one_sites_ciphertext_three_times_without_pads(monkeypatch):
    """Count, fields and tags all fit: it takes the pads to see it."""
    monkeypatch.setattr(bfv_rounds, "pads", lambda *_: np.zeros(2, dtype=np.int64))
    sent = send({"ada": VALUES["ada"]})["ada"]
    opened = open_total(reader("bob"), 1, SITES[:3], total_of(D, SITES[:3], [sent] * 3))
    assert np.array_equal(opened, 3 * VALUES["ada"])


@pytest.mark.threat("T-12", "T-37")
def test_one_sites_ciphertext_three_times_is_refused():
    refused(SITES[:3], thrice_ada())


@pytest.mark.threat("T-12", "T-37")
def test_a_single_ciphertext_as_the_sum(unchecked, monkeypatch):
    alone = total_of(D, ("ada",), [SENT["ada"]])
    refused(("ada",), alone, text="1 sites, at least 3 are needed")
    monkeypatch.setattr(bfv_rounds, "least_contributors", lambda terms: 1)
    assert np.array_equal(open_total(reader("bob"), 1, ("ada",), alone), VALUES["ada"])


# Sum and tag scaled together; an earlier total; another n; another U


@pytest.mark.threat("T-37")
def test_sum_and_tag_scaled_together(unchecked):
    doubled = total_of(D, SITES[:4], [SENT["ada"], SENT["ada"], SENT["bob"], SENT["bob"]])
    assert np.array_equal(open_total(reader(), 1, SITES[:4], doubled), 2 * (VALUES["ada"] + VALUES["bob"]))


@pytest.mark.threat("T-37")
def test_sum_and_tag_scaled_together_are_refused():
    refused(SITES[:4], total_of(D, SITES[:4], [SENT["ada"], SENT["ada"], SENT["bob"], SENT["bob"]]))


@pytest.mark.threat("T-37")
def test_an_earlier_total_without_the_checks(unchecked):
    assert np.array_equal(open_total(reader(number=2), 2, SITES, honest_total()), SUM)


@pytest.mark.threat("T-37")
def test_an_earlier_total_is_refused_as_the_later_one_and_as_itself():
    refused(SITES, honest_total(), number=2)
    site = reader(number=2)
    with pytest.raises(ProtocolError, match="another total was acknowledged, or the round was not begun"):
        site.acknowledge(1, SITES, bytes(32))
    with pytest.raises(ProtocolError, match="did not acknowledge one over these sites"):
        reader(number=2).open(1, SITES, acknowledged(1, SITES, honest_total()))


MISSTATED = [
    pytest.param(("ada", "bob", "cyd", "eve"), ("ada", "bob", "cyd", "dan"), id="one under another's name"),
    pytest.param(SITES, ("ada", "bob", "cyd", "dan", "dan"), id="five named, one is out and another in twice"),
    pytest.param(SITES[:3], ("cyd", "dan", "eve"), id="all under other names"),
]


@pytest.mark.threat("T-37")
@pytest.mark.parametrize(("claimed", "inside"), MISSTATED)
def test_a_misstated_list_of_sites_without_the_checks(claimed, inside, unchecked):
    opened = open_total(reader(), 1, claimed, total_of(D, claimed, [SENT[site] for site in inside]))
    assert np.array_equal(opened, sum(VALUES[site] for site in inside))


@pytest.mark.threat("T-37")
@pytest.mark.parametrize(("claimed", "inside"), MISSTATED)
def test_a_misstated_list_of_sites_is_refused(claimed, inside):
    refused(claimed, total_of(D, claimed, [SENT[site] for site in inside]))


@pytest.mark.threat("T-37")
def test_another_count_in_the_header_is_named():
    with pytest.raises(ProtocolError, match="number of addends is 5, expected 4"):
        open_total(reader(), 1, SITES[:4], honest_total())


@pytest.mark.threat("T-37")
@pytest.mark.parametrize(
    ("contributors", "changes"),
    [
        (SITES[:2], {}),
        (SITES[:3], {"num_colluding_sites": 2}),
        (SITES[:3], {"min_sites": 4}),
        ((), {}),
        (("ada", "bob", "mal"), {}),
        (("bob", "ada", "cyd"), {}),
        (("ada", "ada", "bob", "cyd"), {}),
        (SITES, {"members": SITES[:4]}),
    ],
)
def test_lists_of_sites_that_are_refused(contributors, changes):
    known = tuple(site for site in contributors if site in SITES)
    total = total_of(D, known, [SENT[site] for site in known]) if known else honest_total()
    refused(contributors, total, text="round 1: contributors: ", **changes)


@pytest.mark.threat("T-37")
@pytest.mark.parametrize("slot", [0, SLOTS - 1, SLOTS, SLOTS + 1, SLOTS + 2, SLOTS + 3, 2 * SLOTS - 1])
@pytest.mark.parametrize("by", [1, T - 1, 1 << FIELD_BITS])
def test_a_change_of_any_slot_is_refused(slot, by):
    change = np.zeros(2 * SLOTS, dtype=np.int64)
    change[slot] = by
    first = scale_up(change).reshape(2, SLOTS)
    for part in SENT.values():
        add_modulo(first, part.first.astype(np.uint64))
    refused(SITES, total_from(D, SITES, first, [bytes(part.seeds[0]) for part in SENT.values()]))


@pytest.mark.threat("T-37")
def test_a_changed_value_without_the_checks(unchecked):
    first = scale_up(np.eye(1, 2 * SLOTS, dtype=np.int64)[0]).reshape(2, SLOTS)
    for part in SENT.values():
        add_modulo(first, part.first.astype(np.uint64))
    opened = open_total(
        reader(), 1, SITES, total_from(D, SITES, first, [bytes(part.seeds[0]) for part in SENT.values()])
    )
    assert (opened - SUM).nonzero()[0].tolist() == [0]


# The key


@pytest.mark.threat("T-13")
@pytest.mark.parametrize("factor", [1, 3])
def test_who_may_choose_c1_reads_the_key_from_an_open_decryptor(factor):
    """Why a total carries seeds: (0, kΔ) decrypts to k times the key itself."""
    delta = (factor * (Q // T)).to_bytes(8, "little") + bytes(8 * (SLOTS - 1))
    with Workspace() as work:
        secret, plain = KEY.load(work), seal.Plaintext()
        cipher = work.load(seal.Ciphertext(), frames().total.wrap(bytes(8 * SLOTS) + delta), "forged")
        seal.Decryptor(context(), secret).decrypt(cipher, plain)
    key = [(plain.data(place) * pow(factor, -1, T)) % T for place in range(plain.coeff_count())]
    assert set(key) == {0, 1, T - 1}
    assert reads_with([{T - 1: -1}.get(coefficient, coefficient) for coefficient in key] + [0] * (SLOTS - len(key)))


@pytest.mark.threat("T-13")
def test_no_total_can_carry_a_c1_of_the_servers_choice():
    total = honest_total()
    with pytest.raises(ProtocolError, match=r"total of round 1: .* it is cut or padded"):
        open_total(reader(), 1, SITES, total + bytes(2 * 8 * SLOTS))


@pytest.mark.threat("T-13")
def test_shifted_totals_give_the_key_without_the_checks(unchecked):
    """c1 = a is known, though not chosen: eighteen shifts of c0 find a·s by bisection, and so s."""
    site = rounds("eve", D)
    seeds = [bytes(SENT[name].seeds[0]) for name in SITES[:3]]
    known = np.zeros(SLOTS, dtype=np.uint64)
    for seed in seeds:
        add_modulo(known, expand(seed[:SEED_BYTES]))
    product = bisect(site, seeds)
    assert reads_with(divide(product, known.tolist()))


def ask(site, number, seeds, shift):
    """Return what the site's sum says about (c0 + a·s) t/q, for a c0 of the server's choice."""
    first = np.zeros((2, SLOTS), dtype=np.uint64)
    first[0] = np.array([value % Q for value in shift], dtype=np.uint64)
    site.begin(number)
    opened = open_total(site, number, SITES[:3], total_from(D, SITES[:3], first, seeds)) + 3 * VALUE_BOUND
    return (opened[:SLOTS] + (opened[SLOTS:] << FIELD_BITS)).tolist()


def bisect(site, seeds):
    """Return a·s, exactly."""
    near = ask(site, 1, seeds, [0] * SLOTS)
    low = [(2 * value - 1) * Q // (2 * T) - 1 for value in near]
    high = [(2 * value + 1) * Q // (2 * T) + 1 for value in near]
    half = -(-Q // (2 * T))
    for number in range(2, 20):
        middle = [(bottom + top) // 2 for bottom, top in zip(low, high, strict=True)]
        above = ask(site, number, seeds, [half - value for value in middle])
        low = [m if up else b for m, up, b in zip(middle, above, low, strict=True)]
        high = [t if up else m for m, up, t in zip(middle, above, high, strict=True)]
    return low


def divide(product, known):
    """Return s with a·s = product in the ring, by number-theoretic transforms in Python's integers."""
    root = next(found for base in range(2, 99) if pow(found := pow(base, (Q - 1) // (2 * SLOTS), Q), SLOTS, Q) == Q - 1)
    twist = [pow(root, power, Q) for power in range(SLOTS)]
    left, right = (
        transform([c * w % Q for c, w in zip(row, twist, strict=True)], root**2 % Q) for row in (product, known)
    )
    ratio = [a * pow(b, -1, Q) % Q for a, b in zip(left, right, strict=True)]
    back = transform(ratio, pow(root, -2, Q))
    scale = pow(SLOTS, -1, Q)
    key = [value * scale * pow(w, -1, Q) % Q for value, w in zip(back, twist, strict=True)]
    return [value - Q if value > Q // 2 else value for value in key]


def transform(row, root):
    if len(row) == 1:
        return row
    even, odd = transform(row[::2], root * root % Q), transform(row[1::2], root * root % Q)
    power, turned = 1, []
    for value in odd:
        turned.append(power * value % Q)
        power = power * root % Q
    return [(a + b) % Q for a, b in zip(even, turned, strict=True)] + [
        (a - b) % Q for a, b in zip(even, turned, strict=True)
    ]


def reads_with(key):
    """Return whether Ada's first 4096 entries follow from her message and a ternary key, by the server's own hand."""
    if not set(key) <= {-1, 0, 1}:
        return False
    c1 = expand(bytes(SENT["ada"].seeds[0])[:SEED_BYTES])
    phase = SENT["ada"].first[0].astype(object)
    doubled = np.concatenate([-c1.astype(object)[1:], c1.astype(object)])  # rows of multiplication by c1
    for place, coefficient in enumerate(key):
        if coefficient:
            phase = phase + coefficient * doubled[SLOTS - 1 - place : 2 * SLOTS - 1 - place]
    slots = np.array([(2 * T * int(value % Q) + Q) // (2 * Q) % T for value in phase])
    return np.array_equal((slots & (2**FIELD_BITS - 1)) - VALUE_BOUND, VALUES["ada"][:SLOTS])


def test_a_key_that_is_dropped_is_gone():
    site = reader()
    seen = weakref.ref(site._key)
    del site
    gc.collect()
    assert seen() is None


def test_a_total_of_too_many_sites_is_refused_before_it_is_read():
    refused(tuple(f"site-{place}" for place in range(300)), b"", text="not sites of the job")


def test_what_was_dealt_must_be_a_key():
    bad = agreed("ada", D)
    object.__setattr__(bad, "dealt", bytes(len(bad.dealt)))
    with pytest.raises(ProtocolError, match="not a BFV key"):
        bfv_rounds.BfvRounds(bad)


def test_fields_and_tags_are_both_needed():
    tags, other = np.array([1, 2]), np.array([1, 3])
    bfv_rounds._verify(True, tags, tags)
    for sound, received in ((False, tags), (True, other), (False, other)):
        with pytest.raises(ProtocolError):
            bfv_rounds._verify(sound, received, tags)
