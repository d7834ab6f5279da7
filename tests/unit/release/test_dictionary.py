"""What a site has not declared is not asked: unknown columns, free text, bounds and categories beyond its own."""

from typing import Any

import pytest
from tests.statistics_cases import COLUMNS, request

from almoner.release.dictionary import dictionary_problems
from almoner.schema.site import DatasetConfig

DECLARED = {**COLUMNS, "notes": {"kind": "text"}}


def dataset(**changes: Any) -> DatasetConfig:
    plain = {"population": "p", "path": "a.csv", "nominal_records": 9, "public": False, "one_record_per_unit": True}
    return DatasetConfig.model_validate({**plain, "columns": DECLARED, **changes}, strict=False)


def problems(query: dict[str, Any], asked: dict[str, Any], **changes: Any) -> list[str]:
    spec = request(({"name": "q", "share": 1.0, **query},), columns=asked)
    return [" → ".join(problem) for problem in dictionary_problems(spec, dataset(**changes))]


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("zip", COLUMNS["age"], "column zip is not declared here; there are age, city, hours, notes, sex →"),
        ("notes", {"kind": "category", "values": ["x"]}, "column notes is free text here, which is never released →"),
        ("notes", COLUMNS["age"], "column notes is free text here"),
        ("age", {"kind": "integer", "low": 0, "high": 90}, "column age is asked from 0 to 90, it is declared from 17"),
        ("age", {"kind": "integer", "low": 17, "high": 91}, "asked from 17 to 91, it is declared from 17 to 90"),
        ("age", {"kind": "real", "low": 17.0, "high": 90.0, "step": 1.0}, "age is integer here, the request says real"),
        ("hours", {"kind": "real", "low": 0.0, "high": 99.0, "step": 0.25}, "steps of 0.25, declared are 0.5"),
        ("city", {"kind": "category", "values": ["Rome", "Bonn"]}, "column city has no category Bonn here"),
    ],
)
def test_one_line_says_what_and_what_to_do(name: str, column: dict[str, Any], message: str) -> None:
    found = problems({"kind": "histogram", "column": name, "bin_steps": 5}, {name: column})
    assert len(found) == 1
    assert message in found[0]
    assert " → " in found[0]


def test_within_the_bounds_there_is_nothing_to_say() -> None:
    narrow = {"age": {"kind": "integer", "low": 20, "high": 60}, "city": {"kind": "category", "values": ["Oslo"]}}
    assert problems({"kind": "mean", "column": "age", "by": ["city"]}, narrow) == []


def test_a_site_without_a_dictionary_tells_nothing() -> None:
    assert "no data dictionary here" in problems({"kind": "count"}, {}, columns=None)[0]


@pytest.mark.threat("T-53")
def test_the_sites_own_min_count() -> None:
    assert problems({"kind": "count"}, {}, min_count=5) == [
        "min_count 0 is below the site's 5 → set min_count to at least 5"
    ]
