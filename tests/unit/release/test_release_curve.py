"""The curve: measured errors beside theory, on public data alone."""

import csv
import io
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.statistics_cases import EVERY_KIND, exact, people, privacy, request

from almoner.data import registry
from almoner.data.adult_income import COLUMNS
from almoner.data.records import SourceRecord
from almoner.data.registry import ADULT_INCOME
from almoner.data.tables import table_files
from almoner.errors import PolicyViolation
from almoner.flare.commands.public_release import public_cells
from almoner.release.curve import measure_curve, render_csv
from almoner.release.curve_plot import draw_curve
from almoner.release.laws import local_noise
from almoner.release.theory import squared_errors
from almoner.schema.declarations import load_declarations
from almoner.schema.documents import load_document
from almoner.schema.statistics import StatisticsSpec

RUNS = 150
PEOPLE = people(2_000, seed=2)
SPEC = request()
CELLS = exact(SPEC, PEOPLE)


def test_measured_errors_are_those_of_theory(tmp_path: Path) -> None:
    """150 runs at each ε. Where one number has Laplace noise, their root mean squared error is above 1.6 times its own
    with probability 3e-7, below 0.6 times with 4e-8 (convolution); it is one number at each of two ε (FPR 7e-7).
    """
    told = list[tuple[float, int]]()
    points = measure_curve(SPEC, (CELLS,), lambda *progress: told.append(progress), (4.0, 12.0), RUNS)
    assert told == [(epsilon, run) for epsilon in (4.0, 12.0) for run in range(1, RUNS + 1)]
    assert {point.query for point in points} == {query["name"] for query in EVERY_KIND}
    for point in points:
        if point.statistic != "quantile":  # whole years: the error is often 0
            assert 0.6 * point.theory < point.error < 1.6 * point.theory, point
        assert point.band_low <= point.error <= 1.3 * max(point.band_high, 1e-9)
    errors = {(point.query, point.statistic, point.epsilon): point.error for point in points}
    assert all(errors[q, s, 12.0] < errors[q, s, 4.0] or s == "quantile" for q, s, _ in errors)
    draw_curve(points, "a test", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    rows = list(csv.DictReader(io.StringIO(render_csv(points))))
    assert [float(row["theory"]) for row in rows] == [point.theory for point in points]


def test_several_sites_add_their_noise() -> None:
    """The ratio of errors over 300 runs of 3 counts or more is 1.41, ± 0.05, and must exceed 1.1 (FPR 1e-8)."""
    spec = request(tuple({**query, "share": 0.5} for query in EVERY_KIND[-4:-2]), privacy=privacy("discrete_gaussian"))
    half = exact(spec, PEOPLE[:500]), exact(spec, PEOPLE[500:1000])
    one, two = (measure_curve(spec, sites, lambda *_: None, (1.0,), 300) for sites in ((sum(half),), half))
    assert [b.theory / a.theory for a, b in zip(one, two, strict=True)] == pytest.approx([2**0.5] * 2)
    assert all(b.error > 1.1 * a.error for a, b in zip(one, two, strict=True))


def test_groups_without_records_have_no_error_to_speak_of() -> None:
    errors = squared_errors(SPEC, CELLS, local_noise(SPEC))
    assert sum(np.isnan(errors)) == 2 + 1  # means and share of Lima, where nobody lives


@pytest.fixture
def census(root: Path, monkeypatch: pytest.MonkeyPatch) -> StatisticsSpec:
    """The census job, with an archive of three persons behind the registered name."""
    rows = [("39", "?", "Bachelors"), ("50", "Private", "Bachelors"), ("17", "Private", "11th")]

    def parse(content: bytes) -> tuple[SourceRecord, ...]:
        place = {name: i for i, name in enumerate(COLUMNS)}
        full = [["0"] * len(place) for _ in rows]
        for values, (age, work, school) in zip(full, rows, strict=True):
            values[place["age"]], values[place["workclass"]], values[place["education"]] = age, work, school
            values[place["gender"]], values[place["income"]], values[place["hours-per-week"]] = "Male", ">50K", "40"
        return tuple(SourceRecord(str(i), "census-office", tuple(values)) for i, values in enumerate(full))

    made_up = replace(ADULT_INCOME, site_files=partial(table_files, COLUMNS, parse))
    monkeypatch.setitem(registry.DATASETS, "adult_income", made_up)
    monkeypatch.setattr("almoner.data.prepare.read_members", lambda archive, cache: {"adult": b""})
    return load_document(root / "jobs" / "census_release.yaml", StatisticsSpec)


def test_the_curve_reads_the_archive(root: Path, census: StatisticsSpec, tmp_path: Path) -> None:
    (cells,) = public_cells(census, load_declarations(root, "census"), tmp_path)
    assert cells[:4].tolist() == [0, 3, 0, (39 - 53) + (50 - 53) + (17 - 53)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"public": False}, "its site configuration says public: false → the true answer may be used for public data"),
        ({"path": "data/own.csv"}, "no registered archive has it"),
        ({"columns": None}, "no data dictionary"),
    ],
)
def test_the_true_answer_is_for_registered_public_data_alone(
    root: Path, census: StatisticsSpec, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    declarations = load_declarations(root, "census")
    config = declarations.sites["census-office"]
    dataset = config.datasets["census"].model_copy(update=changes)
    declarations.sites["census-office"] = config.model_copy(update={"datasets": {"census": dataset}})
    with pytest.raises(PolicyViolation, match=message):
        public_cells(census, declarations, tmp_path)
