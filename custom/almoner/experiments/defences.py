"""How a job combines its sites' updates: the plain sum, a robust rule with its pre-aggregations, or a rule over groups.

A defence takes the integers that sites sent and returns what they open as the sum, as the server of a real job does.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from almoner.protection.groups import GroupLayout
from almoner.protection.scheme import VALUE_BOUND
from almoner.robust.conditions import require
from almoner.robust.rows import integer_total, mean_rows
from almoner.robust.rules import make_rule
from almoner.schema.aggregation import (
    CLIPPING,
    GroupRuleKind,
    PreAggregationKind,
    RobustAggregation,
    RuleKind,
    SecaggAggregation,
)
from almoner.schema.job import JobSpec

Integers = NDArray[np.int64]

DEFAULT_CLIP_NORM = 1.0
"""For rules that are tried on a job which clips nothing itself."""


@dataclass(frozen=True, slots=True, eq=False)
class RoundTerms:
    """The public numbers that a defence works with.

    Args:
        sizes: float64[n], declared sizes.
        num_byzantine: f that the rules are set up for.
        step: distance of two grid points.
        sampling_prob: q.
        l2_clip_norm: to which norm is cut what is cut.
        seed: names the draw of groups and the permutations of buckets; public.
    """

    sizes: NDArray[np.float64]
    num_byzantine: int
    step: float
    sampling_prob: float
    l2_clip_norm: float
    seed: int


class Defence(ABC):
    """One way to combine a round's updates."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The defence in words."""

    @abstractmethod
    def verify_condition(self, num_sites: int, num_byzantine: int) -> None:
        """Refuse what the defence does not promise to withstand.

        Raises:
            PolicyViolation: with the paper's condition.
        """

    @abstractmethod
    def combine(self, terms: RoundTerms, number: int, sent: Integers) -> Integers:
        """Return what the sites open as the sum, int64[d].

        Args:
            terms: the public numbers.
            number: of the round.
            sent: int64[n, d].
        """


@dataclass(frozen=True, slots=True)
class PlainSum(Defence):
    """No defence: FedAvg, weighted by declared size."""

    @property
    def name(self) -> str:
        """`plain_sum`."""
        return "plain_sum"

    def verify_condition(self, num_sites: int, num_byzantine: int) -> None:
        """Accept: nothing is promised."""

    def combine(self, terms: RoundTerms, number: int, sent: Integers) -> Integers:
        """Return the sum."""
        total: Integers = sent.sum(axis=0)
        return total


@dataclass(frozen=True, slots=True)
class RobustRule(Defence):
    """A robust rule over single updates.

    Args:
        rule: which one.
        pre: what is done before it.
    """

    rule: RuleKind
    pre: tuple[PreAggregationKind, ...] = ()

    @property
    def name(self) -> str:
        """Such as `nearest_neighbour_mixing+median`."""
        return "+".join((*self.pre, self.rule))

    def verify_condition(self, num_sites: int, num_byzantine: int) -> None:
        """Ask for the rule's own condition; see the base class."""
        require(self.rule, num_sites, num_byzantine, self.pre)

    def combine(self, terms: RoundTerms, number: int, sent: Integers) -> Integers:
        """Apply the rule, and cut its result to what so many sites can sum to, as the server does."""
        bound = len(sent) * VALUE_BOUND
        return np.clip(_apply(self.rule, self.pre, terms, number, sent, terms.sizes), -bound, bound)


@dataclass(frozen=True, slots=True)
class GroupedRule(Defence):
    """A robust rule over the means of groups, clipped first: what secure aggregation in groups leaves to see.

    It computes what `secagg.group_means` does, but for the last bits of a clipped mean.

    Args:
        rule: which one.
        groups: m.
        num_colluding_sites: c; three groups of ten sites can have no more than 1.
    """

    rule: GroupRuleKind
    groups: int
    num_colluding_sites: int = 1

    @property
    def name(self) -> str:
        """Such as `3_groups_median`."""
        return f"{self.groups}_groups_{self.rule}"

    def verify_condition(self, num_sites: int, num_byzantine: int) -> None:
        """Ask for a layout that bears so many; see the base class."""
        self._layout(num_sites, num_byzantine)

    def combine(self, terms: RoundTerms, number: int, sent: Integers) -> Integers:
        """Sum each group, clip the means, apply the rule; see the base class."""
        members = self.draw(len(sent), terms)
        sums = np.stack([sent[group].sum(axis=0) for group in members])
        sizes = np.array([terms.sizes[group].sum() for group in members])
        return _apply(self.rule, ("static_clipping",), terms, number, sums, sizes)

    def draw(self, num_sites: int, terms: RoundTerms) -> list[NDArray[np.int64]]:
        """Return the members of each group, by a seeded permutation in place of the sites' common draw."""
        sizes = self._layout(num_sites, terms.num_byzantine).sizes
        order = np.random.default_rng([terms.seed, num_sites]).permutation(num_sites)
        return np.split(order, np.cumsum(sizes)[:-1])

    def _layout(self, num_sites: int, num_byzantine: int) -> GroupLayout:
        return GroupLayout(num_sites, self.groups, self.num_colluding_sites, num_byzantine, self.rule)


def defence_of(spec: JobSpec) -> Defence:
    """Return the job's own."""
    aggregation = spec.aggregation
    if isinstance(aggregation, RobustAggregation):
        return RobustRule(aggregation.rule, aggregation.pre)
    if isinstance(aggregation, SecaggAggregation) and aggregation.grouping is not None:
        grouping = aggregation.grouping
        return GroupedRule(grouping.rule, grouping.groups, aggregation.num_colluding_sites)
    return PlainSum()


def clip_norm_of(spec: JobSpec) -> float:
    """Return the job's own l2_clip_norm, `DEFAULT_CLIP_NORM` where it has none."""
    own = getattr(spec.aggregation, "l2_clip_norm", None)
    return DEFAULT_CLIP_NORM if own is None else float(own)


def _apply(
    kind: RuleKind,
    pre: tuple[PreAggregationKind, ...],
    terms: RoundTerms,
    number: int,
    sent: Integers,
    sizes: NDArray[np.float64],
) -> Integers:
    """Go from the grid to rows, through a rule, and back to the grid."""
    clip = terms.l2_clip_norm if any(step in CLIPPING for step in (*pre, kind)) else None
    rule = make_rule(kind, terms.num_byzantine, pre, clip, b"%d/%d" % (terms.seed, number))
    vector = rule.aggregate(mean_rows(sent, sizes, terms.step, terms.sampling_prob), sizes).vector
    return integer_total(vector, float(terms.sizes.sum()), terms.step, terms.sampling_prob)
