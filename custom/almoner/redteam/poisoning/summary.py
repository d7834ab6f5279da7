"""What the duels come to: means over seeds, and where a defence lost."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from almoner.experiments.defences import PlainSum
from almoner.redteam.poisoning.catalogue import BACKDOORS, NO_ATTACK
from almoner.redteam.poisoning.duel import Duel, Score
from almoner.redteam.poisoning.matrix import Contest

AUC_TOLERANCE = 0.01
"""A defence holds while AUC is at most so far below that without attack and defence."""

BACKDOOR_TOLERANCE = 0.1
"""And while a backdoor lets pass at most so much more than the trigger does by itself, without attack and defence."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One attack against one defence, mean over seeds.

    Args:
        attack: name, "none" for honest sites alone.
        defence: name.
        num_byzantine: f.
        auc: mean.
        lowest_auc: of any seed.
        average_precision: mean.
        backdoor: mean of `Score.backdoor`; NaN where a model refused nobody.
        keeps_auc: whether AUC stays within the tolerance.
        keeps_backdoor_shut: whether the trigger lets pass no more than it may; True where the attack plants none.
    """

    attack: str
    defence: str
    num_byzantine: int
    auc: float
    lowest_auc: float
    average_precision: float
    backdoor: float
    keeps_auc: bool
    keeps_backdoor_shut: bool


Key = tuple[str, str, int]
"""(attack, defence, f)."""


@dataclass(frozen=True)
class Summary:
    """A matrix.

    Args:
        contest: what was fought.
        clean: the plain sum of honest updates: what everything is measured against.
        cells: by (attack, defence, f); none where a defence promises nothing.
    """

    contest: Contest
    clean: Cell
    cells: Mapping[Key, Cell]

    def lost(self) -> tuple[Cell, ...]:
        """Return where a robust defence did not hold, in the matrix' order."""
        return tuple(
            cell
            for cell in self.cells.values()
            if cell.defence != PlainSum().name and not (cell.keeps_auc and cell.keeps_backdoor_shut)
        )


def summarise(contest: Contest, scores: Mapping[Duel, Score]) -> Summary:
    """Return the means over seeds, each compared with the plain sum of honest updates.

    Args:
        contest: what was fought.
        scores: of each of its duels.
    """
    grouped: dict[Key, list[Score]] = {}
    for duel, score in scores.items():
        grouped.setdefault((duel.attack, duel.defence.name, duel.num_byzantine), []).append(score)
    reference = (NO_ATTACK, PlainSum().name, contest.num_byzantine[0])
    least_auc = _mean(grouped[reference], "auc") - AUC_TOLERANCE
    most_backdoor = _mean(grouped[reference], "backdoor") + BACKDOOR_TOLERANCE
    cells = {}
    for key, found in grouped.items():
        auc, backdoor = _mean(found, "auc"), _mean(found, "backdoor")
        cells[key] = Cell(
            *key,
            auc=auc,
            lowest_auc=min(score.auc for score in found),
            average_precision=_mean(found, "average_precision"),
            backdoor=backdoor,
            keeps_auc=auc >= least_auc,
            keeps_backdoor_shut=key[0] not in BACKDOORS or backdoor <= most_backdoor,
        )
    return Summary(contest, cells[reference], cells)


def _mean(scores: list[Score], figure: Literal["auc", "average_precision", "backdoor"]) -> float:
    """Return the mean of one figure."""
    return statistics.fmean(getattr(score, figure) for score in scores)
