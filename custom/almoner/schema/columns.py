"""What is public about a column: its kind, its bounds or its categories. A request names the same in the same words.

Numbers are read on a grid: a real has a declared `step`, an integer the step 1. Whatever is computed from data
is computed from whole steps.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from almoner.schema.base import Model, PlainText

MAX_STEPS = 1_000_000_000
"""No bound is further from 0 than so many steps."""

ColumnName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Category = Annotated[PlainText, StringConstraints(pattern=r"^[^,\"]{1,64}$")]
"""A category as the data file writes it; the file is unquoted, so it has no comma and no quote."""

_Bound = Annotated[float, Field(ge=-1e12, le=1e12)]
_GRID_TOLERANCE = 1e-9


class IntegerColumn(Model):
    """Whole numbers from `low` to `high`; others are clamped."""

    kind: Literal["integer"]
    low: Annotated[int, Field(ge=-MAX_STEPS, le=MAX_STEPS)]
    high: Annotated[int, Field(ge=-MAX_STEPS, le=MAX_STEPS)]

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "IntegerColumn":
        if self.low >= self.high:
            raise ValueError(f"high: {self.high} is not above low {self.low}")
        return self

    @property
    def step(self) -> float:
        """The grid's step, 1."""
        return 1.0

    @property
    def bounds(self) -> tuple[int, int]:
        """Both bounds in steps."""
        return self.low, self.high


class RealColumn(Model):
    """Numbers from `low` to `high`, rounded to multiples of `step`; others are clamped."""

    kind: Literal["real"]
    low: _Bound
    high: _Bound
    step: Annotated[float, Field(gt=0, le=1e12)]

    @model_validator(mode="after")
    def _bounds_are_on_the_grid(self) -> "RealColumn":
        if self.low >= self.high:
            raise ValueError(f"high: {self.high:g} is not above low {self.low:g}")
        for field in ("low", "high"):
            steps = getattr(self, field) / self.step
            if abs(steps) > MAX_STEPS or abs(steps - round(steps)) > min(1e-3, _GRID_TOLERANCE * max(1.0, abs(steps))):
                raise ValueError(f"{field}: {getattr(self, field):g} is not a multiple of step {self.step:g}")
        return self

    @property
    def bounds(self) -> tuple[int, int]:
        """Both bounds in steps."""
        return round(self.low / self.step), round(self.high / self.step)


class CategoryColumn(Model):
    """One of listed values; a record with any other value is left out of what asks for this column."""

    kind: Literal["category"]
    values: Annotated[tuple[Category, ...], Field(min_length=1, max_length=1000)]

    @field_validator("values")
    @classmethod
    def _are_distinct(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) != len(values):
            raise ValueError("a category is listed twice")
        return values


class TextColumn(Model):
    """Free text; nothing of it is ever released."""

    kind: Literal["text"]


NumberColumn = IntegerColumn | RealColumn
AskedColumn = Annotated[IntegerColumn | RealColumn | CategoryColumn, Field(discriminator="kind")]
"""A column as a request may ask for it."""
ColumnConfig = Annotated[IntegerColumn | RealColumn | CategoryColumn | TextColumn, Field(discriminator="kind")]
"""A column as a site declares it."""
