"""Puts a released number into one plain sentence, for a reader who knows no statistics."""

import math

from almoner.schema.answer import Answer
from almoner.schema.queries import Query, ShareQuery
from almoner.schema.statistics import StatisticsSpec


def sentence(answer: Answer, spec: StatisticsSpec, query: Query) -> str:
    """Return the sentence for a number; its interval is rounded outwards."""
    about, unit = _about(answer, query), spec.privacy_unit
    where = _where(answer, query)
    if answer.suppressed:
        return f"{about}{where}: not told, since the noisy count of {unit}s in it is below {spec.min_count}."
    if answer.value is None or answer.lower is None or answer.upper is None:
        return f"{about}{where}: hidden by the noise: too few {unit}s to tell."
    scale = 100.0 if answer.statistic == "share" else 1.0
    sign = " %" if answer.statistic == "share" else ""
    value, lower, upper = answer.value * scale, answer.lower * scale, answer.upper * scale
    digits = 0 if answer.statistic == "count" else _digits(upper - lower)
    shown = f"{value:.{digits}f}{sign}"
    low, high = _floor(lower, digits), -_floor(-upper, digits)
    sure = f"confidence {spec.confidence * 100:g} %, ε={answer.epsilon:.3g}"
    return (
        f"{about}{where}: about {shown}; without the noise that protects every single {unit} it would be between "
        f"{low:.{digits}f} and {high:.{digits}f}{sign} ({sure})."
    )


def _about(answer: Answer, query: Query) -> str:
    """Return what a number is of."""
    if answer.statistic == "count":
        return "Number of records"
    if answer.statistic == "share" and isinstance(query, ShareQuery):
        return f"Share with {answer.of} {' or '.join(query.values)}"
    if answer.statistic == "quantile" and answer.prob is not None:
        return f"Median {answer.of}" if answer.prob == 0.5 else f"{answer.prob * 100:g} % quantile of {answer.of}"
    return f"{answer.statistic.replace('_', ' ').capitalize()} of {answer.of}"


def _where(answer: Answer, query: Query) -> str:
    """Return the group that a number is restricted to, in words."""
    limits = [f"{column} {label}" for column, label in answer.group.items()]
    limits += [f"{column} {' or '.join(values)}" for column, values in query.where.items()]
    return f" where {', '.join(limits)}" if limits else ""


def _digits(width: float) -> int:
    """Return the decimals that show two digits of an interval's width."""
    return max(0, 1 - math.floor(math.log10(width))) if width > 0 else 2


def _floor(value: float, digits: int) -> float:
    """Round down to so many decimals, forgiving the last bit of the number's own rounding."""
    power = 10.0**digits
    return math.floor(value * power + 1e-9) / power
