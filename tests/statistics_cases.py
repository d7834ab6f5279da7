"""Requests for statistics, data files, and the answers that exact arithmetic gives, for several tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from almoner.schema.statistics import StatisticsSpec

COLUMNS = {
    "age": {"kind": "integer", "low": 17, "high": 90},
    "hours": {"kind": "real", "low": -1.0, "high": 99.0, "step": 0.5},
    "sex": {"kind": "category", "values": ["F", "M"]},
    "city": {"kind": "category", "values": ["Rome", "Oslo", "Lima"]},
}
HEADER = "record_id,age,hours,sex,notes,city"
EVERY_KIND: tuple[dict[str, Any], ...] = (
    {"name": "n", "kind": "count", "share": 0.05, "by": ["sex"], "where": {"city": ["Rome", "Lima"]}},
    {"name": "total", "kind": "sum", "share": 0.1, "column": "hours"},
    {"name": "mean", "kind": "mean", "share": 0.1, "column": "age", "by": ["sex", "city"]},
    {"name": "spread", "kind": "variance", "share": 0.2, "column": "hours", "by": ["sex"]},
    {"name": "women", "kind": "share", "share": 0.15, "column": "sex", "values": ["F"], "by": ["city"]},
    {"name": "cities", "kind": "histogram", "share": 0.1, "column": "city"},
    {"name": "ages", "kind": "histogram", "share": 0.1, "column": "age", "bin_steps": 10},
    {"name": "table", "kind": "table", "share": 0.1, "columns": ["sex", "city"]},
    {"name": "quartiles", "kind": "quantiles", "share": 0.1, "column": "age", "probs": [0.25, 0.5], "by": ["sex"]},
)


def fields(queries: tuple[dict[str, Any], ...] = EVERY_KIND, **changes: Any) -> dict[str, Any]:
    """Return a request as plain values; `columns` holds those that the queries name."""
    named = json.dumps(queries)
    plain: dict[str, Any] = {
        "schema_version": 1,
        "kind": "statistics",
        "name": "table-one",
        "study": "census",
        "purpose": "a test",
        "dataset": "census",
        "min_sites": 1,
        "privacy": privacy(),
        "trust": {"kind": "local"},
        "confidence": 0.95,
        "min_count": 0,
        "columns": {name: column for name, column in COLUMNS.items() if f'"{name}"' in named},
        "queries": list(queries),
    }
    return {**plain, **changes}


def privacy(mechanism: str = "integer_laplace", epsilon: float = 1.0) -> dict[str, Any]:
    return {
        "unit": "person",
        "neighboring_relation": "add_or_remove_one",
        "mechanism": mechanism,
        "target_epsilon": epsilon,
        "target_delta": 1e-6,
    }


def request(queries: tuple[dict[str, Any], ...] = EVERY_KIND, **changes: Any) -> StatisticsSpec:
    return StatisticsSpec.model_validate_json(json.dumps(fields(queries, **changes)))


def write(path: Path, lines: list[bytes], end: bytes = b"\n") -> Path:
    path.write_bytes(end.join([HEADER.encode(), *lines]) + end)
    return path


def people(count: int, seed: int = 1) -> list[bytes]:
    """Return lines of made-up persons, a few of them with fields that cannot be read."""
    draw = np.random.default_rng(seed)
    ages, hours = draw.integers(10, 99, count), draw.uniform(-5, 105, count)
    sexes, cities = (
        draw.choice(["F", "M", "?"], count, p=[0.4, 0.55, 0.05]),
        draw.choice(["Rome", "Oslo", "Bonn"], count),
    )
    return [
        f"{i},{age},{hour:.3f},{sex},free text {i},{city}".encode()
        for i, (age, hour, sex, city) in enumerate(zip(ages, hours, sexes, cities, strict=True))
    ]


def exact(spec: StatisticsSpec, lines: list[bytes]) -> NDArray[np.int64]:
    """Count and add up well-formed lines in the plainest way, record by record, in Python integers."""
    cells = np.zeros(spec.num_cells, dtype=np.int64)
    for line in lines:
        cells += contribution(spec, line)
    return cells


def contribution(spec: StatisticsSpec, line: bytes) -> NDArray[np.int64]:
    """Return what one well-formed line adds to the cells of a request."""
    values = dict(zip(HEADER.split(","), line.decode().split(","), strict=True))
    read: dict[str, int | None] = {}
    for name, column in spec.columns.items():
        if column.kind == "category":
            read[name] = column.values.index(values[name]) if values[name] in column.values else None
        else:
            low, high = column.bounds
            read[name] = round(min(max(float(values[name]) / column.step, low), high))
    cells: list[int] = []
    for query in spec.queries:
        cells += _of_query(spec, query, read)
    return np.array(cells, dtype=np.int64)


def _of_query(spec: StatisticsSpec, query: Any, read: dict[str, int | None]) -> list[int]:
    sizes = [len(spec.columns[name].values) for name in query.by]
    column = getattr(query, "column", None)
    extra = [column] if column else list(getattr(query, "columns", ()))
    bins = {"share": 2, "table": int(np.prod([spec.num_bins_of(name) for name in extra]))}.get(query.kind, 1)
    if query.kind in ("histogram", "quantiles"):
        bins = spec.num_bins_of(column, query.bin_steps)
    parts = {"sum": 2, "mean": 2, "variance": 3}.get(query.kind, 1)
    groups = int(np.prod(sizes)) if sizes else 1
    rows = np.zeros((parts, groups, bins), dtype=np.int64)
    where_ok = all(read[n] is not None and spec.columns[n].values[read[n]] in v for n, v in query.where.items())
    if where_ok and all(read[name] is not None for name in (*query.by, *extra)):
        group = int(np.ravel_multi_index([read[name] for name in query.by], sizes)) if sizes else 0
        rows[:, group, _bin(spec, query, read, extra)] = _amounts(spec, query, read)
    return rows.reshape(-1).tolist()


def _bin(spec: StatisticsSpec, query: Any, read: dict[str, int | None], extra: list[str]) -> int:
    if query.kind == "share":
        return 0 if spec.columns[query.column].values[read[query.column]] in query.values else 1
    if query.kind == "table":
        return int(np.ravel_multi_index([read[n] for n in extra], [spec.num_bins_of(n) for n in extra]))
    if query.kind in ("histogram", "quantiles"):
        column = spec.columns[query.column]
        low = 0 if column.kind == "category" else column.bounds[0]
        return (read[query.column] - low) // query.bin_steps
    return 0


def _amounts(spec: StatisticsSpec, query: Any, read: dict[str, int | None]) -> list[int]:
    if query.kind not in ("sum", "mean", "variance"):
        return [1]
    x = read[query.column]
    low, high = spec.columns[query.column].bounds
    middle = (low + high) // 2
    reach = max(high - middle, middle - low)
    if query.kind == "sum":
        return [1, x]
    return [1, x - middle, (x - middle) ** 2 - reach * reach // 2][: 2 if query.kind == "mean" else 3]
