"""A server that would choose the groups, with members at its side: it steers, splits, withholds and draws again.

Each attack is carried out with the control taken out first, and succeeds; then with the control in, and fails.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from tests.grouped import Drawing, Stores, draw_terms, grouped
from tests.simulator import altered, key_pem, names_of

from almoner.errors import FederationError, ProtocolError
from almoner.protection import draw_relay, draw_site
from almoner.protection.draw import (
    COMMITMENT_BYTES,
    DISCLOSURE_BYTES,
    Groups,
    assign,
    commit,
    disclose,
    list_digest,
    pack,
    unpack,
)
from almoner.secagg.total import read_total

SITES = names_of(9)
TERMS = draw_terms(SITES, (3, 3, 3))
LIAR, VICTIM = "site-9", "site-1"
SECRETS = (number.to_bytes(32, "big") for number in count(1))


def together(groups: Groups, *sites: str) -> bool:
    return any(set(sites) <= set(group) for group in groups)


def steering(drawing: Drawing) -> None:
    """Have the liar disclose, once it has seen all secrets, one that puts it and another into the victim's group."""

    drawing.lie = {}

    def shown(question, site):
        if question.task != "draw-settle":
            if question.task == "draw-reveal":
                drawing.listed = unpack(SITES, question.body, COMMITMENT_BYTES)
            return question
        said = unpack(SITES, question.body, DISCLOSURE_BYTES)
        while not (drawing.lie and together(assign(TERMS, drawing.listed, said | drawing.lie), VICTIM, LIAR, "site-8")):
            listed = list_digest(TERMS, drawing.listed)
            drawing.lie = {LIAR: disclose(TERMS, LIAR, next(SECRETS), listed, key_pem(LIAR))}
        return altered(question, body=pack(SITES, said | drawing.lie, DISCLOSURE_BYTES))

    drawing.shown = shown


@pytest.mark.threat("T-42")
def test_a_member_that_discloses_last_cannot_choose_its_secret(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(draw_site, "verify_disclosure", lambda *arguments: None)
        stores = Stores()
        drawing = Drawing.among(TERMS, stores)
        steering(drawing)
        with pytest.raises(FederationError, match="0 of at least 2 sites hold the same groups"):
            drawing.result()  # the honest server's own groups are others
        [groups] = stores.groups()
        assert together(groups, VICTIM, LIAR, "site-8")
    stores = Stores()
    drawing = Drawing.among(TERMS, stores)
    steering(drawing)
    with pytest.raises(FederationError) as caught:
        drawing.result()
    assert stores.groups() == {None}
    assert "0 of 2 sites answered" in str(caught.value)
    assert "site-9 disclosed what it did not commit to" in str(drawing.errors[VICTIM])


def splitting(drawing: Drawing) -> None:
    """Show half of the sites another commitment of the liar, and then what it disclosed for that one."""
    secrets, half = {True: next(SECRETS), False: next(SECRETS)}, SITES[:4]
    listed: dict[bool, dict[str, bytes]] = {}

    def shown(question, site):
        if question.task == "draw-commit" or site == LIAR:
            return question
        first = site in half
        size = COMMITMENT_BYTES if question.task == "draw-reveal" else DISCLOSURE_BYTES
        parts = unpack(SITES, question.body, size)
        if question.task == "draw-reveal":
            parts[LIAR] = commit(TERMS, LIAR, secrets[first], key_pem(LIAR))
            listed[first] = parts
        else:
            parts[LIAR] = disclose(TERMS, LIAR, secrets[first], list_digest(TERMS, listed[first]), key_pem(LIAR))
        return altered(question, body=pack(SITES, parts, size))

    drawing.shown = shown


@pytest.mark.threat("T-42")
def test_two_lists_of_commitments_give_no_groups(monkeypatch):
    """Without L in what is disclosed, the two halves come to different groups."""

    def drawn() -> tuple[Drawing, Stores]:
        stores = Stores()
        drawing = Drawing.among(TERMS, stores)
        splitting(drawing)
        with pytest.raises(FederationError):
            relay(drawing)
        return drawing, stores

    def relay(drawing: Drawing) -> None:
        """The server relays what the sites say, checked by nobody."""
        with monkeypatch.context() as patch:
            patch.setattr(draw_relay, "verify_disclosure", lambda *arguments: None)
            drawing.result()

    with monkeypatch.context() as patch:
        patch.setattr(draw_site, "verify_disclosure", lambda *arguments: None)
        _, stores = drawn()
        groups = {site: stores[site].record.groups for site in SITES}
        assert groups[SITES[0]] == groups[SITES[3]] != groups[SITES[4]] == groups[SITES[7]]
    drawing, stores = drawn()
    assert stores.groups() == {None}
    assert "over this list of commitments, is not signed" in str(drawing.errors[VICTIM])


@pytest.mark.threat("T-42")
def test_a_site_discloses_for_one_list_ever():
    """A later job brings another list, with another commitment of the liar."""
    stores = Stores()
    drawing = Drawing.among(TERMS, stores)
    drawing.shown = lambda question, site: None if question.task == "draw-settle" else question
    with pytest.raises(FederationError):
        drawing.result()
    again = Drawing.among(TERMS, stores)
    splitting(again)
    with pytest.raises(FederationError):
        again.result()
    assert "not the commitments for which this site disclosed" in str(again.errors[VICTIM])
    assert Drawing.among(TERMS, stores).result() in stores.groups()


class Forgetful(Stores):
    """Sites that keep nothing from job to job: the control taken out."""

    def __getitem__(self, site: str):
        self.of.pop(site, None)
        return super().__getitem__(site)


def withholding(stores: Stores, wanted: Callable[[Groups], bool], jobs: int) -> Groups | None:
    """Start jobs until one has the groups that are wanted; the liar discloses in no other one."""
    for _ in range(jobs):
        drawing, seen = Drawing.among(TERMS, stores), {}

        def shown(question, site, seen=seen):
            if question.task == "draw-reveal":
                seen["listed"] = unpack(SITES, question.body, COMMITMENT_BYTES)
            if question.task == "draw-settle":
                seen["said"] = unpack(SITES, question.body, DISCLOSURE_BYTES)
                return question if wanted(assign(TERMS, seen["listed"], seen["said"])) else None
            return question

        drawing.shown = shown
        try:
            return drawing.result()
        except FederationError:
            continue
    return None


@pytest.mark.threat("T-42")
def test_who_withholds_gets_the_same_draw_again():
    stores = committed()
    drawn = Drawing.among(TERMS, stores.copy()).result()
    assert withholding(Forgetful(), lambda groups: groups != drawn, 8) is not None
    assert withholding(stores, lambda groups: groups != drawn, 8) is None
    assert Drawing.among(TERMS, stores).result() == drawn


def committed() -> Stores:
    """Return the stores of sites that have committed in a job that ended there."""
    stores = Stores()
    drawing = Drawing.among(TERMS, stores)
    drawing.shown = lambda question, site: question if question.task == "draw-commit" else None
    with pytest.raises(FederationError):
        drawing.result()
    return stores


def sums_seen(stores: Stores, jobs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return who is in each sum that the server learns in so many jobs of equal updates, and the sums."""
    rows, sums = [], []
    for _ in range(jobs):
        job = grouped(9, 3, stores)
        job.set_up()
        total = job.round(1)
        for terms, part in parts_of(job, total):
            rows.append([float(site in terms.sites) for site in SITES])
            sums.append(part)
    return np.array(rows), np.array(sums)


def parts_of(job, total):
    grouping = job.server._grouping
    split = grouping.split("total", total.contributors, total.body)
    return [
        (grouping.terms_of(place), read_total(grouping.terms_of(place), len(sites), part))
        for place, (sites, part) in split.items()
    ]


@pytest.mark.threat("T-43")
def test_groups_that_changed_from_job_to_job_would_show_single_updates():
    rows, sums = sums_seen(Forgetful(), 8)
    found, *_ = np.linalg.lstsq(rows, sums, rcond=None)
    assert np.linalg.matrix_rank(rows) == 9
    assert np.array_equal(np.rint(found), [grouped(9, 3).values(1, site) for site in SITES])
    rows, _ = sums_seen(Stores(), 3)
    assert np.linalg.matrix_rank(rows) == 3


@pytest.mark.threat("T-43")
def test_another_number_of_groups_is_refused_once_a_site_has_committed():
    """12 sites in 3 groups and in 4: the server would learn sums over what two groups have in common."""
    sites = names_of(12)
    stores = Stores()
    Drawing.among(draw_terms(sites, (4, 4, 4)), stores).result()
    fresh = {Drawing.among(draw_terms(sites, (3, 3, 3, 3)), Forgetful()).result(), *stores.groups()}
    assert len(fresh) == 2
    for other in (draw_terms(sites, (3, 3, 3, 3)), draw_terms(sites[:9], (3, 3, 3))):
        drawing = Drawing.among(other, stores)
        with pytest.raises(FederationError, match="0 of 2 sites answered"):
            drawing.result()
        assert "the groups of study credit are fixed: 12 sites in 3 groups" in str(drawing.errors[VICTIM])
    drawing = Drawing.among(draw_terms(SITES, (9,)), committed())
    with pytest.raises(FederationError):
        drawing.result()
    assert "not 9 in 1" in str(drawing.errors[VICTIM])


@pytest.mark.threat("T-42")
def test_a_draw_of_another_study_or_epoch_counts_for_nothing():
    stores, other = Stores(), Stores()
    Drawing.among(TERMS, stores).result()
    Drawing.among(draw_terms(SITES, TERMS.group_sizes, "cards"), other).result()
    body = pack(SITES, {site: bytes.fromhex(other[site].record.commitments[site]) for site in SITES}, COMMITMENT_BYTES)
    side = Drawing.among(TERMS, committed()).sites[VICTIM]
    with pytest.raises(ProtocolError, match="the commitment of site-1 is not signed"):
        side.answer("draw-reveal", 0, SITES, body)
    later = Stores()
    for site in SITES:
        record = draw_site.fresh_record(replace(TERMS, epoch=2), site, key_pem(site))
        later[site].record = record
    later[VICTIM].record = stores[VICTIM].record
    with pytest.raises(FederationError, match="no commitment of site-1 for epoch 2"):
        Drawing.among(TERMS, later).result()
    body = pack(SITES, {site: bytes.fromhex(later[site].record.commitments[site]) for site in SITES}, COMMITMENT_BYTES)
    with pytest.raises(ProtocolError, match="is not one of epoch 1"):
        Drawing.among(TERMS, committed()).sites[VICTIM].answer("draw-reveal", 0, SITES, body)


def own_word_first(held: dict[str, dict[str, bytes]], site: str) -> list[bytes]:
    """Count a site's own word as the others'; the first one wins a draw."""
    return [said for said, _ in Counter(parts[site] for parts in held.values() if site in parts).most_common()]


def with_two_commitments(stores: Stores, gone: str) -> str:
    """Have one site alone disclose over the liar's commitment, and the others told of another; return the outcome.

    Args:
        gone: whose answer is lost when the second list is made; the liar has its commitment.
    """
    first = Drawing.among(TERMS, stores)
    first.shown = lambda question, site: question if question.task == "draw-commit" or site == ALONE else None
    with pytest.raises(FederationError):
        first.result()
    listed = {site: bytes.fromhex(stores[site].record.commitments[site]) for site in SITES}
    kept, stores[FIRST].record = stores[FIRST].record, None
    again = Drawing.among(TERMS, stores)

    def heard(question, site, said):
        if question.task != "draw-commit" or not gone:
            return said
        own = unpack(SITES, said, COMMITMENT_BYTES)
        return None if site == gone else pack(SITES, listed | own, COMMITMENT_BYTES) if site == FIRST else said

    again.heard = heard
    with pytest.raises(FederationError) as caught:
        again.result()
    stores[FIRST].record = kept  # it gives in
    return str(caught.value)


FIRST, ALONE = "site-1", "site-9"


@pytest.mark.threat("T-42")
@pytest.mark.parametrize(
    ("gone", "outcome"), [("", "no disclosure of site-1 for"), (ALONE, "no commitment of site-9 for")]
)
def test_one_member_and_lost_messages_do_not_bring_the_honest_sites_onto_two_lists(monkeypatch, gone, outcome):
    with monkeypatch.context() as patch:
        patch.setattr(draw_relay, "_most_held", own_word_first)
        stores = Stores()
        with_two_commitments(stores, gone)
        assert len({stores[site].record.listed for site in SITES[1:]}) == 2
        for _ in range(2):
            with pytest.raises(FederationError, match="no disclosure of"):
                Drawing.among(TERMS, stores).result()
    stores = Stores()
    assert outcome in with_two_commitments(stores, gone)
    assert Drawing.among(TERMS, stores).result() in stores.groups()
