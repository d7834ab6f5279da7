"""Canonical JSON, digests, and the spelling of organisations."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from almoner.schema.base import HostName, UserName, canonical_json, digest, org_code
from almoner.schema.receipt import PrivacyReceipt, PureRelease, SampledGaussian

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_canonical_json_is_sorted_minimal_ascii() -> None:
    assert canonical_json({"b": [1, 2.5, "é"], "a": None}) == b'{"a":null,"b":[1,2.5,"\\u00e9"]}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_canonical_json_has_no_nan(number: float) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        canonical_json({"a": number})


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_canonical_json_does_not_depend_on_order_and_loses_nothing(value: dict[str, object]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(backwards)
    assert json.loads(canonical_json(value)) == value


def test_digests() -> None:
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    event = PureRelease(kind="pure_release", epsilon=0.1, count=1)
    assert digest(event) == hashlib.sha256(b'{"count":1,"epsilon":0.1,"kind":"pure_release"}').hexdigest()
    assert digest(event) == digest(event.model_dump(mode="json"))


def test_org_codes() -> None:
    assert org_code("va-long-beach") == org_code("va_long-beach") == "va_long_beach"


@pytest.mark.parametrize("name", ["lead@cleveland.example", "a.b-c_d@x-y.co", "1@a.bc"])
def test_user_names(name: str) -> None:
    assert TypeAdapter(UserName).validate_python(name) == name


@pytest.mark.parametrize(
    "name",
    ["lead", "lead@cleveland", "@a.bc", "a b@c.de", "a@b.c", "../x@a.bc", "a/b@c.de", "a@b.cd\n", "a" * 62 + "@b.cd"],
)
def test_user_names_that_flare_or_a_certificate_does_not_take(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(UserName).validate_python(name)


@pytest.mark.parametrize("name", ["localhost", "fl.example.org", "a-b.c", "10.0.0.1"])
def test_host_names(name: str) -> None:
    assert TypeAdapter(HostName).validate_python(name) == name


@pytest.mark.parametrize("name", ["", "a..b", "-a", "a-", "a.-b", "a_b", "a/b", "a:80", "{$HOST}", "a" * 64])
def test_host_names_that_flare_does_not_take(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(HostName).validate_python(name)


RECEIPT = {
    "site": "cleveland",
    "job_id": "x",
    "step": "train-0001",
    "privacy_unit": "patient",
    "neighboring_relation": "add_or_remove_one",
}


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "sampled_gaussian", "noise_multiplier": 0.0, "sampling_prob": 0.5, "count": 1},
        {"kind": "sampled_gaussian", "noise_multiplier": float("inf"), "sampling_prob": 0.5, "count": 1},
        {"kind": "sampled_gaussian", "noise_multiplier": 1.0, "sampling_prob": 0.0, "count": 1},
        {"kind": "sampled_gaussian", "noise_multiplier": 1.0, "sampling_prob": 1.1, "count": 1},
        {"kind": "sampled_gaussian", "noise_multiplier": 1.0, "sampling_prob": 0.5, "count": 0},
        {"kind": "sampled_gaussian", "noise_multiplier": 1.0, "sampling_prob": 0.5, "count": True},
        {"kind": "pure_release", "epsilon": float("nan"), "count": 1},
        {"kind": "pure_release", "epsilon": 0.0, "count": 1},
        {"kind": "pure_release", "epsilon": 1.0},
        {"kind": "free"},
    ],
)
def test_receipts_take_no_impossible_event(event: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PrivacyReceipt.model_validate({**RECEIPT, "events": (event,)})


def test_receipts_have_an_event() -> None:
    with pytest.raises(ValidationError):
        PrivacyReceipt.model_validate({**RECEIPT, "events": ()})
    event = SampledGaussian(kind="sampled_gaussian", noise_multiplier=1.0, sampling_prob=0.5, count=1)
    receipt = PrivacyReceipt.model_validate({**RECEIPT, "events": (event,)})
    assert PrivacyReceipt.model_validate_json(canonical_json(receipt)) == receipt
