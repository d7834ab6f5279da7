"""The layers as rows: for the terminal, as CSV and as JSON."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from almoner.experiments.pipeline.layers import LAYERS, Layer, LayerName
from almoner.experiments.pipeline.measure import Spent, Tally


@dataclass(frozen=True)
class Row:
    """One layer's line: medians over all rounds, means over seeds.

    Args:
        training_seconds: processor time of a site's training in a round.
        a_round: the protection's part of a round; bytes of one site.
        set_up: once a job.
        figures: mean and standard deviation over seeds (0 for one seed), by name; the main one first.
    """

    layer: Layer
    training_seconds: float
    a_round: Spent
    set_up: Spent
    figures: Mapping[str, tuple[float, float]]

    @property
    def site_seconds(self) -> float:
        """Processor time of a site in a round, with training."""
        return self.training_seconds + self.a_round.site_seconds


def rows_of(tallies: Mapping[LayerName, Tally]) -> tuple[Row, ...]:
    """Return a row for each layer."""
    return tuple(_row(layer, tallies[layer.name]) for layer in LAYERS)


def _row(layer: Layer, tally: Tally) -> Row:
    names = tally.figures[0]
    figures = {name: _summary([found[name] for found in tally.figures]) for name in names}
    return Row(layer, statistics.median(tally.training), _median(tally.rounds), _median(tally.set_ups), figures)


def _median(spent: Sequence[Spent]) -> Spent:
    """Return the median of each number by itself."""
    return Spent(
        statistics.median(each.site_seconds for each in spent),
        statistics.median(each.server_seconds for each in spent),
        statistics.median(each.sent_bytes for each in spent),
        statistics.median(each.received_bytes for each in spent),
    )


def _summary(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def row_json(row: Row) -> dict[str, Any]:
    """Return a row in types that JSON has, and flat: seconds, bytes, figures."""
    return {
        "layer": row.layer.name,
        "threats": list(row.layer.threats),
        "training_seconds": round(row.training_seconds, 6),
        **_spent_json(row.a_round, "round"),
        **_spent_json(row.set_up, "set_up"),
        "figures": {name: {"mean": mean, "deviation": spread} for name, (mean, spread) in row.figures.items()},
    }


def _spent_json(spent: Spent, prefix: str) -> dict[str, float]:
    return {
        f"{prefix}_site_seconds": round(spent.site_seconds, 6),
        f"{prefix}_server_seconds": round(spent.server_seconds, 6),
        f"{prefix}_sent_bytes": round(spent.sent_bytes, 1),
        f"{prefix}_received_bytes": round(spent.received_bytes, 1),
    }


def render_csv(rows: Sequence[Row]) -> str:
    """Return one line a layer, with a header."""
    flat = []
    for row in rows:
        found = row_json(row)
        figures = found.pop("figures")
        found["threats"] = " ".join(found["threats"])
        found |= {f"{name}_{key}": value for name, parts in figures.items() for key, value in parts.items()}
        flat.append(found)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def render_table(rows: Sequence[Row]) -> list[str]:
    """Return the table in lines; times in milliseconds of a processor."""
    names = list(rows[0].figures)
    cells = [["", "site: training", "protection", "server", "sent", "received", "set-up: site", "sent", "received"]]
    cells[0] += [*names, "against"]
    for row in rows:
        a_round, set_up = row.a_round, row.set_up
        times = [row.training_seconds, a_round.site_seconds, a_round.server_seconds]
        cells.append(
            [
                row.layer.title,
                *(_milliseconds(each) for each in times),
                *(size_of(each) for each in (a_round.sent_bytes, a_round.received_bytes)),
                _milliseconds(set_up.site_seconds),
                *(size_of(each) for each in (set_up.sent_bytes, set_up.received_bytes)),
                *(f"{mean:.4f} ±{spread:.4f}" for mean, spread in row.figures.values()),
                " ".join(row.layer.threats) or "-",
            ]
        )
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:-1]), row[-1]]).rstrip()
        for row in cells
    ]


def size_of(num_bytes: float) -> str:
    """Return bytes as kB or MB."""
    if num_bytes == 0:
        return "0"
    return f"{num_bytes / 1e6:.2f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.2f} kB"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
