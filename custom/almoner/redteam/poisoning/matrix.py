"""All attacks against all defences: which duels there are, and running them in a few processes."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context, parent_process

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
    """Begin a process of the pool; it ends when the command is killed, which the pool's own processes outlive."""
    torch.set_num_threads(1)
    _entered.append(arena)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the end of the process that made this one."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _run(duel: Duel) -> Score:
    """Run a duel in a process of the pool."""
    return run_duel(_entered[0], duel)
