"""What a request for statistics measures, how far one unit can change it, and what it is charged.

A query is made of one to three measurements ("parts"): vectors of integers, one cell for each group and bin. A
record adds to exactly one cell of a part, and there at most `bound`; so adding or removing one record moves the
part by at most `bound` in the L1, the L2 and the largest norm alike, and not at all if the record is left out.

    count, histogram, table, quantiles   records in a cell                               bound 1
    share                                (chosen, other) records                         bound 1, a record is in one
    sum                                  records; the sum in steps                       max(|low|, |high|)
    mean                                 records; the sum of x - c, c the middle         max(high - c, c - low)
    variance                             records; of v = x - c; of v² - r², r² half way  as the mean; max(r², R² - r²)
"""

from dataclasses import dataclass
from functools import lru_cache

from almoner.privacy.plan import JobPlan, PlannedStep
from almoner.privacy.zcdp import largest_rho
from almoner.schema.columns import CategoryColumn
from almoner.schema.queries import MeanQuery, Query, SumQuery, VarianceQuery
from almoner.schema.receipt import PrivacyEvent, PureRelease, ZcdpRelease
from almoner.schema.statistics import StatisticsSpec

STATISTICS_STEP = "statistics"
"""The one step of a request: it reads the data once, for all queries."""


@dataclass(frozen=True)
class Part:
    """One measurement of a query.

    Args:
        query: place of its query in the request.
        start: its first cell among all of the request.
        num_cells: groups times bins, groups first.
        bound: the most that one record can add to its cell, in absolute value.
        share: of the request's budget.
    """

    query: int
    start: int
    num_cells: int
    bound: int
    share: float

    @property
    def cells(self) -> slice:
        """Its place in the vector of all cells."""
        return slice(self.start, self.start + self.num_cells)


@dataclass(frozen=True)
class Centre:
    """Where a column of numbers is centred, in steps, so that a record adds little.

    Args:
        low, high: the bounds.
        middle: c; a record's x counts as v = x - c.
        half_square: r²; its v² counts as v² - r².
    """

    low: int
    high: int
    middle: int
    half_square: int

    @property
    def reach(self) -> int:
        """The largest |v|, R."""
        return max(self.high - self.middle, self.middle - self.low)


def centre(spec: StatisticsSpec, name: str) -> Centre:
    """Return where a column of numbers is centred."""
    column = spec.columns[name]
    if isinstance(column, CategoryColumn):
        return Centre(0, 0, 0, 0)
    low, high = column.bounds
    middle = (low + high) // 2
    reach = max(high - middle, middle - low)
    return Centre(low, high, middle, reach * reach // 2)


def _bounds(spec: StatisticsSpec, query: Query) -> tuple[int, ...]:
    """Return the bound of each part of a query."""
    match query:
        case SumQuery():
            at = centre(spec, query.column)
            return 1, max(abs(at.low), abs(at.high))
        case MeanQuery():
            return 1, centre(spec, query.column).reach
        case VarianceQuery():
            at = centre(spec, query.column)
            return 1, at.reach, max(at.half_square, at.reach**2 - at.half_square)
        case _:
            return (1,)


@lru_cache(maxsize=64)
def statistics_parts(spec: StatisticsSpec) -> tuple[Part, ...]:
    """Return all measurements of a request, in the order of their cells.

    *Guarantee*: a function of the request alone; the parts' shares add up to the queries'. A query's share is split
    evenly among its parts.
    """
    parts: list[Part] = []
    start = 0
    for place, query in enumerate(spec.queries):
        bounds, groups = _bounds(spec, query), spec.num_groups_of(query)
        for bins, bound in zip(spec.part_bins_of(query), bounds, strict=True):
            parts.append(Part(place, start, groups * bins, bound, query.share / len(bounds)))
            start += groups * bins
    return tuple(parts)


def part_event(spec: StatisticsSpec, part: Part) -> PrivacyEvent:
    """Return what a part is charged where a site noises its own numbers."""
    privacy = spec.privacy
    if privacy.mechanism == "integer_laplace":
        return PureRelease(kind="pure_release", epsilon=privacy.target_epsilon * part.share, count=1)
    rho = largest_rho(privacy.target_epsilon, privacy.target_delta)
    return ZcdpRelease(kind="zcdp_release", rho=rho * part.share, count=1)


def statistics_plan(spec: StatisticsSpec) -> JobPlan:
    """Return the one step of a request at a site that noises its own numbers.

    *Guarantee*: the step is (target_epsilon, target_delta)-DP for one unit under add-or-remove-one; pure
    target_epsilon-DP with integer Laplace.
    """
    events = tuple(part_event(spec, part) for part in statistics_parts(spec))
    return JobPlan(0.0, (PlannedStep(STATISTICS_STEP, events),))
