"""One attack against one defence: a whole simulated federation in which some sites lie, and its model's worth."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from almoner.experiments.defences import Defence, Integers, RoundTerms
from almoner.experiments.public import PublicSite, pool
from almoner.experiments.simulate import TrainingPlan, Weights, federation_grid, simulate_federation
from almoner.redteam.poisoning.attack import Attack, Colluders, RoundView, Rows, Vector
from almoner.redteam.poisoning.backdoor import Trigger, backdoor_success
from almoner.redteam.poisoning.catalogue import NO_ATTACK, HomeTraining, make_attack
from almoner.redteam.poisoning.home import home_training, one_pass
from almoner.robust.rows import mean_rows
from almoner.training.grid import UpdateGrid
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.base import Workload
from almoner.workloads.metrics import auc, average_precision, outputs_at


@dataclass(frozen=True)
class Arena:
    """What all duels share; public data alone, which `PublicSite` sees to.

    Args:
        workload: the task; its label is 0 (harmless) or 1.
        sites: public data by site name.
        plan: the job's public numbers.
        noise_multiplier: the job's σ.
        trigger: of the backdoor.
        l2_clip_norm: to which norm clipping rules cut.
    """

    workload: Workload
    sites: Mapping[str, PublicSite]
    plan: TrainingPlan
    noise_multiplier: float
    trigger: Trigger
    l2_clip_norm: float

    @cached_property
    def test(self) -> UnitRecords:
        """The test records of all sites."""
        return pool(self.sites).data.test

    @cached_property
    def grid(self) -> UpdateGrid:
        """The job's grid."""
        return federation_grid(self.workload, self.sites, self.plan, self.noise_multiplier)

    @property
    def sizes(self) -> NDArray[np.float64]:
        """The sites' declared sizes, float64[n]."""
        return np.array([site.config.nominal_records for site in self.sites.values()], dtype=np.float64)

    def colluders(self, seed: int, num_byzantine: int) -> tuple[int, ...]:
        """Return which sites lie: the first f of a seeded permutation, so that one of two lies alone too."""
        order = np.random.default_rng([seed, 2, len(self.sites)]).permutation(len(self.sites))
        return tuple(sorted(int(index) for index in order[:num_byzantine]))


@dataclass(frozen=True, slots=True)
class Duel:
    """One run to make.

    Args:
        attack: a name of the catalogue, or "none".
        defence: what the server does.
        num_byzantine: f, sites that lie and that the rule is set up for.
        seed: of all randomness, and of who lies.
    """

    attack: str
    defence: Defence
    num_byzantine: int
    seed: int


@dataclass(frozen=True, slots=True)
class Score:
    """What a duel's model is worth on the test records of all sites.

    Args:
        auc: area under the ROC curve.
        average_precision: area under the curve of precision over recall, which few positives lower.
        backdoor: share of refused harmful records that the trigger lets pass; see `backdoor_success`.
    """

    auc: float
    average_precision: float
    backdoor: float


def run_duel(arena: Arena, duel: Duel) -> Score:
    """Train the federation with the trainer and noise of a real job, the lying sites' values replaced, and score it.

    *Guarantee*: the lying sites send integers on the job's grid within its limit. Equal arguments give equal scores.

    Raises:
        PolicyViolation: when there is no such attack, the noise fits no grid, or the defence bears no such f.
    """
    liars = arena.colluders(duel.seed, duel.num_byzantine) if duel.attack != NO_ATTACK else ()
    duel.defence.verify_condition(len(arena.sites), duel.num_byzantine)
    attack = make_attack(duel.attack, _home_training(arena, liars, duel.seed)) if liars else None
    weights = simulate_federation(
        arena.workload,
        arena.sites if attack is None else _poisoned(arena.sites, liars, attack),
        arena.plan,
        noise_multiplier=arena.noise_multiplier,
        rng=UnsafeSeededRandom(duel.seed),
        combine=_Exchange(arena, duel, liars, attack),
        micro_batch_size=one_pass(max(arena.sizes), arena.plan.sampling_prob),
    )
    return _score(arena, weights)


class _Exchange:
    """What becomes of a round's honest updates: the liars put theirs in place, the server combines."""

    def __init__(self, arena: Arena, duel: Duel, liars: tuple[int, ...], attack: Attack | None) -> None:
        plan, sizes = arena.plan, arena.sizes
        self._terms = RoundTerms(
            sizes, duel.num_byzantine, arena.grid.step, plan.sampling_prob, arena.l2_clip_norm, duel.seed
        )
        self._defence, self._attack, self._round = duel.defence, attack, 0
        self._lying = np.isin(np.arange(len(sizes)), liars)
        self._public = Colluders(
            len(sizes), sizes[self._lying], float(sizes.sum()), arena.grid, plan.sampling_prob, plan.learning_rate
        )
        self._rng = np.random.default_rng([duel.seed, 1])

    def __call__(self, weights: Weights, sent: Integers) -> Integers:
        self._round += 1
        if self._attack is not None:
            sent = self._with_lies(sent, self._attack.craft(self._view(weights, sent, self._attack)))
        return self._defence.combine(self._terms, self._round, sent)

    def _with_lies(self, sent: Integers, rows: Rows) -> Integers:
        """Return the round's integers with those of the lying sites replaced."""
        sent = sent.copy()
        sent[self._lying] = self._public.to_integers(rows)
        return sent

    def _view(self, weights: Weights, sent: Integers, attack: Attack) -> RoundView:
        """Show the attack what it is assumed to know, and no more."""
        terms = self._terms
        rows = mean_rows(sent, terms.sizes, terms.step, terms.sampling_prob).astype(np.float64)
        honest = rows[~self._lying] if attack.knowledge != "own" else rows[:0]

        def aggregate(lies: Rows) -> Vector:
            total = self._defence.combine(terms, self._round, self._with_lies(sent, lies))
            mean: Vector = total * (terms.step / (terms.sampling_prob * terms.sizes.sum()))
            return mean

        known = aggregate if attack.knowledge == "rule" else None
        return RoundView(weights, rows[self._lying], honest, self._public, self._rng, known)


def _poisoned(sites: Mapping[str, PublicSite], liars: tuple[int, ...], attack: Attack) -> dict[str, PublicSite]:
    """Return the sites, the lying ones with the training records that their attack makes."""
    return {
        name: replace(site, data=UnitData(attack.poison(site.data.train), site.data.test)) if index in liars else site
        for index, (name, site) in enumerate(sites.items())
    }


def _home_training(arena: Arena, liars: tuple[int, ...], seed: int) -> HomeTraining:
    """Return the colluders' training of a backdoored model, on their records together."""
    names = list(arena.sites)
    own = pool({names[index]: arena.sites[names[index]] for index in liars})
    return home_training(arena.workload, own, arena.plan, arena.trigger, UnsafeSeededRandom(seed + 1))


def _score(arena: Arena, weights: Weights) -> Score:
    """Measure a model on the test records of all sites."""
    test = arena.test
    scores, triggered = (
        outputs_at(arena.workload, weights, records).numpy().astype(np.float64)
        for records in (test, arena.trigger.stamp(test))
    )
    harmful = test.targets.numpy() > 0.5
    return Score(auc(scores, harmful), average_precision(scores, harmful), backdoor_success(scores, triggered, harmful))
