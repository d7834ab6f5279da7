"""Layouts of groups: what they bear is counted anew here, drop by drop, from the definition."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.errors import PolicyViolation
from almoner.protection.groups import GroupLayout
from almoner.schema.aggregation import GroupRuleKind

ROWS_BEYOND_2F = {"median": 1, "trimmed_mean": 1, "krum": 3}
LAYOUTS = st.tuples(
    st.integers(3, 50), st.integers(1, 17), st.integers(1, 6), st.integers(1, 8), st.sampled_from(list(ROWS_BEYOND_2F))
)
Numbers = tuple[int, int, int, int, GroupRuleKind]


def threshold(size: int, colluding: int) -> int:
    """The issue's threshold, stated again."""
    return max((size + colluding) // 2 + 1, colluding + 2)


def stands(numbers: Numbers, failed: int) -> bool:
    """Whether the job goes on with so many failed groups, by the two conditions of the paper and the issue."""
    _, groups, _, byzantine, rule = numbers
    return byzantine + failed < groups / 2 and groups - failed >= 2 * byzantine + ROWS_BEYOND_2F[rule]


def made(numbers: Numbers) -> GroupLayout | None:
    try:
        return GroupLayout(*numbers)
    except PolicyViolation:
        return None


@settings(max_examples=300)
@given(LAYOUTS)
def test_a_layout_is_possible_exactly_if_its_smallest_group_and_its_rule_are(numbers: Numbers) -> None:
    sites, groups, colluding, _, _ = numbers
    smallest = sites // groups
    possible = smallest >= 3 and threshold(smallest, colluding) <= smallest and stands(numbers, 0)
    assert (made(numbers) is not None) == possible


@settings(max_examples=200)
@given(LAYOUTS)
def test_groups_take_all_sites_and_are_of_one_size_or_two(numbers: Numbers) -> None:
    if (layout := made(numbers)) is None:
        return
    assert len(layout.sizes) == numbers[1]
    assert sum(layout.sizes) == numbers[0]
    assert layout.sizes[0] - layout.sizes[-1] <= 1
    assert list(layout.sizes) == sorted(layout.sizes, reverse=True)


@settings(max_examples=200)
@given(LAYOUTS)
def test_every_group_withstands_all_colluding_sites(numbers: Numbers) -> None:
    if (layout := made(numbers)) is None:
        return
    for group, drops in zip(layout.parties, layout.drops, strict=True):
        assert group.num_colluding_sites == numbers[2]
        assert group.threshold == threshold(group.num_sites, numbers[2])
        assert group.threshold + drops == group.num_sites
        assert group.threshold - numbers[2] >= layout.min_honest_in_sum >= 2


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(9, 19), st.integers(3, 6), st.integers(1, 3), st.integers(1, 2), st.sampled_from(
    list(ROWS_BEYOND_2F))))  # fmt: skip
def test_drops_borne_are_those_that_no_placing_of_them_can_turn_into_an_end(numbers: Numbers) -> None:
    if (layout := made(numbers)) is None:
        return
    ends = []
    for missing in product(*(range(size + 1) for size in layout.sizes)):
        left = [size - gone for size, gone in zip(layout.sizes, missing, strict=True)]
        failed = sum(have < threshold(size, numbers[2]) for have, size in zip(left, layout.sizes, strict=True))
        if not stands(numbers, failed):
            ends.append(sum(missing))
    assert layout.drops_borne + 1 == min(ends)


@pytest.mark.parametrize(
    ("numbers", "sizes", "drops", "failed"),
    [
        ((9, 3, 1, 1, "median"), (3, 3, 3), (0, 0, 0), 0),
        ((10, 3, 1, 1, "median"), (4, 3, 3), (1, 0, 0), 0),
        ((12, 3, 2, 1, "trimmed_mean"), (4, 4, 4), (0, 0, 0), 0),
        ((20, 5, 1, 2, "median"), (4,) * 5, (1,) * 5, 0),
        ((20, 5, 2, 1, "median"), (4,) * 5, (0,) * 5, 1),
        ((20, 5, 1, 1, "krum"), (4,) * 5, (1,) * 5, 0),
        ((50, 10, 3, 4, "median"), (5,) * 10, (0,) * 10, 0),
        ((50, 10, 1, 3, "krum"), (5,) * 10, (1,) * 10, 1),
        ((50, 16, 1, 2, "median"), (4, 4) + (3,) * 14, (1, 1) + (0,) * 14, 5),
    ],
)
def test_layouts_of_the_issue(numbers: Numbers, sizes: tuple[int, ...], drops: tuple[int, ...], failed: int) -> None:
    layout = GroupLayout(*numbers)
    assert (layout.sizes, layout.drops, layout.failed_groups_borne) == (sizes, drops, failed)
    assert layout.bears(failed)
    assert not layout.bears(failed + 1)


@pytest.mark.parametrize("sites", range(3, 9))
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_few_sites_cannot_be_both_secure_and_robust(sites: int, groups: int) -> None:
    with pytest.raises(PolicyViolation, match=f"^{sites} sites make at most {sites // 3} groups of 3") as caught:
        GroupLayout(sites, groups, 1, 1, "median")
    assert "secure and robust together mean nothing below 9 sites → kind robust, or secagg without" in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((10, 4, 1, 1, "median"), "4 groups of 10 sites have 2 each: all c=1 colluding sites may sit in one group, "),
        ((10, 3, 2, 1, "median"), "which then takes 4 → a smaller num_colluding_sites"),
        ((20, 5, 3, 1, "median"), "which then takes 5 → at most 4 groups, or a smaller num_colluding_sites"),
        (
            (20, 5, 1, 2, "krum"),
            "krum needs 7 groups to bear f=2 bad ones, there are 5; 20 sites with c=1 make at most",
        ),
        ((20, 5, 1, 3, "median"), "median needs 7 groups to bear f=3 bad ones, there are 5; "),
        ((30, 5, 1, 2, "krum"), "at most 10 → at least 7 groups, or a smaller num_byzantine_sites"),
        ((10, 0, 1, 1, "median"), "at least 1"),
        ((10, 3, 0, 1, "median"), "at least 1"),
        ((10, 3, 1, 0, "median"), "at least 1"),
    ],
)
def test_what_cannot_be_is_explained_in_one_line(numbers: Numbers, message: str) -> None:
    with pytest.raises(PolicyViolation) as caught:
        GroupLayout(*numbers)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_robustness_may_exceed_privacy() -> None:
    layout = GroupLayout(50, 10, 1, 4, "median")
    assert layout.num_byzantine_sites > layout.num_colluding_sites
    assert [group.threshold for group in layout.parties] == [4] * 10


def test_the_plan_says_what_a_layout_bears_and_costs() -> None:
    assert GroupLayout(10, 3, 1, 1, "median").describe(8) == (
        "groups: 10 sites in 3 groups (1 of 4 and 2 of 3), drawn once for the study by its sites, in its first grouped "
        "job: all later ones must have 3",
        "attackers: bears 1 site that may send any values: each spoils its group, and median bears 1 bad of 3 groups; "
        "one that breaks the protocol (false words, a bad tag) fails its group, which ends the job",
        "drops: bears 1 in a group of 4, 0 in a group of 3; bears 0 failed groups; min_sites 8 bears 2 missing in "
        "all: 1 site missing, honest or not, can end the job",
        "price: the server and every site see each group's mean; a server with 1 site at its side sees the sum of as "
        "few as 2 others, and by leaving members out sums over others in other rounds, under their noise; sites take "
        "other groups' sums on its word; one bad or missing site can take its group with it",
    )
    wide = GroupLayout(50, 10, 1, 3, "krum")
    assert "fails its group, which is borne as below" in wide.describe(45)[1]
    assert "fails its group, which ends the job" in wide.describe(46)[1]
    assert "bears 1 failed groups; min_sites 40 bears 10 missing in all: 4 sites missing" in wide.describe(40)[2]
    assert "leaving members out" not in GroupLayout(9, 3, 1, 1, "median").describe(9)[3]


@pytest.mark.parametrize(("min_sites", "fatal"), [(50, "1 site"), (49, "2 sites"), (47, "4 sites"), (46, "4 sites")])
def test_the_plan_bears_no_more_missing_sites_than_the_job_does(min_sites: int, fatal: str) -> None:
    drops = GroupLayout(50, 10, 1, 3, "krum").describe(min_sites)[2]
    assert f" bears {50 - min_sites} missing in all: {fatal} missing, honest or not, can end the job" in drops
