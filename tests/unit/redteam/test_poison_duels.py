"""Attacks succeed against the plain sum and fail against a rule that bears them, on a small synthetic federation."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from poison_cases import NUM_TRAIN, config, make_arena, records

from almoner.errors import PolicyViolation
from almoner.experiments.defences import GroupedRule, PlainSum, RobustRule, RoundTerms
from almoner.experiments.public import PublicSite
from almoner.redteam.poisoning.catalogue import ATTACKS, NO_ATTACK
from almoner.redteam.poisoning.defences import DEFENCES
from almoner.redteam.poisoning.duel import Arena, Duel, Score, run_duel
from almoner.redteam.poisoning.matrix import Contest, run_duels
from almoner.redteam.poisoning.summary import Summary, summarise
from almoner.training.units import UnitData

MEDIAN, MIXED = RobustRule("median"), RobustRule("trimmed_mean", ("nearest_neighbour_mixing",))
RUINOUS = ("sign_flip", "gaussian", "inner_product", "adaptive")
"""Attacks that cost the plain sum more than the tolerance here."""


SMALL_MATRIX = {
    "none": (0.903, 0.903, 0.903),
    "model_replacement": (0.865, 0.901, 0.902),
    "sign_flip": (0.121, 0.900, 0.902),
    "gaussian": (0.859, 0.902, 0.902),
    "label_flip": (0.898, 0.901, 0.902),
    "little_is_enough": (0.902, 0.902, 0.902),
    "inner_product": (0.099, 0.902, 0.902),
    "inner_product_small": (0.902, 0.902, 0.902),
    "min_max": (0.902, 0.902, 0.902),
    "min_sum": (0.902, 0.902, 0.902),
    "mimic": (0.901, 0.900, 0.901),
    "adaptive": (0.221, 0.902, 0.902),
}
"""AUC under the plain sum, the median, and the trimmed mean after mixing; f=2, seed 0."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def arena() -> Arena:
    return make_arena()


@pytest.fixture(scope="module")
def scores(arena: Arena) -> dict[Duel, Score]:
    told: list[tuple[int, int]] = []
    contest = contest_of(arena)
    found = run_duels(arena, contest.duels, 1, lambda done, total: told.append((done, total)))
    assert told == [(number, len(contest.duels)) for number in range(1, len(contest.duels) + 1)]
    return found


def contest_of(arena: Arena) -> Contest:
    return Contest(len(arena.sites), tuple(ATTACKS), (MEDIAN, MIXED), num_byzantine=(2,), seeds=(0,))


@pytest.fixture(scope="module")
def summary(arena: Arena, scores: dict[Duel, Score]) -> Summary:
    return summarise(contest_of(arena), scores)


def test_honest_sites_learn(summary: Summary) -> None:
    assert summary.clean.auc > 0.85


@pytest.mark.threat("T-40")
@pytest.mark.parametrize("attack", RUINOUS)
def test_an_attack_ruins_the_plain_sum_and_not_a_robust_rule(attack: str, summary: Summary) -> None:
    assert summary.cells[attack, "plain_sum", 2].auc < summary.clean.auc - 0.03
    for rule in (MEDIAN, MIXED):
        assert summary.cells[attack, rule.name, 2].keeps_auc


@pytest.mark.threat("T-40")
def test_no_attack_beats_the_rules(summary: Summary) -> None:
    assert [(cell.attack, cell.defence) for cell in summary.lost() if not cell.keeps_auc] == []


@pytest.mark.threat("T-41")
def test_model_replacement_opens_a_backdoor_in_the_plain_sum_and_not_through_mixing(summary: Summary) -> None:
    """Honest sites say nothing about the trigger's features: the median lets it half in, and the table says so."""
    plain, median, mixed = (
        summary.cells["model_replacement", defence.name, 2] for defence in (PlainSum(), MEDIAN, MIXED)
    )
    assert plain.backdoor > 0.9
    assert not plain.keeps_backdoor_shut
    assert not median.keeps_backdoor_shut
    assert median in summary.lost()
    assert mixed.keeps_backdoor_shut
    assert mixed.backdoor < 0.1


def test_the_small_matrix_is_as_it_was(summary: Summary) -> None:
    assert summary.contest.columns == tuple(SMALL_MATRIX)
    for attack, expected in SMALL_MATRIX.items():
        found = [summary.cells[attack, row.name, 2].auc for row in summary.contest.rows]
        assert found == pytest.approx(expected, abs=0.005), attack


def test_equal_arguments_give_equal_scores_and_other_seeds_others(arena: Arena, scores: dict[Duel, Score]) -> None:
    duel = Duel("gaussian", MEDIAN, 2, 0)
    assert run_duel(arena, duel) == scores[duel]
    assert run_duel(arena, replace(duel, seed=1)) != scores[duel]


def test_of_two_lying_sites_one_lies_alone(arena: Arena) -> None:
    drawn = {arena.colluders(seed, 2) for seed in range(20)}
    assert len(drawn) > 5
    for seed in range(20):
        assert set(arena.colluders(seed, 1)) < set(arena.colluders(seed, 2))


def test_a_duel_is_the_same_in_another_process(arena: Arena, scores: dict[Duel, Score]) -> None:
    duels = [Duel(NO_ATTACK, MEDIAN, 2, 0), Duel("mimic", MEDIAN, 2, 0)]
    assert run_duels(arena, duels, 2, lambda done, total: None) == {duel: scores[duel] for duel in duels}


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.name)
def test_a_defence_keeps_to_the_grid_and_bears_what_it_promises(defence: RobustRule) -> None:
    """Nine equal sites and one that sends the limit: every defence returns about what the nine send."""
    terms = RoundTerms(np.full(10, 200.0), 1, step=2.0**-6, sampling_prob=0.5, l2_clip_norm=0.3, seed=3)
    sent = np.tile(np.arange(-600, 600, 100, dtype=np.int64), (10, 1))
    sent[4] = 32_767
    defence.verify_condition(10, 1)
    total = defence.combine(terms, 1, sent)
    assert total.dtype == np.int64
    honest = 10 * sent[0]
    if isinstance(defence, PlainSum):
        assert (total == sent.sum(axis=0)).all()
    else:
        assert np.abs(total - honest).max() <= 0.3 * np.abs(honest).max() + 2


def test_groups_are_drawn_once_and_spoiled_as_a_whole() -> None:
    terms = RoundTerms(np.full(10, 200.0), 1, step=2.0**-6, sampling_prob=0.5, l2_clip_norm=4.0, seed=3)
    defence = GroupedRule("median", 3)
    groups = defence.draw(10, terms)
    assert sorted(len(group) for group in groups) == [3, 3, 4]
    assert sorted(np.concatenate(groups)) == list(range(10))
    assert all((one == two).all() for one, two in zip(groups, defence.draw(10, terms), strict=True))
    sent = np.full((10, 3), 100, dtype=np.int64)
    sent[groups[0]] = 32_767
    assert defence.combine(terms, 1, sent).tolist() == [1000, 1000, 1000]
    sent[groups[1][0]] = 32_767
    assert defence.combine(terms, 1, sent)[0] > 10_000


def test_defences_that_promise_nothing_are_not_run() -> None:
    contest = Contest(10, ("mimic",), (RobustRule("bulyan"), GroupedRule("median", 3)), (1, 2), (0, 1))
    assert set(contest.refusals) == {("bulyan", 2), ("3_groups_median", 2)}
    assert "bulyan needs 11 rows" in contest.refusals["bulyan", 2]
    assert len(contest.duels) == 2 * 2 * (3 + 1)
    assert len(set(contest.duels)) == len(contest.duels)


def test_a_duel_with_a_defence_that_promises_nothing_is_refused(arena: Arena) -> None:
    with pytest.raises(PolicyViolation, match="bulyan needs 11 rows"):
        run_duel(arena, Duel(NO_ATTACK, RobustRule("bulyan"), 2, 0))


def test_no_arena_without_registered_public_data() -> None:
    part = records(np.random.default_rng(0), NUM_TRAIN, 0.0)
    with pytest.raises(PolicyViolation, match="not registered public"):
        PublicSite(config(public=False), UnitData(part, part))
