"""Compares a request with a site's public data dictionary: nothing is asked but of declared columns, within bounds."""

from almoner.schema.columns import AskedColumn, CategoryColumn, ColumnConfig, TextColumn
from almoner.schema.site import DatasetConfig
from almoner.schema.statistics import StatisticsSpec

_SHOWN = 8
"""So many names are listed in a finding."""


def dictionary_problems(spec: StatisticsSpec, dataset: DatasetConfig) -> tuple[tuple[str, str], ...]:
    """Return what a request asks for that a site has not declared, each as (finding, remedy).

    *Guarantee*: if there is nothing, every bound and category that the request uses is public by the site's own
    declaration. No file is opened.
    """
    if dataset.columns is None:
        return ((f"data set {spec.dataset} has no data dictionary here", "the site declares its columns first"),)
    found = []
    for name, asked in spec.columns.items():
        problem = _problem(name, asked, dataset.columns)
        found += [problem] if problem else []
    least = dataset.min_count or 0
    if spec.min_count < least:
        found.append((f"min_count {spec.min_count} is below the site's {least}", f"set min_count to at least {least}"))
    return tuple(found)


def _problem(name: str, asked: AskedColumn, declared: dict[str, ColumnConfig]) -> tuple[str, str] | None:
    """Return what is wrong with one column, None if nothing is."""
    has = declared.get(name)
    if has is None:
        known = ", ".join(sorted(declared)[:_SHOWN]) + (", ..." if len(declared) > _SHOWN else "")
        return f"column {name} is not declared here; there are {known}", "correct or remove the column"
    if isinstance(has, TextColumn):
        return f"column {name} is free text here, which is never released", "remove the column"
    if has.kind != asked.kind:
        return f"column {name} is {has.kind} here, the request says {asked.kind}", "correct its kind"
    if isinstance(has, CategoryColumn) or isinstance(asked, CategoryColumn):
        return _strange_category(name, asked, has)
    if asked.low < has.low or asked.high > has.high:
        wanted, bounds = f"{asked.low:g} to {asked.high:g}", f"{has.low:g} to {has.high:g}"
        return f"column {name} is asked from {wanted}, it is declared from {bounds}", "ask within the bounds"
    if asked.step < has.step:
        return f"column {name} is asked in steps of {asked.step:g}, declared are {has.step:g}", "ask for larger steps"
    return None


def _strange_category(name: str, asked: AskedColumn, has: ColumnConfig) -> tuple[str, str] | None:
    """Return the categories that are not declared."""
    if not isinstance(has, CategoryColumn) or not isinstance(asked, CategoryColumn):
        return None
    strays = [value for value in asked.values if value not in has.values]
    if not strays:
        return None
    return f"column {name} has no category {', '.join(strays[:_SHOWN])} here", "ask for declared categories"
