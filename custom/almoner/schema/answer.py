"""One released number with all that is to be known about it."""

from typing import Annotated, Literal

from pydantic import Field

from almoner.schema.base import Model, Name, NeighboringRelation
from almoner.schema.columns import ColumnName
from almoner.schema.statistics import Confidence, Mechanism

Statistic = Literal["count", "sum", "mean", "variance", "standard_deviation", "share", "quantile"]


class Answer(Model):
    """One released number.

    Args:
        query: the query that it answers.
        of: the column that it is about, "" for counts of records.
        prob: of a quantile.
        group: column → category or bin that it is restricted to.
        value: the estimate, in the column's own unit; None where it is suppressed, or the noise hides it.
        lower, upper: the interval; None where it is suppressed.
        confidence: the share of releases whose interval holds the number without noise.
        suppressed: the noisy count of the cell is below `min_count`.
        epsilon, delta: of the whole query at one site, all its groups together.
        rho: the same as ρ-zCDP; None for a pure ε.
        assumption: what the figures rest on beside the mechanism; "" for nothing.
        sentence: for a reader who knows no statistics.
    """

    query: Name
    statistic: Statistic
    of: ColumnName | Literal[""]
    prob: Annotated[float, Field(gt=0, lt=1)] | None
    group: dict[ColumnName, str]
    value: float | None
    lower: float | None
    upper: float | None
    confidence: Confidence
    suppressed: bool
    mechanism: Mechanism
    epsilon: Annotated[float, Field(ge=0)]
    delta: Annotated[float, Field(ge=0, lt=1)]
    rho: Annotated[float, Field(gt=0)] | None
    privacy_unit: Name
    neighboring_relation: NeighboringRelation
    assumption: str
    sentence: str
