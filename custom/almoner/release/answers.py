"""Reads the noised integers of a request: every number with its interval, its cost, and a sentence."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from almoner.privacy.rdp import rdp_epsilon, total_rdp
from almoner.privacy.statistics_plan import centre, statistics_parts
from almoner.release.estimates import (
    Draws,
    Estimate,
    of_count,
    of_function,
    of_quantile,
    of_sum,
    possible_noise,
    ratio,
    share,
    variance,
)
from almoner.release.laws import NoiseLaw, PartNoise
from almoner.release.sentences import sentence
from almoner.schema.answer import Answer, Statistic
from almoner.schema.columns import CategoryColumn
from almoner.schema.queries import (
    CountQuery,
    HistogramQuery,
    MeanQuery,
    QuantilesQuery,
    Query,
    ShareQuery,
    SumQuery,
    TableQuery,
    VarianceQuery,
)
from almoner.schema.receipt import PrivacyEvent, PureRelease, ZcdpRelease
from almoner.schema.statistics import StatisticsSpec

Cells = NDArray[np.int64]


@dataclass(frozen=True)
class Number:
    """One number before it is put into words.

    Args:
        group: column → category or bin.
        records: the noised count that `min_count` is compared with.
    """

    statistic: Statistic
    of: str
    group: dict[str, str]
    records: int
    estimate: Estimate
    prob: float | None = None


def interpret(spec: StatisticsSpec, cells: Cells, noise: tuple[PartNoise, ...]) -> tuple[Answer, ...]:
    """Read a request's noised integers.

    *Guarantee*: a function of what was released and of public declarations, so it costs nothing. Each interval holds
    the number that there would be without noise with the spec's confidence, each by itself, before cells below
    `min_count` are left out; a quantile's nearly so, where bins are many and records few (measured: 92.5 % for 95 %
    with 31 bins and 20 records).

    Args:
        cells: int64[D], of one site or added up.
        noise: law and event of each part; see `local_noise`.
    """
    answers: list[Answer] = []
    parts = tuple(zip(statistics_parts(spec), noise, strict=True))
    for place, query in enumerate(spec.queries):
        own = [(part, it) for part, it in parts if part.query == place]
        reader = _Reader(spec, query, [cells[part.cells] for part, _ in own], tuple(it.law for _, it in own))
        events = tuple(it.event for _, it in own)
        answers += [_answer(spec, query, number, events) for number in reader.numbers()]
    return tuple(answers)


def query_epsilon(spec: StatisticsSpec, events: tuple[PrivacyEvent, ...]) -> tuple[float, float, float | None]:
    """Return ε, δ and ρ of what one query was charged; ρ is None where ε is pure."""
    if all(isinstance(event, PureRelease) for event in events):
        return sum(event.epsilon * event.count for event in events if isinstance(event, PureRelease)), 0.0, None
    return rdp_epsilon(events, spec.target_delta), spec.target_delta, total_rdp(events, 2) / 2


def _answer(spec: StatisticsSpec, query: Query, number: Number, events: tuple[PrivacyEvent, ...]) -> Answer:
    """Put one number into its final form."""
    epsilon, delta, rho = query_epsilon(spec, events)
    suppressed = spec.min_count > 0 and number.records < spec.min_count
    assumptions = sorted({event.assumption for event in events if isinstance(event, ZcdpRelease)} - {""})
    answer = Answer(
        query=query.name,
        statistic=number.statistic,
        of=number.of,
        prob=number.prob,
        group=number.group,
        value=None if suppressed else number.estimate.value,
        lower=None if suppressed else number.estimate.lower,
        upper=None if suppressed else number.estimate.upper,
        confidence=spec.confidence,
        suppressed=suppressed,
        mechanism=spec.privacy.mechanism,
        epsilon=epsilon,
        delta=delta,
        rho=rho,
        privacy_unit=spec.privacy_unit,
        neighboring_relation=spec.neighboring_relation,
        assumption="; ".join(assumptions),
        sentence="",
    )
    return answer.model_copy(update={"sentence": sentence(answer, spec, query)})


class _Reader:
    """Reads the numbers of one query.

    Args:
        parts: the noised cells of each part, groups first.
        laws: of the noise of each part.
    """

    def __init__(self, spec: StatisticsSpec, query: Query, parts: list[Cells], laws: tuple[NoiseLaw, ...]) -> None:
        self._spec, self._query, self._laws = spec, query, laws
        self._groups = list(self._labels(query.by))
        self._parts = [part.reshape(len(self._groups), -1) for part in parts]
        self._noise: tuple[Draws, ...] = ()

    def numbers(self) -> Iterator[Number]:
        """Return all numbers, group by group."""
        if isinstance(self._query, MeanQuery | VarianceQuery):
            self._noise = possible_noise(self._laws)
        elif isinstance(self._query, ShareQuery):
            self._noise = possible_noise(self._laws * 2)
        for place, group in enumerate(self._groups):
            yield from self._of_group(group, [part[place] for part in self._parts])

    def _of_group(self, group: dict[str, str], parts: list[Cells]) -> Iterator[Number]:
        """Return the numbers of one group; one row of each part."""
        confidence = self._spec.confidence
        match self._query:
            case CountQuery():
                yield self._count(group, int(parts[0][0]))
            case SumQuery(column=column):
                step = self._step(column)
                found = _scaled(of_sum(int(parts[1][0]), self._laws[1], confidence), step, 0.0)
                yield Number("sum", column, group, int(parts[0][0]), found)
            case MeanQuery(column=column) | VarianceQuery(column=column):
                yield from self._moments(column, group, tuple(int(part[0]) for part in parts))
            case ShareQuery(column=column):
                chosen, others = (int(cell) for cell in parts[0])
                found = of_function(share, (chosen, others), self._noise, (0.0, 1.0), confidence)
                yield Number("share", column, group, chosen + others, found)
            case TableQuery(columns=columns):
                for labels, cell in zip(self._labels(columns), parts[0], strict=True):
                    yield self._count({**group, **labels}, int(cell))
            case HistogramQuery(column=column, bin_steps=steps):
                for label, cell in zip(self._bins(column, steps), parts[0], strict=True):
                    yield self._count({**group, column: label}, int(cell))
            case QuantilesQuery(column=column, bin_steps=steps, probs=probs):
                for prob in probs:
                    found = of_quantile(parts[0], prob, self._laws[0], confidence)
                    found = self._bin_ends(found, column, steps)
                    yield Number("quantile", column, group, int(parts[0].sum()), found, prob)

    def _count(self, group: dict[str, str], cell: int) -> Number:
        """Return the count of one cell."""
        return Number("count", "", group, cell, of_count(cell, self._laws[0], self._spec.confidence))

    def _moments(self, column: str, group: dict[str, str], cells: tuple[int, ...]) -> Iterator[Number]:
        """Return mean, and for a variance query variance and standard deviation."""
        at, step, confidence = centre(self._spec, column), self._step(column), self._spec.confidence
        around = float(at.low - at.middle), float(at.high - at.middle)
        mean = of_function(ratio, cells[:2], self._noise[:2], around, confidence)
        yield Number("mean", column, group, cells[0], _scaled(mean, step, at.middle * step))
        if len(cells) == 3:
            most = ((at.high - at.low) / 2) ** 2
            spread = of_function(variance(at.half_square), cells, self._noise, (0.0, most), confidence)
            yield Number("variance", column, group, cells[0], _scaled(spread, step * step, 0.0))
            yield Number("standard_deviation", column, group, cells[0], _scaled(_root(spread), step, 0.0))

    def _step(self, name: str) -> float:
        """Return the step of a column of numbers."""
        column = self._spec.columns[name]
        return 1.0 if isinstance(column, CategoryColumn) else column.step

    def _labels(self, names: tuple[str, ...]) -> Iterator[dict[str, str]]:
        """Return all combinations of the categories of some columns, in the order of cells."""
        for labels in product(*(self._bins(name, 1) for name in names)):
            yield dict(zip(names, labels, strict=True))

    def _bins(self, name: str, steps: int) -> list[str]:
        """Return the categories of a column, or its bins in words."""
        column = self._spec.columns[name]
        if isinstance(column, CategoryColumn):
            return list(column.values)
        ends = [self._ends(name, place, steps) for place in range(self._spec.num_bins_of(name, steps))]
        return [f"{low:.10g}" if steps == 1 else f"{low:.10g} to {high:.10g}" for low, high in ends]

    def _ends(self, name: str, place: int, steps: int) -> tuple[float, float]:
        """Return the least and greatest value of a bin."""
        at, step = centre(self._spec, name), self._step(name)
        first = at.low + place * steps
        return first * step, min(first + steps - 1, at.high) * step

    def _bin_ends(self, found: Estimate, name: str, steps: int) -> Estimate:
        """Return a quantile in the column's unit: middle of its bin, outer ends of the interval's bins."""
        lower, upper = self._ends(name, int(found.lower), steps)[0], self._ends(name, int(found.upper), steps)[1]
        value = None if found.value is None else sum(self._ends(name, int(found.value), steps)) / 2
        return Estimate(value, lower, upper)


def _scaled(found: Estimate, step: float, offset: float) -> Estimate:
    """Return an estimate in steps in the column's unit."""
    value = None if found.value is None else found.value * step + offset
    return Estimate(value, found.lower * step + offset, found.upper * step + offset)


def _root(found: Estimate) -> Estimate:
    """Return the standard deviation for a variance."""
    return Estimate(None if found.value is None else found.value**0.5, found.lower**0.5, found.upper**0.5)
