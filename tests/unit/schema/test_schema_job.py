"""The JobSpec and its envelope: no privacy field has a default, none takes an impossible value."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from schema_cases import JOB, edit, line_of, refusal

from almoner.privacy import calibration, pld
from almoner.schema import job as job_module
from almoner.schema.aggregation import HeAggregation
from almoner.schema.base import canonical_json, digest
from almoner.schema.documents import parse_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import AccuracyRelease, DistributedDpPrivacy, DpSgdPrivacy, JobSpec, NoPrivacy, TrainingSpec

ENVELOPE = {
    "schema_version": 1,
    "sites": ("cleveland", "hungary", "switzerland"),
    "nonce": "0123456789abcdef" * 2,
    "issued_unix_seconds": 1_799_900_000,
    "expires_unix_seconds": 1_800_000_000,
    "almoner_version": "0.1.0",
    "workload_package": "",
}


def spec() -> JobSpec:
    return parse_document(JOB, JobSpec, "f.yaml")


def test_no_privacy_field_has_a_default() -> None:
    privacy = (DpSgdPrivacy, DistributedDpPrivacy, NoPrivacy)
    for model in (*privacy, HeAggregation, AccuracyRelease, JobSpec, JobEnvelope):
        assert all(field.is_required() for field in model.model_fields.values()), model


@pytest.mark.parametrize("field", sorted(set(DpSgdPrivacy.model_fields) - {"mechanism"}))
def test_every_privacy_field_must_be_given(field: str) -> None:
    [line] = [line for line in JOB.splitlines() if line.startswith(f"  {field}: ")]
    message = refusal(edit(JOB, line + "\n", ""), JobSpec)
    assert message == f"f.yaml:13: privacy.{field}: Field required → add it"


def test_the_mechanism_must_be_given() -> None:
    message = refusal(edit(JOB, "  mechanism: dp_sgd\n", ""), JobSpec)
    assert message.startswith("f.yaml:13: privacy: Unable to extract tag using discriminator 'mechanism'")


DISTRIBUTED = edit(edit(JOB, "mechanism: dp_sgd", "mechanism: distributed_dp"), "  kind: he\n", "  kind: secagg\n")
NONE = edit(JOB, "  mechanism: dp_sgd\n  target_epsilon: 1.0\n  target_delta: 1.0e-4\n", "  mechanism: none\n")
NONE = NONE.partition("releases:")[0] + "releases: []\n"


def test_mechanisms_without_a_target_state_no_epsilon() -> None:
    unprotected, shared = parse_document(NONE, JobSpec, "f"), parse_document(DISTRIBUTED, JobSpec, "f")
    assert (unprotected.target_epsilon, shared.target_epsilon) == (None, 1.0)
    assert unprotected.target_delta == job_module.MIN_TARGET_DELTA
    assert "privacy.target_epsilon: Extra inputs" in refusal(edit(JOB, "mechanism: dp_sgd", "mechanism: none"), JobSpec)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("kind: secagg", "kind: he", "needs aggregation.kind secagg"),
        ("  kind: secagg\n  num_colluding_sites: 1\n", "  kind: plain\n", "needs aggregation.kind secagg"),
        (
            "  num_colluding_sites: 1\n",
            "  num_colluding_sites: 1\n  groups: 3\n  rule: median\n  num_byzantine_sites: 1\n  l2_clip_norm: 1.0\n",
            "without groups",
        ),
        ("local_steps: 1", "local_steps: 2", "one local step"),
        ("  learning_rate: 1.0", "  learning_rate: 1.0\n  proximal: 0.5", "no proximal"),
        ("  learning_rate: 1.0", "  learning_rate: 1.0\n  update_bits: 15", "no proximal or update_bits"),
    ],
)
def test_shared_noise_needs_one_plain_sum(old: str, new: str, part: str) -> None:
    assert part in refusal(edit(DISTRIBUTED, old, new), JobSpec)


def test_a_job_without_privacy_releases_nothing_beside_the_model() -> None:
    assert "releases: a job without privacy" in refusal(
        edit(NONE, "releases: []", "releases: [{kind: accuracy, epsilon: 0.1}]"), JobSpec
    )


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("server_momentum", ["0.0", "0.99"], ["1.0", "-0.1", ".nan"]),
        ("proximal", ["0.0", "1.0"], ["-0.1", "1.01", ".inf"]),
        ("update_bits", ["4", "16"], ["3", "17", "8.0"]),
    ],
)
def test_knobs_of_training_have_a_range(field: str, good: list[str], bad: list[str]) -> None:
    def text(value: str) -> str:
        return edit(JOB, "  learning_rate: 1.0", f"  learning_rate: 1.0\n  {field}: {value}")

    assert [getattr(parse_document(text(value), JobSpec, "f").training, field) for value in good] == [
        float(value) for value in good
    ]
    for value in bad:
        assert refusal(text(value), JobSpec).startswith("f.yaml:"), value


def test_update_bits_are_bits_with_sign() -> None:
    limits = {bits: TrainingSpec(local_steps=1, learning_rate=1.0, update_bits=bits).update_limit for bits in (4, 16)}
    assert limits == {4: 7, 16: 32_767}


NUMBERS = {
    "target_epsilon: 1.0": "privacy.target_epsilon",
    "target_delta: 1.0e-4": "privacy.target_delta",
    "max_grad_norm: 1.0": "privacy.max_grad_norm",
    "sampling_prob: 0.5": "privacy.sampling_prob",
    "learning_rate: 1.0": "training.learning_rate",
    "epsilon: 0.1": "releases.0.epsilon",
}


@pytest.mark.parametrize(
    "value", [".nan", ".inf", "-.inf", "1e999", "-1.0", "0", "0.0", "-0.0", "true", "null", "'1'", "[]"]
)
@pytest.mark.parametrize("line", NUMBERS)
def test_impossible_numbers(line: str, value: str) -> None:
    name = line.partition(":")[0]
    text = edit(JOB, f" {line}", f" {name}: {value}")
    message = refusal(text, JobSpec)
    assert message.startswith(f"f.yaml:{line_of(text, f' {name}: {value}')}: {NUMBERS[line]}: ")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("target_epsilon: 1.0", "100.1"),
        ("target_epsilon: 1.0", "0.009"),
        ("target_delta: 1.0e-4", "0.1"),
        ("target_delta: 1.0e-4", "9e-11"),
        ("max_grad_norm: 1.0", "1000.1"),
        ("sampling_prob: 0.5", "1.0001"),
        ("learning_rate: 1.0", "1001"),
        ("epsilon: 0.1", "9e-7"),
    ],
)
def test_numbers_beyond_their_range(line: str, value: str) -> None:
    assert NUMBERS[line] in refusal(edit(JOB, f" {line}", f" {line.partition(':')[0]}: {value}"), JobSpec)


def test_the_range_is_what_can_be_calibrated() -> None:
    assert job_module.MIN_TARGET_EPSILON == calibration.MIN_TARGET_EPSILON
    assert job_module.MIN_TARGET_DELTA == pld.MIN_DELTA


@pytest.mark.parametrize(
    "character", ["{", "}", "@", "$", "\\n", "\\0", "\\e", "\\x7f", "\\x9b", "\\N", "\\L", "\\u202e"]
)
def test_purpose_is_one_line_that_flare_cannot_expand(character: str) -> None:
    text = edit(JOB, "purpose: coronary disease from routine tests", f'purpose: "a{character}b"')
    assert refusal(text, JobSpec).startswith("f.yaml:5: purpose: ")


@pytest.mark.parametrize("text", ["", "a" * 201])
def test_purpose_has_a_length(text: str) -> None:
    assert "f.yaml:5: purpose: " in refusal(edit(JOB, "coronary disease from routine tests", f'"{text}"'), JobSpec)


PATHS = [
    "../x",
    "/etc/passwd",
    "a/b",
    "a\\\\b",
    ".",
    "..",
    ".hidden",
    "a.b",
    "A",
    "a b",
    "-a",
    "_a",
    "a\\n",
    "a\\0",
    "é",
    "",
]


@pytest.mark.parametrize("name", [*PATHS, "a" * 64, "{a}", "$a", "a@b", "a'b", "a;b"])
@pytest.mark.parametrize("field", ["name: heart-disease", "study: cardiology", "workload: heart_disease"])
def test_names_that_are_paths_or_commands_are_refused(field: str, name: str) -> None:
    key = field.partition(":")[0]
    text = edit(JOB, f"\n{field}", f'\n{key}: "{name}"')
    assert refusal(text, JobSpec).startswith(f"f.yaml:{line_of(text, f'{key}: ')}: {key}: ")


def test_releases_are_one_at_most() -> None:
    twice = edit(JOB, "    epsilon: 0.1\n", "    epsilon: 0.1\n  - {kind: accuracy, epsilon: 0.1}\n")
    assert "f.yaml:24: releases: " in refusal(twice, JobSpec)
    assert parse_document(JOB.partition("releases:")[0] + "releases: []\n", JobSpec, "f").releases == ()


def test_steps_are_rounds_times_local_steps() -> None:
    text = edit(JOB, "local_steps: 1", "local_steps: 3")
    assert parse_document(text, JobSpec, "f.yaml").num_steps == 60


def test_specs_are_frozen_and_hashable() -> None:
    with pytest.raises(ValidationError):
        spec().rounds = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        spec().privacy.target_epsilon = 99.0  # type: ignore[misc]
    assert hash(spec()) == hash(spec())


class TestEnvelope:
    def make(self, **changes: Any) -> JobEnvelope:
        return JobEnvelope.model_validate({**ENVELOPE, "spec": spec(), **changes})

    def test_good(self) -> None:
        assert self.make().sites == ENVELOPE["sites"]

    @pytest.mark.parametrize(
        ("changes", "part"),
        [
            ({"sites": ("a", "b", "b")}, "a site is named twice"),
            ({"sites": ("a", "b")}, "2 named, but the job wants min_sites=3"),
            ({"sites": ()}, "at least 1 item"),
            ({"sites": ("../x", "b", "c")}, "should match pattern"),
            ({"nonce": "0" * 31}, "should match pattern"),
            ({"nonce": "0" * 33}, "should match pattern"),
            ({"nonce": "G" * 32}, "should match pattern"),
            ({"nonce": "0" * 32 + "\n"}, "should match pattern"),
            ({"issued_unix_seconds": 0}, "greater than 0"),
            ({"issued_unix_seconds": 2**53}, "less than"),
            ({"expires_unix_seconds": 0}, "greater than 0"),
            ({"expires_unix_seconds": 2**53}, "less than"),
            ({"expires_unix_seconds": 1.5}, "valid integer"),
            ({"almoner_version": "{$HOME}"}, "should match pattern"),
        ],
    )
    def test_bad(self, changes: dict[str, Any], part: str) -> None:
        with pytest.raises(ValidationError, match=part):
            self.make(**changes)


NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,20}\Z")
PROSE = st.text(
    st.characters(
        exclude_categories=("Cc", "Cs"), exclude_characters="{}@$\u2028\u2029" + "\u202a\u202b\u202c\u202d\u202e"
    ),
    min_size=1,
    max_size=60,
).filter(lambda text: not any("\u2066" <= char <= "\u2069" for char in text))


@settings(max_examples=60)
@given(
    name=NAMES,
    purpose=PROSE,
    sites=st.lists(NAMES, min_size=3, max_size=6, unique=True),
    epsilon=st.floats(0.01, 100),
    delta=st.floats(1e-10, 0.09),
    nonce=st.binary(min_size=16, max_size=16),
)
def test_canonical_envelopes_read_back_unchanged(
    name: str, purpose: str, sites: list[str], epsilon: float, delta: float, nonce: bytes
) -> None:
    privacy = spec().privacy.model_dump() | {"target_epsilon": epsilon, "target_delta": delta}
    changed = JobSpec.model_validate(spec().model_dump() | {"name": name, "purpose": purpose, "privacy": privacy})
    envelope = JobEnvelope.model_validate({**ENVELOPE, "spec": changed, "sites": tuple(sites), "nonce": nonce.hex()})
    text = canonical_json(envelope).decode()
    assert text.isascii()
    read = parse_document(text, JobEnvelope, "f.json")
    assert read == envelope
    assert canonical_json(read) == canonical_json(envelope)
    assert digest(read) == digest(envelope)
