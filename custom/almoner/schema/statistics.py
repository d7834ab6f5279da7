"""What an analyst asks for: several statistics of one data set, under one budget whose split is stated.

The request says all that its answers' shape depends on: columns with their bounds and categories, groups, shares
of the budget. Each site compares it with its own data dictionary; everybody else needs the request alone.
"""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from almoner.schema.base import (
    Delta,
    Document,
    Epsilon,
    Model,
    Name,
    NeighboringRelation,
    PlainText,
    TrustModel,
    canonical_json,
)
from almoner.schema.columns import AskedColumn, CategoryColumn, ColumnName
from almoner.schema.job import MIN_TARGET_DELTA, MIN_TARGET_EPSILON
from almoner.schema.queries import (
    CountQuery,
    HistogramQuery,
    MeanQuery,
    OfNumbers,
    QuantilesQuery,
    Query,
    ShareQuery,
    SumQuery,
    TableQuery,
    VarianceQuery,
)

MAX_QUERIES = 100
MAX_CELLS = 10_000
"""Integers that one request may release."""
SHARE_TOLERANCE = 1e-9
MAX_VARIANCE_STEPS = 500_000
"""The widest bounds that a variance is told of, in steps: sums of squares stay exact."""

TrustKind = Literal["local", "distributed"]
Mechanism = Literal["integer_laplace", "discrete_gaussian"]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]


class StatisticsPrivacy(Model):
    """What is protected, and how strongly. No field has a default.

    Args:
        unit: what one neighbour is (patient, account, person).
        mechanism: `integer_laplace` is pure ε-DP, the queries' ε add up to `target_epsilon`; `discrete_gaussian` is
            ρ-zCDP, with the largest ρ that is (target_epsilon, target_delta)-DP.
        target_epsilon: ε of all queries together.
        target_delta: δ at which ε is stated; integer Laplace keeps it at δ=0 too.
    """

    unit: Name
    neighboring_relation: NeighboringRelation
    mechanism: Mechanism
    target_epsilon: Annotated[Epsilon, Field(ge=MIN_TARGET_EPSILON)]
    target_delta: Annotated[Delta, Field(ge=MIN_TARGET_DELTA)]


class LocalTrust(Model):
    """Each site noises its own numbers; the server and the analyst see each site's."""

    kind: Literal["local"]


class DistributedTrust(Model):
    """Sites noise a share each inside secure aggregation, so that only the noised total opens.

    Args:
        num_colluding_sites: sites assumed to tell the server their noise and keys, c.
    """

    kind: Literal["distributed"]
    num_colluding_sites: Annotated[int, Field(ge=1, le=50)]


class StatisticsSpec(Document):
    """One request for statistics: everything that a site needs to decide about it and to answer it.

    Args:
        columns: every column that a query names, with the bounds or categories that it is asked with.
        confidence: of every interval.
        min_count: a cell whose noisy count is below it is not told; 0 tells all.
    """

    kind: Literal["statistics"]
    name: Name
    study: Name
    purpose: PlainText
    dataset: Name
    min_sites: Annotated[int, Field(ge=1, le=50)]
    privacy: StatisticsPrivacy
    trust: Annotated[LocalTrust | DistributedTrust, Field(discriminator="kind")]
    confidence: Confidence
    min_count: Annotated[int, Field(ge=0, le=1_000_000)]
    columns: Annotated[dict[ColumnName, AskedColumn], Field(max_length=100)]
    queries: Annotated[tuple[Query, ...], Field(min_length=1, max_length=MAX_QUERIES)]

    def __hash__(self) -> int:
        return hash(canonical_json(self))

    @property
    def num_colluding_sites(self) -> int:
        """Sites at the server's side that the protection withstands; 0 where it sees every site's numbers anyway."""
        return self.trust.num_colluding_sites if isinstance(self.trust, DistributedTrust) else 0

    @property
    def num_cells(self) -> int:
        """Integers that the request releases, all queries in order."""
        return sum(self.num_cells_of(query) for query in self.queries)

    @property
    def privacy_unit(self) -> str:
        """What one neighbour is."""
        return self.privacy.unit

    @property
    def neighboring_relation(self) -> NeighboringRelation:
        """The relation that ε is for."""
        return self.privacy.neighboring_relation

    @property
    def target_epsilon(self) -> float | None:
        """ε of all queries together."""
        return self.privacy.target_epsilon

    @property
    def target_delta(self) -> float:
        """The δ at which ε is stated."""
        return self.privacy.target_delta

    def trust_model(self, keys_at_site: bool = False) -> TrustModel:
        """Return what the request asks its sites to believe about the server.

        Args:
            keys_at_site: whether every site made its own key, as its roster says.
        """
        if self.trust.kind == "local":
            return "trusted_server"
        return "active_server" if keys_at_site else "semi_honest_server"

    @model_validator(mode="after")
    def _budget_is_split(self) -> "StatisticsSpec":
        if len({query.name for query in self.queries}) != len(self.queries):
            raise ValueError("queries: a name is given twice")
        total = math.fsum(query.share for query in self.queries)
        if abs(total - 1) > SHARE_TOLERANCE:
            raise ValueError(f"queries: the shares add up to {total:.6g}; make them 1")
        if self.trust.kind == "distributed" and self.privacy.mechanism != "discrete_gaussian":
            raise ValueError("trust: distributed noise adds up as discrete_gaussian alone; set privacy.mechanism")
        return self

    @model_validator(mode="after")
    def _columns_fit_the_queries(self) -> "StatisticsSpec":
        used: set[str] = set()
        for query in self.queries:
            used |= self._used_by(query)
        if strays := sorted(set(self.columns) - used):
            raise ValueError(f"columns: {strays[0]} is in no query; remove it")
        if self.num_cells > MAX_CELLS:
            raise ValueError(
                f"queries: they have {self.num_cells} cells, more than {MAX_CELLS}; ask for fewer groups or bins"
            )
        return self

    def _used_by(self, query: Query) -> set[str]:
        """Return the columns that a query names, after checking that each is of a kind that fits."""
        own: tuple[str, ...] = ()
        if isinstance(query, TableQuery):
            own = query.columns
        elif not isinstance(query, CountQuery):
            own = (query.column,)
        if len({*query.by, *own}) < len(query.by) + len(own):
            raise ValueError(f"queries: {query.name} names a column twice")
        named = {*query.by, *query.where, *own}
        if strays := sorted(named - set(self.columns)):
            raise ValueError(f"queries: {query.name} names column {strays[0]}, which is not under columns")
        categorical = own if isinstance(query, TableQuery | ShareQuery) else ()
        for column in (*query.by, *query.where, *categorical):
            if not isinstance(self.columns[column], CategoryColumn):
                raise ValueError(f"queries: {query.name} needs categories, but column {column} is of numbers")
        if isinstance(query, OfNumbers) and isinstance(self.columns[query.column], CategoryColumn):
            raise ValueError(f"queries: {query.name} needs numbers, but column {query.column} is of categories")
        if isinstance(query, VarianceQuery) and self.num_bins_of(query.column) > MAX_VARIANCE_STEPS:
            raise ValueError(
                f"queries: {query.name}: bounds of {query.column} are too many steps apart; ask for larger steps"
            )
        self._check_categories(query)
        return named

    def _check_categories(self, query: Query) -> None:
        """Refuse a choice of categories that the column does not have."""
        chosen = dict(query.where) | ({query.column: query.values} if isinstance(query, ShareQuery) else {})
        for column, values in chosen.items():
            known = self.columns[column]
            if isinstance(known, CategoryColumn) and (strays := sorted(set(values) - set(known.values))):
                raise ValueError(f"queries: {query.name}: {strays[0]} is not a category of {column}")

    def num_groups_of(self, query: Query) -> int:
        """Return the number of combinations of the categories that a query groups by."""
        return math.prod(self.num_bins_of(column) for column in query.by)

    def num_bins_of(self, name: str, bin_steps: int = 1) -> int:
        """Return the number of categories of a column, or of its bins."""
        column = self.columns[name]
        if isinstance(column, CategoryColumn):
            return len(column.values)
        low, high = column.bounds
        return (high - low) // bin_steps + 1

    def num_cells_of(self, query: Query) -> int:
        """Return the number of integers that a query releases."""
        return self.num_groups_of(query) * sum(self.part_bins_of(query))

    def part_bins_of(self, query: Query) -> tuple[int, ...]:
        """Return, for each measurement that a query is made of, its number of cells in one group."""
        match query:
            case CountQuery():
                return (1,)
            case SumQuery() | MeanQuery():
                return (1, 1)
            case VarianceQuery():
                return (1, 1, 1)
            case ShareQuery():
                return (2,)
            case TableQuery():
                return (math.prod(self.num_bins_of(column) for column in query.columns),)
            case HistogramQuery() | QuantilesQuery():
                return (self.num_bins_of(query.column, query.bin_steps),)
