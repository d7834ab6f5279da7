"""The draw of groups: its messages, what each is bound to, and a relay that bad answers do not stop."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.grouped import Drawing, Stores, draw_terms
from tests.simulator import key_pem, names_of, rsa_key

from almoner.errors import FederationError, ProtocolError
from almoner.protection.draw import (
    COMMITMENT_BYTES,
    DISCLOSURE_BYTES,
    DrawTerms,
    assign,
    commit,
    disclose,
    draw_approval_digest,
    groups_digest,
    list_digest,
    pack,
    unpack,
    verify_commitment,
    verify_disclosure,
)

SITES = names_of(5)
TERMS = draw_terms(SITES, (3, 2))
ADA, SECRET = SITES[0], bytes(range(32))
OTHERS = [
    replace(TERMS, study="cards"),
    replace(TERMS, epoch=2),
    replace(TERMS, group_sizes=(2, 3)),
    replace(TERMS, certificates=("0" * 64, *TERMS.certificates[1:])),
    replace(TERMS, sites=("ada", *SITES[1:])),
]
FILLED = {site: commit(TERMS, site, bytes([place] * 32), key_pem(site)) for place, site in enumerate(SITES)}


def flipped(said: bytes, place: int) -> bytes:
    return said[:place] + bytes([said[place] ^ 1]) + said[place + 1 :]


def test_a_commitment_is_bound_to_all_that_is_drawn():
    said = commit(TERMS, ADA, SECRET, key_pem(ADA))
    verify_commitment(TERMS, ADA, said, rsa_key(ADA).public_key())
    for other in OTHERS:
        with pytest.raises(ProtocolError):
            verify_commitment(other, ADA, said, rsa_key(ADA).public_key())
    for site, key in ((SITES[1], ADA), (ADA, SITES[1])):
        with pytest.raises(ProtocolError):
            verify_commitment(TERMS, site, said, rsa_key(key).public_key())
    for place in range(0, COMMITMENT_BYTES, 7):
        with pytest.raises(ProtocolError):
            verify_commitment(TERMS, ADA, flipped(said, place), rsa_key(ADA).public_key())


def test_a_disclosure_is_bound_to_the_list():
    commitments = FILLED | {ADA: commit(TERMS, ADA, SECRET, key_pem(ADA))}
    said = disclose(TERMS, ADA, SECRET, list_digest(TERMS, commitments), key_pem(ADA))
    key = rsa_key(ADA).public_key()
    verify_disclosure(TERMS, ADA, said, commitments, key)
    with pytest.raises(ProtocolError, match="over this list of commitments"):
        verify_disclosure(TERMS, ADA, said, commitments | {SITES[1]: FILLED[SITES[2]]}, key)
    with pytest.raises(ProtocolError, match="what it did not commit to"):
        verify_disclosure(TERMS, ADA, said, FILLED, key)
    for place in range(0, DISCLOSURE_BYTES, 7):
        with pytest.raises(ProtocolError):
            verify_disclosure(TERMS, ADA, flipped(said, place), commitments, key)


def test_signatures_do_not_enter_the_list():
    """They differ each time: a member could otherwise show two lists of one commitment."""
    again = FILLED | {ADA: commit(TERMS, ADA, bytes(32), key_pem(ADA))}
    assert again[ADA] != FILLED[ADA]
    assert list_digest(TERMS, again) == list_digest(TERMS, FILLED)


@given(st.integers(3, 50), st.integers(1, 16), st.binary(min_size=32, max_size=32))
def test_every_site_is_in_one_group(num_sites: int, num_groups: int, secret: bytes):
    sites = names_of(num_sites)
    num_groups = min(num_groups, num_sites)
    sizes = tuple(len(range(place, num_sites, num_groups)) for place in range(num_groups))
    terms = DrawTerms("credit", sites, ("0" * 64,) * num_sites, sizes, 1)
    parts = dict.fromkeys(sites, secret * 12)
    groups = assign(terms, parts, parts)
    assert tuple(len(group) for group in groups) == sizes
    assert sorted(site for group in groups for site in group) == sorted(sites)
    assert all(group == tuple(site for site in sites if site in group) for group in groups)
    changed = parts | {sites[-1]: flipped(secret * 12, 5)}
    assert groups_digest(terms, groups) != groups_digest(replace(terms, epoch=2), groups)
    assert num_groups in (1, num_sites) or num_sites < 20 or assign(terms, parts, changed) != groups


def test_what_an_officer_signs_is_one_draw():
    assert len({draw_approval_digest(terms) for terms in (TERMS, *OTHERS)}) == 1 + len(OTHERS)


def test_slots():
    parts = {SITES[1]: b"ab", SITES[4]: b"cd"}
    assert unpack(SITES, pack(SITES, parts, 2), 2) == parts
    with pytest.raises(ProtocolError, match="9 bytes for 5 sites"):
        unpack(SITES, bytes(9), 2)
    with pytest.raises(ProtocolError, match="not of all sites"):
        replace(TERMS, group_sizes=(3, 3))


JUNK = st.sampled_from(["short", "zeros", "noise", "another's"])


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.sampled_from(["draw-commit", "draw-reveal", "draw-settle"]), JUNK, min_size=1))
def test_one_site_that_answers_rubbish_stops_no_draw_that_stands(told: dict[str, str]):
    stores = drawn()
    drawing = Drawing.among(TERMS, stores)

    def heard(question, site, said):
        kind = told.get(question.task)
        if site != ADA or kind is None:
            return said
        return {
            "short": said[:-1],
            "zeros": bytes(len(said)),
            "noise": bytes(byte ^ 0x5A for byte in said),
            "another's": said[len(said) // 5 :] + said[: len(said) // 5],
        }[kind]

    drawing.heard = heard
    [groups] = stores.groups()
    assert drawing.result() == groups


_DRAWN: list[Stores] = []


def drawn() -> Stores:
    """Return a copy of stores in which the groups stand."""
    if not _DRAWN:
        _DRAWN.append(Stores())
        Drawing.among(TERMS, _DRAWN[0]).result()
    return _DRAWN[0].copy()


def test_a_site_that_is_absent_is_drawn_as_it_was_and_one_that_never_committed_is_missed():
    stores = drawn()
    [groups] = stores.groups()
    assert Drawing.among(TERMS, stores).result(absent=SITES[3:]) == groups
    with pytest.raises(FederationError, match="no commitment of site-4, site-5"):
        Drawing.among(TERMS, Stores()).result(absent=SITES[3:])


@pytest.mark.parametrize(
    ("task", "contributors", "body"),
    [
        ("draw-commit", SITES, b""),
        ("draw-commit", (), b"x"),
        ("draw-reveal", SITES[:4], bytes(4 * COMMITMENT_BYTES)),
        ("draw-reveal", SITES, bytes(5 * COMMITMENT_BYTES)),
        ("draw-reveal", SITES, b""),
        ("draw-settle", (), b""),
        ("draw-settle", SITES, bytes(5 * DISCLOSURE_BYTES)),
    ],
)
def test_questions_that_are_not_asked_like_this(task: str, contributors: tuple[str, ...], body: bytes):
    stores = Stores()
    side = Drawing.among(TERMS, stores).sites[ADA]
    if task != "draw-commit":
        side.answer("draw-commit", 0, (), b"")
    before = stores[ADA].record
    with pytest.raises(ProtocolError):
        side.answer(task, 0, contributors, body)
    assert stores[ADA].record == before


def test_no_step_is_taken_before_the_one_before_it():
    side = Drawing.among(TERMS, Stores()).sites[ADA]
    with pytest.raises(ProtocolError, match="not committed yet"):
        side.answer("draw-reveal", 0, SITES, pack(SITES, FILLED, COMMITMENT_BYTES))
    side.answer("draw-commit", 0, (), b"")
    with pytest.raises(ProtocolError, match="not disclosed yet"):
        side.answer("draw-settle", 0, SITES, bytes(5 * DISCLOSURE_BYTES))
