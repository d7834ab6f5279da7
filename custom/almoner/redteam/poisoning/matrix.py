"""All attacks against all defences: which duels there are, and running them in a few processes."""

from dataclasses import dataclass
from functools import partial

from almoner.errors import PolicyViolation
from almoner.experiments.defences import Defence, PlainSum
from almoner.experiments.parallel import Progress, run_all
from almoner.redteam.poisoning.catalogue import NO_ATTACK
from almoner.redteam.poisoning.duel import Arena, Duel, Score, run_duel


@dataclass(frozen=True, slots=True)
class Contest:
    """Which duels are fought: each attack and none, against each defence and the plain sum.

    Args:
        num_sites: n.
        attacks: names of the catalogue.
        defences: what they meet.
        num_byzantine: each f.
        seeds: of the runs.

    Raises:
        PolicyViolation: when an f is not between 1 and half of the sites.
    """

    num_sites: int
    attacks: tuple[str, ...]
    defences: tuple[Defence, ...]
    num_byzantine: tuple[int, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for byzantine in self.num_byzantine:
            if not 1 <= byzantine < self.num_sites / 2:
                raise PolicyViolation(
                    f"num_byzantine {byzantine}: with {self.num_sites} sites no rule bears it → 1 up to less than half"
                )

    @property
    def rows(self) -> tuple[Defence, ...]:
        """The defences in order, the plain sum first."""
        return tuple(dict.fromkeys((PlainSum(), *self.defences)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The attacks in order, none first."""
        return tuple(dict.fromkeys((NO_ATTACK, *self.attacks)))

    @property
    def refusals(self) -> dict[tuple[str, int], str]:
        """Why a defence promises nothing at an f, by (defence, f)."""
        found = {}
        for defence in self.rows:
            for byzantine in self.num_byzantine:
                try:
                    defence.verify_condition(self.num_sites, byzantine)
                except PolicyViolation as error:
                    found[defence.name, byzantine] = str(error)
        return found

    @property
    def duels(self) -> list[Duel]:
        """All duels but those with a defence that promises nothing at their f."""
        refused = self.refusals
        return [
            Duel(attack, defence, byzantine, seed)
            for byzantine in self.num_byzantine
            for defence in self.rows
            for attack in self.columns
            for seed in self.seeds
            if (defence.name, byzantine) not in refused
        ]


def run_duels(arena: Arena, duels: list[Duel], processes: int, progress: Progress) -> dict[Duel, Score]:
    """Run duels, some at a time.

    *Guarantee*: scores and their order do not depend on the number of processes.

    Args:
        arena: public data and public numbers.
        duels: what to run.
        processes: how many at a time; 1 runs all in this process.
        progress: is told after each.
    """
    return run_all(partial(run_duel, arena), duels, processes, progress)
