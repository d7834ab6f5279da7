"""Where a site keeps its data, and what about that data is public."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from almoner.schema.base import Count, Document, Model, Name
from almoner.schema.columns import ColumnConfig, ColumnName

DateOrder = Literal["year_month_day", "day_month_year", "month_day_year"]


class IdentifierColumn(Model):
    """One column by which records may be compared with other sites' (PSI).

    Args:
        dates: for a date, in which order its parts stand; 03/04/1950 does not say.
    """

    column: ColumnName
    dates: DateOrder | None = None


class DatasetConfig(Model):
    """One data set of a site.

    Args:
        population: the privacy account that every use of the data is charged to.
        path: the file, relative to the site's own folder.
        nominal_records: training units, declared and public; the divisor of every mean.
        public: whether the data may be used outside the ledger (baselines, curves, red team).
        one_record_per_unit: the declaration that no unit has two records.
        unit_column: the column of the file that names the unit; `almoner site join-units` reads it.
        columns: the public data dictionary; statistics are told of these columns alone, within these bounds.
        min_count: the least `min_count` that a request for statistics may have.
        identifiers: parts of an identifier, by the name that jobs have for them; without them, no job of kind psi.
    """

    population: Name
    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,200}$")]
    nominal_records: Annotated[int, Field(ge=1, le=1_000_000_000)]
    public: bool
    one_record_per_unit: Literal[True]
    unit_column: ColumnName | None = None
    columns: Annotated[dict[ColumnName, ColumnConfig], Field(min_length=1, max_length=200)] | None = None
    min_count: Count | None = None
    identifiers: dict[Name, IdentifierColumn] | None = None

    @field_validator("path")
    @classmethod
    def _stays_in_the_sites_folder(cls, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            raise ValueError("must be relative to the site's folder, without '..'")
        return path


class SiteConfig(Document):
    """`site_configs/<site>.yaml`, or `site_configs/<name>/<site>.yaml`."""

    site: Name
    datasets: Annotated[dict[Name, DatasetConfig], Field(min_length=1)]

    def population_of(self, dataset: str) -> str | None:
        """Return the population that a data set belongs to, None if the site has no such data set."""
        return self.datasets[dataset].population if dataset in self.datasets else None
