"""All attacks against all defences: which duels there are, and running them in a few processes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from almoner.errors import PolicyViolation
from almoner.redteam.poisoning.catalogue import NO_ATTACK
from almoner.redteam.poisoning.defences import Defence, PlainSum
from almoner.redteam.poisoning.duel import Arena, Duel, Score, run_duel

Progress = Callable[[int, int], None]
"""(duels done, duels in all)."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Which duels are fought: each attack and none, against each defence and the plain sum.

    Args:
        attacks: names of the catalogue.
        defences: what they meet.
        num_byzantine: each f.
        seeds: of the runs.
    """

    attacks: tuple[str, ...]
    defences: tuple[Defence, ...]
    num_byzantine: tuple[int, ...]
    seeds: tuple[int, ...]

    def refusals(self, num_sites: int) -> dict[tuple[str, int], str]:
        """Return why a defence promises nothing at an f, by (defence, f)."""
        found = {}
        for defence in self.defences:
            for byzantine in self.num_byzantine:
                try:
                    defence.verify_condition(num_sites, byzantine)
                except PolicyViolation as error:
                    found[defence.name, byzantine] = str(error)
        return found

    def duels(self, num_sites: int) -> list[Duel]:
        """Return all duels but those with a defence that promises nothing at their f."""
        refused = self.refusals(num_sites)
        return [
            Duel(attack, defence, byzantine, seed)
            for byzantine in self.num_byzantine
            for defence in dict.fromkeys((PlainSum(), *self.defences))
            for attack in dict.fromkeys((NO_ATTACK, *self.attacks))
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
    found: dict[Duel, Score] = {}
    for duel, score in _in_this_process(arena, duels) if processes == 1 else _in_pool(arena, duels, processes):
        found[duel] = score
        progress(len(found), len(duels))
    return {duel: found[duel] for duel in duels}


def _in_this_process(arena: Arena, duels: list[Duel]) -> Iterator[tuple[Duel, Score]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small batches: threads cost more than they bring
    try:
        for duel in duels:
            yield duel, run_duel(arena, duel)
    finally:
        torch.set_num_threads(threads)


def _in_pool(arena: Arena, duels: list[Duel], processes: int) -> Iterator[tuple[Duel, Score]]:
    """Yield scores as they come; a spawned process gets the arena once."""
    with ProcessPoolExecutor(processes, get_context("spawn"), _enter, (arena,)) as pool:
        try:
            running = {pool.submit(_run, duel): duel for duel in duels}
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


_entered: list[Arena] = []


def _enter(arena: Arena) -> None:
    """Begin a process of the pool."""
    torch.set_num_threads(1)
    _entered.append(arena)


def _run(duel: Duel) -> Score:
    """Run a duel in a process of the pool."""
    return run_duel(_entered[0], duel)
