"""Errors in an envelope name the spec's field, although a kind of job is called like one of its fields."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from almoner.errors import DocumentError
from almoner.schema.documents import parse_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec

Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda spec: spec.update(purpose="{x}"), "purpose"),
        (lambda spec: spec.pop("purpose"), "purpose"),
        (lambda spec: spec.update(bogus=1), "bogus"),
        (lambda spec: spec.pop("training"), "training"),
        (lambda spec: spec.update(training=3), "training"),
        (lambda spec: spec["training"].update(learning_rate=-1), "training.learning_rate"),
        (lambda spec: spec["training"].pop("learning_rate"), "training.learning_rate"),
        (lambda spec: spec["privacy"].update(target_epsilon=-1), "privacy.target_epsilon"),
        (lambda spec: spec["aggregation"].pop("num_colluding_sites"), "aggregation.num_colluding_sites"),
        (lambda spec: spec["releases"][0].update(epsilon=-1), "releases.0.epsilon"),
    ],
)
def test_the_field_is_named(heart_spec: JobSpec, edit: Edit, field: str) -> None:
    spec = heart_spec.model_dump(mode="json")
    edit(spec)
    envelope = {
        "schema_version": 1,
        "spec": spec,
        "sites": ["cleveland", "hungary", "switzerland", "va-long-beach"],
        "nonce": "0" * 32,
        "issued_unix_seconds": 1,
        "expires_unix_seconds": 1,
        "almoner_version": "0.1.0",
        "workload_package": "",
    }
    for document, model, where in ((envelope, JobEnvelope, f"spec.{field}"), (spec, JobSpec, field)):
        with pytest.raises(DocumentError) as caught:
            parse_document(json.dumps(document), model, "f.json")
        assert str(caught.value).startswith(f"f.json:1: {where}: ")
