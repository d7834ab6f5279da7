"""The alignment as a whole: what sites find, which question may follow which, and how long messages are."""

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psi_cases import TASKS, Network, align, machine, names, terms

from almoner.errors import ProtocolError
from almoner.protection.set_up import SET_UP_BYTES
from almoner.psi.states import Ended
from almoner.psi.terms import PsiTerms

slow = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LISTS = st.lists(st.none() | st.sampled_from([bytes([sign]) for sign in b"abcdefgh"]), max_size=10)


def test_two_sites_find_what_they_have_in_common() -> None:
    lists = {"ada": names("x", "b", None, "c"), "bob": names("c", "y", "b", "z", "b")}
    assert align(lists) == {"ada": (1, 3), "bob": (0, 2, 4)}


@slow
@given(st.lists(LISTS, min_size=2, max_size=3))
def test_each_site_finds_its_rows_that_all_others_have(lists: list[list[bytes | None]]) -> None:
    by_site: dict[str, Any] = dict(zip(("ada", "bob", "cyd"), lists, strict=False))
    common = set.intersection(*(set(found) for found in lists)) - {None}
    expected = {
        site: tuple(row for row, value in enumerate(found) if value in common) for site, found in by_site.items()
    }
    assert align(by_site) == expected


def test_what_only_some_have_is_kept_nowhere() -> None:
    """Three sites: the leader sees that bob has "b", but keeps what all have alone."""
    lists = {"ada": names("a", "b", "c"), "bob": names("a", "b"), "cyd": names("a", "c")}
    assert align(lists) == {"ada": (0,), "bob": (0,), "cyd": (0,)}


def test_another_site_leads() -> None:
    network = Network(terms(3, leader="bob"))
    network.run({"ada": names("a"), "bob": names("b", "a"), "cyd": names("c", "a")})
    assert network.rows() == {"ada": (0,), "bob": (1,), "cyd": (1,)}
    assert [found.leads for found in network.machines.values()] == [False, True, False]


def test_what_a_site_keeps() -> None:
    network = Network(terms(cap=2))
    network.run({"ada": names("a", "a", None, "b"), "bob": names("a", "b", "c", "d")})
    kept = network.machines["ada"].alignment
    assert (kept.own.num_rows, kept.own.num_unusable, kept.own.num_left_out) == (4, 1, 0)
    assert kept.num_common == network.machines["bob"].alignment.num_common
    assert network.machines["bob"].alignment.own.num_left_out == 2
    assert repr(kept) == "<Alignment>"


def lengths(lists: dict[str, Any], of: PsiTerms) -> dict[tuple[str, str], int]:
    network = Network(of)
    network.run(lists)
    return {key: len(answer) for key, answer in network.said.items()}


def test_lengths_are_functions_of_the_terms() -> None:
    of = terms(3, cap=20)
    many = {site: [number.to_bytes(1, "big") for number in range(20)] for site in of.sites}
    none: dict[str, Any] = {site: [] for site in of.sites}
    found = lengths(many, of)
    assert found == lengths(none, of)
    one_list, marks = 20 * 33 + 16, 3 + 16
    assert (of.list_box_bytes, of.marks_box_bytes) == (one_list, marks)
    assert {found["keys", site] for site in of.sites} == {SET_UP_BYTES}
    assert [found["blind", site] for site in of.sites] == [2 * one_list, one_list, one_list]
    assert [found["exchange", site] for site in of.sites] == [0, one_list, one_list]
    assert [found["compare", "ada"], found["learn", "bob"]] == [2 * marks, 0]
    asked = {key: length for key, length in found.items() if key[0] != "meet"}
    assert asked == {(task, site): of.answer_bytes(task, site) for task, site in asked}  # type: ignore[arg-type]


OWN = {"ada": [*TASKS[:4], "compare"], "bob": [*TASKS[:4], "learn"]}
WRONG = [
    (site, done, asked)
    for site, own in OWN.items()
    for done, asked in itertools.product(own, TASKS)
    if asked not in own[own.index(done) + 1 : own.index(done) + 2]
]


@pytest.mark.parametrize(("site", "done", "asked"), WRONG)
def test_no_other_order(site: str, done: str, asked: str) -> None:
    """After `done`, only the next question of the site's role is answered."""
    network = Network(terms())
    network.run({"ada": names("a"), "bob": names("a")}, until=done)
    found = network.machines[site]
    call = {"keys": found.keys, "blind": lambda: found.blind([])}.get(asked) or (lambda: getattr(found, asked)(b""))
    with pytest.raises(ProtocolError, match=r"not asked now|no question for"):
        call()
    assert isinstance(found._state, Ended)
    with pytest.raises(ProtocolError):
        found.keys()


def test_no_result_before_the_end_or_after_it() -> None:
    network, lists = Network(terms()), {"ada": names("a"), "bob": names("a")}
    for task in TASKS[:-1]:
        network.step(task, lists)
        with pytest.raises(ProtocolError, match="there is no result"):
            _ = network.machines["bob"].alignment
    network.step("learn", lists)
    network.machines["bob"].close()
    with pytest.raises(ProtocolError, match="there is no result"):
        _ = network.machines["bob"].alignment


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sites": ("ada",)}, "1 sites"),
        ({"sites": ("ada", "ada")}, "each once"),
        ({"leader": "eve"}, "the leader eve is none"),
        ({"cap": 0}, "a cap of 0"),
        ({"cap": 200_001}, "a cap of 200001"),
    ],
)
def test_no_terms(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ProtocolError, match=expected):
        terms(**changes)


def test_a_stranger_takes_no_part() -> None:
    with pytest.raises(ProtocolError, match="eve is no site of the job"):
        machine("eve", terms())


def test_every_field_of_the_terms_is_in_their_digest() -> None:
    changed: list[dict[str, Any]] = [
        {"envelope_digest": "cd" * 32}, {"job_id": "other"}, {"sites": ("bob", "ada")}, {"leader": "bob"}, {"cap": 9},
        {"nonce": "f" * 32},
    ]  # fmt: skip
    assert len({terms(**change).digest() for change in [{}, *changed]}) == 7
