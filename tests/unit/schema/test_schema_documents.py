"""Reading documents: what is refused, and that each refusal is one line with file, line and field."""

import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_cases import CONSORTIUM, JOB, SITE_CONFIG, SITE_POLICY, edit, line_of, refusal

from almoner.errors import DocumentError
from almoner.schema import documents
from almoner.schema.base import Document
from almoner.schema.consortium import Consortium
from almoner.schema.documents import DOCUMENTS, MAX_DOCUMENT_BYTES, load_document, parse_document
from almoner.schema.job import JobSpec
from almoner.schema.policy import ConsortiumPolicy, SitePolicy
from almoner.schema.site import SiteConfig


@pytest.mark.parametrize(
    ("text", "model"),
    [(JOB, JobSpec), (SITE_POLICY, SitePolicy), (SITE_CONFIG, SiteConfig), (CONSORTIUM, Consortium)],
)
def test_documents_without_fault_are_read(text: str, model: type[Document]) -> None:
    assert parse_document(text, model, "f.yaml").schema_version == 1


def test_json_is_read_like_yaml() -> None:
    spec = parse_document(JOB, JobSpec, "f.yaml")
    assert parse_document(json.dumps(yaml.safe_load(JOB)), JobSpec, "f.json") == spec


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.e-4", ".1e-3", "+1e-4", "0.0001", "1.0e-4"])
def test_exponents_are_numbers(text: str) -> None:
    spec = parse_document(edit(JOB, "1.0e-4", text), JobSpec, "f.yaml")
    assert spec.privacy.target_delta == 1e-4


@pytest.mark.parametrize(
    ("old", "new", "field", "part"),
    [
        ("rounds: 20", "rounds: 20\nround: 3", "round", "Extra inputs are not permitted → remove it, or correct"),
        ("  unit: patient", "  unit: patient\n  units: 2", "privacy.units", "Extra inputs are not permitted"),
        ("kind: he", "kind: he\n  key: 1", "aggregation.key", "Extra inputs are not permitted"),
        ("rounds: 20", "rounds: twenty", "rounds", "valid integer"),
        ("rounds: 20", "rounds: 20.0", "rounds", "valid integer"),
        ("rounds: 20", "rounds: '20'", "rounds", "valid integer"),
        ("rounds: 20", "rounds: true", "rounds", "valid integer"),
        ("rounds: 20", "rounds: -1", "rounds", "greater than or equal to 0"),
        ("rounds: 20", "rounds: 10001", "rounds", "less than or equal to 10000"),
        ("min_sites: 3", "min_sites: 0", "min_sites", "greater than or equal to 1"),
        ("local_steps: 1", "local_steps: 0", "training.local_steps", "greater than or equal to 1"),
        ("sampling_prob: 0.5", "sampling_prob: 5", "privacy.sampling_prob", "less than or equal to 1"),
        ("num_colluding_sites: 1", "num_colluding_sites: 0", "aggregation.num_colluding_sites", "greater than"),
        ("epsilon: 0.1", "epsilon: -1", "releases.0.epsilon", "greater than or equal to"),
        ("kind: he", "kind: secret", "aggregation", "does not match any of the expected tags"),
        ("mechanism: dp_sgd", "mechanism: magic", "privacy", "does not match any of the expected tags"),
        ("schema_version: 1", "schema_version: 2", "schema_version", "Input should be 1"),
        ("name: heart-disease", "name: [a]", "name", "valid string"),
        ("name: heart-disease", "name: 12", "name", "valid string"),
    ],
)
def test_errors_name_file_line_and_field(old: str, new: str, field: str, part: str) -> None:
    text = edit(JOB, old, new)
    fault = new.strip().splitlines()[-1]
    message = refusal(text, JobSpec, "jobs/x.yaml")
    line = line_of(text, f"{field}:") if field in ("aggregation", "privacy") else line_of(text, fault)
    assert message.startswith(f"jobs/x.yaml:{line}: {field}: ")
    assert part in message


@pytest.mark.parametrize(
    ("missing", "field", "at"),
    [
        ("rounds: 20\n", "rounds", "schema_version: 1"),
        ("  unit: patient\n", "privacy.unit", "privacy:"),
        ("  num_colluding_sites: 1\n", "aggregation.num_colluding_sites", "aggregation:"),
        ("schema_version: 1\n", "schema_version", "kind: training"),
    ],
)
def test_missing_fields_are_named_at_their_parent(missing: str, field: str, at: str) -> None:
    text = edit(JOB, missing, "")
    assert refusal(text, JobSpec) == f"f.yaml:{line_of(text, at)}: {field}: Field required → add it"


def test_unknown_fields_come_first_and_the_rest_is_counted() -> None:
    text = edit(edit(JOB, "rounds: 20", "rounds: -1"), "min_sites: 3", "min_site: 3")
    message = refusal(text, JobSpec)
    assert message.startswith(f"f.yaml:{line_of(text, 'min_site:')}: min_site: ")
    assert message.endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (edit(JOB, "rounds: 20", "rounds: 20\nrounds: 30"), 9),
        (edit(JOB, "  unit: patient", "  unit: patient\n  unit: record"), 15),
        (edit(JOB, "rounds: 20", "rounds: 20\n'rounds': 30"), 9),
        ('{"kind": "training", "kind": "training"}', 1),
    ],
)
def test_keys_given_twice_are_refused(text: str, line: int) -> None:
    message = refusal(text, JobSpec)
    assert message.startswith(f"f.yaml:{line}: not valid YAML: key '")
    assert message.endswith("' is given twice")


@pytest.mark.parametrize("key", ["1", "true", "null", "1.5", "2024-01-01", "[a]", "{a: 1}", "<<"])
def test_keys_that_are_not_text_are_refused(key: str) -> None:
    assert "a key is not text" in refusal(f"? {key}\n: 1\n", JobSpec)


@pytest.mark.parametrize("number", ["010", "0x1F", "0b11", "1:30", "1_000", "0b_", "!!int foo", "9" * 5000])
def test_integers_are_plain_decimals(number: str) -> None:
    message = refusal(edit(JOB, "rounds: 20", f"rounds: {number}"), JobSpec)
    assert message == "f.yaml:8: not valid YAML: not a plain decimal integer"


def test_python_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    payload = f"rounds: !!python/object/apply:os.system ['touch {marker}']"
    text = edit(JOB, "rounds: 20", payload)
    assert refusal(text, JobSpec).startswith("f.yaml:8: not valid YAML: could not determine a constructor for the tag")
    assert not marker.exists()
    yaml.unsafe_load(payload)  # the attack works where the loader is not a safe one
    assert marker.exists()


def bomb(levels: int) -> str:
    """Return aliases that expand to 10 ** levels elements."""
    lists = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}' if n else 'x'] * 10)}]" for n in range(levels)]
    return "\n".join(lists)


def test_alias_bomb_is_refused_before_it_expands() -> None:
    # the attack works where aliases are allowed: 500 bytes become a million
    assert len(json.dumps(yaml.safe_load(bomb(5)))) > 100 * len(bomb(5))
    message = refusal(bomb(7), JobSpec)  # ten million elements
    assert message == "f.yaml:2: not valid YAML: aliases are not allowed"


def test_an_alias_to_a_number_is_refused_too() -> None:
    text = edit(edit(JOB, "rounds: 20", "rounds: &n 20"), "min_sites: 3", "min_sites: *n")
    assert refusal(text, JobSpec) == "f.yaml:9: not valid YAML: aliases are not allowed"


class CountedKey(str):
    """A key that counts how often it is compared."""

    comparisons = 0

    def __eq__(self, other: object) -> bool:
        CountedKey.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_many_keys_do_not_take_quadratic_time() -> None:
    def scalar(text: str) -> yaml.ScalarNode:
        return yaml.ScalarNode("tag:yaml.org,2002:str", CountedKey(text))

    pairs = [(scalar(f"k{number}"), scalar("x")) for number in range(1000)]
    mapping = documents._mapping(documents._Loader(""), yaml.MappingNode("tag:yaml.org,2002:map", pairs))
    assert len(mapping) == 1000
    assert CountedKey.comparisons < 20_000  # each key with all before it would be half a million


@pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, "[" * 300 + "]" * 300, "{a: " * 3000])
def test_deep_nesting_is_refused(text: str) -> None:
    refusal(text, JobSpec)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "just text",
        "a: 1\n---\nb: 1",
        "a:\n\t- 1",
        "a: [",
        "a: !!set {b}",
        "a: !!binary aGk=",
        "a: 2024-99-99",
        "a: 2024-01-01",
        "a: \x00",
        'a: "\\ud800"',
        "a: !!float foo",
        "&a [*a]",
        "%YAML 9.9\n---\na: 1",
    ],
)
def test_what_is_no_document_is_refused_in_one_line(text: str) -> None:
    refusal(text, JobSpec)


@pytest.mark.parametrize(
    "text",
    [
        JOB + '"a\\nb": 1\n',
        JOB + '"a\\e[2Kb": 1\n',
        JOB + '"a\\nb": 1\n"a\\nb": 1\n',
        edit(JOB, "kind: he", 'kind: "h\\ne"'),
        edit(JOB, "rounds: 20", 'rounds: !!python/name:"\\n" x'),
    ],
)
def test_texts_of_the_document_cannot_break_the_line(text: str) -> None:
    refusal(text, JobSpec)  # which checks that the message is printable


def outcome(text: str) -> str | None:
    """Return the text of a DocumentError, or None if the document is accepted; other errors come through."""
    try:
        parse_document(text, JobSpec, "f.yaml")
    except DocumentError as error:
        return str(error)
    return None


@given(st.text(alphabet=st.characters(), max_size=200) | st.text(alphabet="{}[]:,-?&*!|>'\"%@#\n\t a1.~e", max_size=80))
def test_no_text_raises_anything_else(text: str) -> None:
    assert (outcome(text) or "").isprintable()


@settings(max_examples=150)
@given(st.integers(0, len(JOB) - 1), st.integers(0, 12), st.text(alphabet="{}[]:,-?&*!|>'\"\n a1.~e☃\x85", max_size=4))
def test_no_edit_of_a_job_raises_anything_else(start: int, length: int, new: str) -> None:
    message = outcome(JOB[:start] + new + JOB[start + length :])
    assert message is None or (message.isprintable() and message.startswith("f.yaml"))


class TestFiles:
    def test_read(self, tmp_path: Path) -> None:
        path = tmp_path / "job.yaml"
        path.write_text(JOB)
        assert load_document(path, JobSpec) == parse_document(JOB, JobSpec, "x")

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(DocumentError) as caught:
            load_document(tmp_path / "no.yaml", JobSpec)
        assert str(caught.value) == f"{tmp_path}/no.yaml: cannot be read: No such file or directory"

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DocumentError, match="cannot be read: Is a directory"):
            load_document(tmp_path, JobSpec)

    def test_not_utf8(self, tmp_path: Path) -> None:
        path = tmp_path / "job.yaml"
        path.write_bytes(JOB.replace("coronary", "koronär").encode("latin-1"))
        with pytest.raises(DocumentError) as caught:
            load_document(path, JobSpec)
        assert str(caught.value) == f"{path}: not UTF-8 text"

    def test_too_large(self, tmp_path: Path) -> None:
        path = tmp_path / "job.yaml"
        fits = JOB + "#" * (MAX_DOCUMENT_BYTES - len(JOB))
        path.write_text(fits)
        assert load_document(path, JobSpec).rounds == 20
        path.write_text(fits + "#")
        with pytest.raises(DocumentError) as caught:
            load_document(path, JobSpec)
        assert str(caught.value) == f"{path}: larger than {MAX_DOCUMENT_BYTES} bytes"
        with pytest.raises(DocumentError, match="larger than"):
            parse_document(fits + "#", JobSpec, "f.yaml")

    def test_huge_files_are_not_read_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "job.yaml"
        path.touch()
        os.truncate(path, 2**40)  # a sparse terabyte: reading it whole would fail on any machine
        with pytest.raises(DocumentError, match="larger than"):
            load_document(path, JobSpec)


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_every_document_has_a_closed_schema_with_a_version(name: str) -> None:
    schema = json.loads(json.dumps(DOCUMENTS[name].model_json_schema()))
    roots = [schema["$defs"][one["$ref"].split("/")[-1]] for one in schema.get("oneOf", [])] or [schema]
    assert all("schema_version" in root["required"] for root in roots)
    objects = [*roots, *(part for part in schema.get("$defs", {}).values() if part["type"] == "object")]
    assert all(part["additionalProperties"] is False for part in objects)


def test_the_floor_is_read(root: Path) -> None:
    assert load_document(root / "policies" / "consortium.yaml", ConsortiumPolicy).consortium
