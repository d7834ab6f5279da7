"""A red-team report of any shape as tables for people: plain fields in cells, nested ones as lines of a cell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_TABLES, MAX_ROWS, MAX_COLUMNS, MAX_LINES, MAX_TEXT = 40, 60, 10, 12, 300
_LONG_LIST = 4


@dataclass(frozen=True)
class Table:
    """One table.

    Args:
        columns: their labels; the first one's cells name the rows.
        rows: lines of text by row and column; a plain field has one.
        more: rows that are left out.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], ...], ...]
    more: int = 0


def attack_tables(value: Any, title: str = "") -> list[Table]:
    """Return a report as tables: of each mapping its plain fields, of each list of records one row each."""
    if _is_records(value):
        return [_records(value, title)]
    if not isinstance(value, dict):
        return []
    apart = {key: found for key, found in value.items() if _is_records(found) or (isinstance(found, dict) and found)}
    plain = tuple(((_label(key),), (_text(found),)) for key, found in value.items() if key not in apart)
    left_out = max(0, len(plain) - MAX_ROWS)
    tables = [Table(title or "figures", ("figure", "value"), plain[:MAX_ROWS], left_out)] if plain else []
    for key, found in apart.items():
        tables += attack_tables(found, f"{title}: {_label(key)}" if title else _label(key))
    return tables


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _records(value: list[dict[str, Any]], title: str) -> Table:
    """Return records as rows: plain fields first, then nested ones."""
    keys = list(dict.fromkeys(key for row in value for key in row))
    keys.sort(key=lambda key: any(isinstance(row.get(key), dict) for row in value))
    keys = keys[:MAX_COLUMNS]
    rows = tuple(tuple(_lines(row.get(key, "")) for key in keys) for row in value[:MAX_ROWS])
    return Table(title, tuple(map(_label, keys)), rows, len(value) - len(rows))


def _lines(value: Any) -> tuple[str, ...]:
    """Return a field as lines: of a mapping one for each of its innermost mappings."""
    if not isinstance(value, dict):
        return (_text(value),)
    found = tuple(_flat(value))
    left_out = len(found) - MAX_LINES
    return found if left_out <= 0 else (*found[:MAX_LINES], f"{left_out} more in the part")


def _flat(value: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield a line for a mapping's plain fields, then those of each mapping in it."""
    plain = [f"{_label(key)} = {_text(found)}" for key, found in value.items() if not isinstance(found, dict)]
    if plain:
        yield f"{path}: {', '.join(plain)}" if path else ", ".join(plain)
    for key, found in value.items():
        if isinstance(found, dict):
            yield from _flat(found, f"{path}, {_label(key)}" if path else _label(key))


def _label(key: Any) -> str:
    return str(key).replace("_", " ")[:MAX_TEXT]


def _text(value: Any) -> str:
    """Return a plain field, or a list in short, as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        numbers = [one for one in value if isinstance(one, int | float)]
        if len(value) > _LONG_LIST and len(numbers) == len(value):
            return f"{len(value)} values, {_text(min(numbers))} to {_text(max(numbers))}"
        shown = "; ".join(
            _text(one) if not isinstance(one, dict) else ", ".join(_flat(one)) for one in value[:MAX_LINES]
        )
        return shown if len(value) <= MAX_LINES else f"{shown}; {len(value) - MAX_LINES} more in the part"
    text = str(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
