"""Policies and site configurations: every bound is checked, and no path leaves the site's folder."""

import pytest
from pydantic import BaseModel
from schema_cases import SITE_CONFIG, SITE_POLICY, edit, line_of, refusal

from almoner.schema.documents import parse_document
from almoner.schema.policy import Account, AccountFloor, Allow, ConsortiumPolicy, Limits, Require, SitePolicy
from almoner.schema.site import DatasetConfig, SiteConfig

NUMBERS = {
    "epsilon_cap: 3.0": "accounts.0.epsilon_cap",
    "delta: 1.0e-4": "accounts.0.delta",
    "epsilon_per_job: 1.5": "limits.epsilon_per_job",
    "min_noise_multiplier: 0.8": "limits.min_noise_multiplier",
    "max_sampling_prob: 0.5": "limits.max_sampling_prob",
    "max_rounds: 50": "limits.max_rounds",
}


def test_no_field_of_a_policy_has_a_default() -> None:
    models: tuple[type[BaseModel], ...] = (
        Account, AccountFloor, Allow, ConsortiumPolicy, Limits, Require, SitePolicy, SiteConfig, DatasetConfig,
    )  # fmt: skip
    assert all(field.is_required() for model in models for field in model.model_fields.values())


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "-1", "0", "true", "null", "'1'"])
@pytest.mark.parametrize("line", NUMBERS)
def test_impossible_numbers(line: str, value: str) -> None:
    name = line.partition(":")[0]
    text = edit(SITE_POLICY, f" {line}", f" {name}: {value}")
    assert refusal(text, SitePolicy).startswith(f"f.yaml:{line_of(text, f'{name}: {value}')}: {NUMBERS[line]}: ")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("extends: consortium", "extends: nothing", "extends"),
        ("submitters: [{role: lead, orgs: [cleveland]}]", "submitters: []", "allow.submitters"),
        ("orgs: [cleveland]", "orgs: []", "allow.submitters.0.orgs"),
        ("protection: [he, secagg]", "protection: []", "require.protection"),
        ("protection: [he, secagg]", "protection: [none]", "require.protection.0"),
        ("min_sites: 3", "min_sites: 0", "require.min_sites"),
        ("release_final_model: true", "release_final_model: 1", "release_final_model"),
        ("release_final_model: true", "release_final_model: 'yes'", "release_final_model"),
        (
            "neighboring_relation: add_or_remove_one",
            "neighboring_relation: replace_one",
            "accounts.0.neighboring_relation",
        ),
        ("max_rounds: 50", "max_rounds: 50\n  max_round: 9", "limits.max_round"),
    ],
)
def test_other_faults(old: str, new: str, field: str) -> None:
    text = edit(SITE_POLICY, old, new)
    assert refusal(text, SitePolicy).startswith(f"f.yaml:{line_of(text, new.splitlines()[-1].strip())}: {field}: ")


def test_a_site_has_exactly_one_account() -> None:
    head, _, rest = SITE_POLICY.partition("accounts:\n")
    account, _, tail = rest.partition("limits:")
    assert ": accounts: " in refusal(f"{head}accounts: []\nlimits:{tail}", SitePolicy)
    assert ": accounts: " in refusal(f"{head}accounts:\n{account}{account}limits:{tail}", SitePolicy)
    assert parse_document(SITE_POLICY, SitePolicy, "f").account.population == "cleveland-cardiology"


@pytest.mark.parametrize(
    "path",
    [
        "../heart.csv",
        "data/../../heart.csv",
        "..",
        "/etc/passwd",
        "//x",
        "a b",
        "a\\\\b",
        "{$HOME}",
        "~x",
        "a\\n",
        "",
        "a" * 201,
    ],
)
def test_paths_that_leave_the_sites_folder(path: str) -> None:
    text = edit(SITE_CONFIG, "path: data/heart.csv", f'path: "{path}"')
    assert refusal(text, SiteConfig).startswith("f.yaml:6: datasets.cardiology.path: ")


@pytest.mark.parametrize("path", ["data/heart.csv", "heart.csv", "a/b.c/d-e_f", "..a/b..", "./a"])
def test_paths_within_the_sites_folder(path: str) -> None:
    read = parse_document(edit(SITE_CONFIG, "data/heart.csv", path), SiteConfig, "f")
    assert read.datasets["cardiology"].path == path


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("nominal_records: 212", "nominal_records: 0", "datasets.cardiology.nominal_records"),
        ("nominal_records: 212", "nominal_records: -3", "datasets.cardiology.nominal_records"),
        ("nominal_records: 212", "nominal_records: 2.5", "datasets.cardiology.nominal_records"),
        ("one_record_per_unit: true", "one_record_per_unit: false", "datasets.cardiology.one_record_per_unit"),
        ("public: true", "public: 1", "datasets.cardiology.public"),
        ("  cardiology:", "  ../x:", "datasets.../x"),
    ],
)
def test_other_faults_of_a_site(old: str, new: str, field: str) -> None:
    text = edit(SITE_CONFIG, old, new)
    assert refusal(text, SiteConfig).startswith(f"f.yaml:{line_of(text, new.strip())}: {field}: ")


def test_a_site_has_a_data_set() -> None:
    assert "f.yaml:3: datasets: " in refusal(SITE_CONFIG.partition("datasets:")[0] + "datasets: {}\n", SiteConfig)
