"""Where a site keeps its data, and what about that data is public."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from almoner.schema.base import Count, Document, Model, Name
from almoner.schema.columns import ColumnConfig, ColumnName
from almoner.schema.images import ImageFolder

DateOrder = Literal["year_month_day", "day_month_year", "month_day_year"]

MAX_RECORDS_PER_UNIT = 1000
"""The largest number of records of a unit that a site may declare."""


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
        path: the file, or the folder of images, relative to the site's own folder.
        nominal_records: training units, declared and public; the divisor of every mean.
        public: whether the data may be used outside the ledger (baselines, curves, red team).
        one_record_per_unit: the declaration that no unit has two records; only of such data are records counted.
        max_records_per_unit: units may have several records, of which so many are used; public. One of the two is said.
        unit_column: the column of the file that names the unit; `almoner site join-units` reads it.
        columns: the public data dictionary; statistics are told of these columns alone, within these bounds.
        min_count: the least `min_count` that a request for statistics may have.
        identifiers: parts of an identifier, by the name that jobs have for them; without them, no job of kind psi.
        images: that the path is a folder of medical images, and how they are read; it has no columns.
    """

    population: Name
    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{1,200}$")]
    nominal_records: Annotated[int, Field(ge=1, le=1_000_000_000)]
    public: bool
    one_record_per_unit: Literal[True] | None = None
    max_records_per_unit: Annotated[int, Field(ge=2, le=MAX_RECORDS_PER_UNIT)] | None = None
    unit_column: ColumnName | None = None
    columns: Annotated[dict[ColumnName, ColumnConfig], Field(min_length=1, max_length=200)] | None = None
    min_count: Count | None = None
    identifiers: dict[Name, IdentifierColumn] | None = None
    images: ImageFolder | None = None

    @field_validator("path")
    @classmethod
    def _stays_in_the_sites_folder(cls, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts:
            raise ValueError("must be relative to the site's folder, without '..'")
        return path

    @model_validator(mode="after")
    def _says_how_many_records(self) -> "DatasetConfig":
        if (self.one_record_per_unit is None) == (self.max_records_per_unit is None):
            raise ValueError("say either 'one_record_per_unit: true' or 'max_records_per_unit: ...'")
        return self

    @model_validator(mode="after")
    def _images_have_no_columns(self) -> "DatasetConfig":
        given = [name for name in ("unit_column", "columns", "identifiers") if getattr(self, name) is not None]
        if self.images is not None and given:
            raise ValueError(f"{given[0]}: a folder of images has no columns; its units are in labels.csv")
        return self


class SiteConfig(Document):
    """`site_configs/<site>.yaml`, or `site_configs/<name>/<site>.yaml`."""

    site: Name
    datasets: Annotated[dict[Name, DatasetConfig], Field(min_length=1)]

    def population_of(self, dataset: str) -> str | None:
        """Return the population that a data set belongs to, None if the site has no such data set."""
        return self.datasets[dataset].population if dataset in self.datasets else None
