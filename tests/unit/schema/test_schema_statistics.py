"""Requests that say too much, too little, or what cannot be: one line each, with the field."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.statistics_cases import COLUMNS, fields, privacy, request

from almoner.errors import DocumentError
from almoner.schema.documents import load_document, parse_document
from almoner.schema.statistics import MAX_CELLS, StatisticsSpec

AGE = {"name": "a", "kind": "mean", "share": 1.0, "column": "age"}
COUNT = {"name": "n", "kind": "count", "share": 1.0}


def refusal(plain: dict[str, Any]) -> str:
    with pytest.raises(DocumentError) as caught:
        parse_document(json.dumps(plain), StatisticsSpec, "request.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("epsilon", [0, 0.0, -1.0, 1e-9, 101])
def test_epsilon_out_of_range(epsilon: float) -> None:
    assert "privacy.target_epsilon" in refusal(fields((COUNT,), privacy=privacy(epsilon=epsilon)))


@pytest.mark.parametrize("field", ["target_epsilon", "target_delta", "unit", "mechanism", "neighboring_relation"])
def test_privacy_has_no_defaults(field: str) -> None:
    plain = {key: value for key, value in privacy().items() if key != field}
    assert f"privacy.{field}" in refusal(fields((COUNT,), privacy=plain))


@pytest.mark.parametrize("field", ["confidence", "min_count", "trust", "columns", "queries"])
def test_the_request_has_no_defaults_either(field: str) -> None:
    assert field in refusal({key: value for key, value in fields((COUNT,)).items() if key != field})


@pytest.mark.parametrize(
    ("queries", "changes", "message"),
    [
        ((AGE, {**COUNT, "share": 0.1}), {}, "queries: the shares add up to 1.1; make them 1"),
        (({**COUNT, "by": ["sex", "sex"]},), {}, "queries: n names a column twice"),
        (({**COUNT, "kind": "histogram", "column": "sex", "by": ["sex"]},), {}, "queries: n names a column twice"),
        (({**AGE, "share": 0.9},), {}, "the shares add up to 0.9"),
        (({**AGE, "share": 0.5}, {**AGE, "share": 0.5}), {}, "queries: a name is given twice"),
        (({**AGE, "column": "zip"},), {}, "queries: a names column zip, which is not under columns"),
        ((AGE,), {"columns": COLUMNS}, "columns: city is in no query"),
        (({**AGE, "column": "sex"},), {}, "needs numbers, but column sex is of categories"),
        (({**AGE, "by": ["hours"]},), {}, "needs categories, but column hours is of numbers"),
        (({**COUNT, "where": {"sex": ["X"]}},), {}, "X is not a category of sex"),
        (({**AGE, "kind": "share", "column": "sex", "values": ["X"]},), {}, "X is not a category of sex"),
        ((AGE,), {"columns": {"age": {"kind": "text"}}}, "columns.age"),
        ((AGE,), {"columns": {"age": {"kind": "integer", "low": 90, "high": 17}}}, "high: 17 is not above low 90"),
        (
            (AGE,),
            {"columns": {"age": {"kind": "real", "low": 0.3, "high": 90.0, "step": 0.5}}},
            "low: 0.3 is not a multiple of step 0.5",
        ),
        ((AGE,), {"columns": {"age": {"kind": "real", "low": 0.0, "high": 1e12, "step": 1.0}}}, "not a multiple"),
        (
            ({**AGE, "kind": "variance"},),
            {"columns": {"age": {"kind": "integer", "low": 0, "high": 600_000}}},
            "too many steps apart",
        ),
        (
            ({**AGE, "kind": "histogram"},),
            {"columns": {"age": {"kind": "integer", "low": 0, "high": MAX_CELLS}}},
            f"{MAX_CELLS + 1} cells, more than {MAX_CELLS}",
        ),
        ((COUNT,), {"trust": {"kind": "distributed", "num_colluding_sites": 1}}, "discrete_gaussian alone"),
        (tuple({**COUNT, "name": f"n{i}", "share": 0.001} for i in range(1000)), {}, "queries"),
    ],
)
def test_what_cannot_be(queries: Any, changes: dict[str, Any], message: str) -> None:
    assert message in refusal(fields(queries, **changes))


def test_the_job_of_the_census(root: Path) -> None:
    spec = load_document(root / "jobs" / "census_release.yaml", StatisticsSpec)
    assert spec.num_cells == 2 * 2 + 2 * 16 + 2 * 16 + 32 + 74
    assert spec.trust_model() == "trusted_server"
    assert hash(spec) == hash(spec.model_copy())


def test_distributed_trust_names_who_may_collude() -> None:
    trust = {"kind": "distributed", "num_colluding_sites": 2}
    spec = request((COUNT,), privacy=privacy("discrete_gaussian"), trust=trust)
    assert spec.num_colluding_sites == 2
    assert (spec.trust_model(), spec.trust_model(keys_at_site=True)) == ("semi_honest_server", "active_server")
