"""Secret sharing in groups between honest parties: the step, absent sites, failed groups, and what outlives a job."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.grouped import CLIP, PROB, Stores, expected_total, grouped, grouped_terms, groups_of
from tests.simulator import Simulation, losing, names_of, snapshot

from almoner.errors import FederationError, ProtocolError
from almoner.protection.groups import GroupLayout
from almoner.protection.scheme import Question
from almoner.secagg.group_means import GroupSum, exact_norm, robust_total
from almoner.secagg.group_server import GroupedServer
from almoner.secagg.grouping import DrawnGroups


def check_opened(job: Simulation, number: int, opened: dict[str, np.ndarray]) -> None:
    """Check that all who opened a round's total hold the same bits, and those of the groups' median."""
    total = job.totals[number]
    parts = tuple(tuple(site for site in group if site in total.contributors) for group in groups_of(job))
    expected = expected_total(job, number, tuple(part for part in parts if part))
    assert len({sums.tobytes() for sums in opened.values()}) == 1
    assert all(np.abs(sums - expected).max() <= 1 for sums in opened.values())


def test_every_site_takes_the_median_of_the_groups_means():
    job = grouped(10, 3)
    job.repeat = True
    assert job.set_up() == names_of(10)
    groups = groups_of(job)
    assert [len(group) for group in groups] == [4, 3, 3]
    assert sorted(site for group in groups for site in group) == sorted(names_of(10))
    for number in (1, 2):
        total = job.round(number)
        assert total.contributors == names_of(10)
        assert [len(row) for row in total.report["sites"]] == [4, 3, 3]
        assert total.report["rule"] == "median"
        opened = job.open_all(number)
        assert set(opened) == set(names_of(10))
        check_opened(job, number, opened)
    assert job.errors == {}


def test_lengths_follow_from_the_groups():
    job = grouped(10, 3)
    job.set_up()
    job.round(1)
    for question, answers in zip(job.questions, job.answers, strict=True):
        for site, said in answers.items():
            assert len(said) == question.answer_bytes[site] == job.sites[site].answer_bytes(question.task)
    train = next(question for question in job.questions if question.task == "train")
    for site in job.sites.values():
        assert len(train.body) == site.announcement_bytes(train.contributors)
        assert len(job.totals[1].body) == site.total_bytes(job.totals[1].contributors)


def test_no_data_is_asked_for_before_the_groups_stand():
    job = grouped(9, 3)
    side = job.sites["site-1"]
    for ask in (
        lambda: side.answer("keys", 0, (), b""),
        lambda: side.begin(1, (), b""),
        lambda: side.protect(1, job.values(1, "site-1")),
    ):
        with pytest.raises(ProtocolError, match=r"not drawn yet|has ended"):
            ask()


def test_a_later_job_uses_the_groups_that_were_drawn_and_an_absent_site_counts_as_dropped():
    stores = Stores()
    first = grouped(10, 3, stores)
    first.set_up()
    [largest, *_] = groups_of(first)
    absent = largest[0]
    later = grouped(10, 3, stores)
    later.shown = lambda question, site: None if site == absent else question
    rest = tuple(site for site in names_of(10) if site != absent)
    assert later.set_up() == rest
    assert groups_of(later) == groups_of(first)
    assert later.round(1).contributors == rest
    check_opened(later, 1, later.open_all(1))


def test_a_first_draw_needs_every_site_of_the_study():
    stores = Stores()
    job = grouped(10, 3, stores)
    job.shown = lambda question, site: None if site == "site-4" else question
    with pytest.raises(FederationError, match="no commitment of site-4 for epoch 1"):
        job.set_up()
    assert grouped(10, 3, stores).set_up() == names_of(10)


def test_one_site_that_settled_is_enough_for_the_rest():
    """All but one lose the disclosures; in the next job, that of the last one is not even there."""
    stores = Stores()
    job = grouped(10, 3, stores)
    job.shown = lambda question, site: None if question.task == "draw-settle" and site != "site-7" else question
    with pytest.raises(FederationError):
        job.set_up()
    [groups] = stores.groups() - {None}
    largest = groups[0]
    absent = next(site for site in largest if site != "site-7")
    later = grouped(10, 3, stores)
    later.shown = lambda question, site: None if site == absent else question
    later.set_up()
    assert groups_of(later) == groups


BEARING = {"num_sites": 15, "num_groups": 5}


@pytest.fixture(scope="module")
def started() -> Simulation:
    job = grouped(**BEARING)
    job.set_up()
    return job


def test_a_job_goes_on_without_a_failed_group(started: Simulation):
    job = snapshot(started)
    group = groups_of(job)[1]
    job.shown = losing((1, "train", group[0]))
    total = job.round(1)
    assert not set(total.contributors) & set(group)
    assert len(total.contributors) == 12
    assert set(job.members) == set(names_of(15)) - set(group)
    check_opened(job, 1, job.open_all(1))
    job.shown = lambda question, site: question
    assert job.round(2).contributors == total.contributors
    check_opened(job, 2, job.open_all(2))


def test_a_job_ends_when_more_groups_fail_than_the_layout_bears(started: Simulation):
    job = snapshot(started)
    first, second, *_ = groups_of(job)
    job.shown = losing((1, "train", first[0]), (1, "train", second[0]))
    with pytest.raises(FederationError, match=r"2 of 5 groups failed in all, and with 1 Byzantine sites .* bears 1"):
        job.round(1)


def test_a_group_of_four_bears_a_drop_and_one_of_three_none():
    job = grouped(10, 3)
    job.set_up()
    four, three, _ = groups_of(job)
    other = snapshot(job)
    job.shown = losing((1, "train", four[0]))
    assert job.round(1).contributors == tuple(site for site in names_of(10) if site != four[0])
    check_opened(job, 1, job.open_all(1))
    other.shown = losing((1, "train", three[0]))
    with pytest.raises(FederationError, match="the layout bears 0"):
        other.round(1)


def waits_for(job: Simulation) -> dict[str, int | None]:
    """Return with how many answers the rest was late, by the last question of each task."""
    return {question.task: question.enough_answers for question in job.questions}


def test_a_site_is_late_only_where_the_job_can_do_without_it(started: Simulation):
    """However many answered, a group of three may lack its third; where a group may fail, one can be missed."""
    job = grouped(10, 3)
    job.set_up()
    assert set(waits_for(job).values()) == {10}
    job = snapshot(started)
    assert {waits_for(job)[task] for task in ("draw-commit", "draw-reveal", "draw-settle")} == {15}
    assert {waits_for(job)[task] for task in ("keys", "agree", "conclude")} == {14}
    job.shown = losing((1, "acknowledge", groups_of(job)[1][0]))
    job.round(1)
    assert waits_for(job)["train"] == waits_for(job)["acknowledge"] == 14
    assert waits_for(job)["reveal"] == 12
    job.round(2)
    assert waits_for(job)["train"] == 12


@settings(max_examples=50)
@given(data=st.data())
def test_whoever_is_late_the_job_goes_on(data: st.DataObject):
    """Against the definition: more groups fail than may only if fewer sites answered."""
    groups, failed, colluding = data.draw(st.integers(3, 7)), data.draw(st.integers(0, 1)), data.draw(st.integers(1, 2))
    layout = GroupLayout(data.draw(st.integers(4, 6)) * groups, groups, colluding, 1, "median")
    if not layout.bears(failed):
        return
    server = GroupedServer(SimpleNamespace(layout=layout, job=SimpleNamespace(min_sites=3)), None)  # type: ignore[arg-type]
    server._servers = dict.fromkeys(range(groups - failed))  # type: ignore[arg-type]
    asked = [data.draw(st.integers(party.threshold, party.num_sites)) for party in layout.parties[failed:]]
    needs = [party.threshold for party in layout.parties[failed:]]
    questions = tuple(
        Question("train", 1, (), b"", names_of(size), need, {}) for size, need in zip(asked, needs, strict=True)
    )
    missing = [data.draw(st.sampled_from([0, size - need + 1])) for size, need in zip(asked, needs, strict=True)]
    short = sum(size - gone < need for size, gone, need in zip(asked, missing, needs, strict=True))
    assert layout.bears(failed + short) or sum(asked) - sum(missing) < server._enough(questions)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_drops_out_all_who_go_on_take_one_step_or_none_does(started: Simulation, data: st.DataObject):
    """Sites drop out at any points: as many as the layout bears wherever they sit, or more, and the job ends."""
    job = snapshot(started)
    layout = job.server._terms.layout
    tasks = st.sampled_from(["train", "acknowledge", "reveal"])
    gone = data.draw(st.dictionaries(st.sampled_from(names_of(15)), tasks, max_size=layout.drops_borne + 2))
    order = ["train", "acknowledge", "reveal"]

    def shown(question, site):
        silent = site in gone and order.index(question.task) >= order.index(gone[site])
        return None if silent else question

    job.shown = shown
    hit = {place for place, group in enumerate(groups_of(job)) if set(group) & set(gone)}
    try:
        total = job.round(1)
    except FederationError:
        assert len(hit) > layout.failed_groups_borne
        return
    assert len(hit) <= layout.failed_groups_borne
    for place, group in enumerate(groups_of(job)):
        assert set(group) <= set(total.contributors) or place in hit
    check_opened(job, 1, job.open_all(1))


class TestTheStep:
    TERMS = grouped_terms(9, 3)
    GROUPING = DrawnGroups(TERMS, (("site-1", "site-2", "site-3"), ("site-4", "site-5", "site-6"), names_of(9)[6:]))

    def sums(self, *values: list[int]) -> dict[int, GroupSum]:
        padded = [np.array(row + [0] * (7 - len(row)), dtype=np.int64) for row in values]
        return {place: GroupSum(self.GROUPING.groups[place], row) for place, row in enumerate(padded)}

    @pytest.mark.threat("T-44")
    def test_means_are_cut_to_the_norm(self) -> None:
        """One group's mean has norm 10 · clip; the median is elementwise over the cut means."""
        scale = self.TERMS.job.step / (PROB * 300)
        long = int(10 * CLIP / scale)
        total, report = robust_total(self.GROUPING, self.sums([long], [long], [0]))
        assert abs(total[0] * self.TERMS.job.step / (PROB * 900) - CLIP) < 1e-3
        assert report["clipped"] == [True, True, False]

    def test_one_group_moves_the_step_no_further_than_the_others_lie(self) -> None:
        rng = np.random.default_rng(5)
        honest = rng.integers(-100, 100, (2, 7)).tolist()
        for lie in rng.integers(-98_301, 98_302, (20, 7)).tolist():
            total, _ = robust_total(self.GROUPING, self.sums(*honest, lie))
            assert (total <= 3 * np.max(honest, axis=0) + 1).all()
            assert (total >= 3 * np.min(honest, axis=0) - 1).all()

    def test_too_few_groups_are_refused(self) -> None:
        with pytest.raises(ProtocolError, match="1 groups failed, and the layout bears 0"):
            robust_total(self.GROUPING, {place: found for place, found in self.sums([1], [2], [3]).items() if place})

    @given(st.lists(st.integers(-(2**23), 2**23), min_size=1, max_size=200))
    def test_the_norm_is_that_of_exact_arithmetic(self, values: list[int]) -> None:
        found = exact_norm(np.array(values, dtype=np.int64))
        assert found == math.sqrt(sum(value * value for value in values))

    def test_a_norm_does_not_overflow(self) -> None:
        assert exact_norm(np.full(200_000, 2**23, dtype=np.int64)) == 2**23 * math.sqrt(200_000)
        with pytest.raises(ProtocolError, match="larger than any sum"):
            exact_norm(np.array([2**23 + 1]))
