"""The queries that a request for statistics is made of."""

from typing import Annotated, Literal

from pydantic import Field

from almoner.schema.base import Model, Name
from almoner.schema.columns import Category, ColumnName


class _Query(Model):
    """What all queries have.

    Args:
        share: of the budget.
        by: columns of categories; one answer for each combination.
        where: column → the categories that count; other records are left out.
    """

    name: Name
    share: Annotated[float, Field(gt=0, le=1)]
    by: Annotated[tuple[ColumnName, ...], Field(max_length=3)] = ()
    where: dict[ColumnName, Annotated[tuple[Category, ...], Field(min_length=1)]] = Field(default_factory=dict)


class CountQuery(_Query):
    """How many units there are."""

    kind: Literal["count"]


class SumQuery(_Query):
    """The sum of a column of numbers."""

    kind: Literal["sum"]
    column: ColumnName


class MeanQuery(_Query):
    """The mean of a column of numbers."""

    kind: Literal["mean"]
    column: ColumnName


class VarianceQuery(_Query):
    """Mean, variance (divisor n) and standard deviation of a column of numbers."""

    kind: Literal["variance"]
    column: ColumnName


class ShareQuery(_Query):
    """The share of units whose category is one of `values`."""

    kind: Literal["share"]
    column: ColumnName
    values: Annotated[tuple[Category, ...], Field(min_length=1)]


class HistogramQuery(_Query):
    """Counts of each category, or of each bin of `bin_steps` steps of a column of numbers."""

    kind: Literal["histogram"]
    column: ColumnName
    bin_steps: Annotated[int, Field(ge=1)] = 1


class TableQuery(_Query):
    """Counts of every combination of the categories of two or three columns."""

    kind: Literal["table"]
    columns: Annotated[tuple[ColumnName, ...], Field(min_length=2, max_length=3)]


class QuantilesQuery(_Query):
    """Quantiles of a column of numbers, to a bin of `bin_steps` steps; all of them read off one histogram."""

    kind: Literal["quantiles"]
    column: ColumnName
    probs: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1, max_length=20)]
    bin_steps: Annotated[int, Field(ge=1)] = 1


Query = Annotated[
    CountQuery | SumQuery | MeanQuery | VarianceQuery | ShareQuery | HistogramQuery | TableQuery | QuantilesQuery,
    Field(discriminator="kind"),
]
OfNumbers = SumQuery | MeanQuery | VarianceQuery | QuantilesQuery
"""Queries whose column must be of numbers."""
