"""Policies and site configurations: every bound is checked, and no path leaves the site's folder."""

from datetime import date

import pytest
from pydantic import BaseModel
from schema_cases import SITE_CONFIG, SITE_POLICY, edit, line_of, refusal

from almoner.errors import DocumentError
from almoner.schema.documents import parse_document
from almoner.schema.policy import (
    Account,
    AccountFloor,
    ConsortiumPolicy,
    Limits,
    ManualApproval,
    Pause,
    Quotas,
    Require,
    SitePolicy,
)
from almoner.schema.policy_allow import Allow, PsiGrant, PurposeGrant, StatisticsGrant, SubmitterRule, Window
from almoner.schema.site import DatasetConfig, IdentifierColumn, SiteConfig

NUMBERS = {
    "epsilon_cap: 3.0": "accounts.0.epsilon_cap",
    "delta: 1.0e-4": "accounts.0.delta",
    "epsilon_per_job: 1.5": "limits.epsilon_per_job",
    "min_noise_multiplier: 0.8": "limits.min_noise_multiplier",
    "max_sampling_prob: 0.5": "limits.max_sampling_prob",
    "max_rounds: 50": "limits.max_rounds",
}


OPTIONAL = {
    Quotas: set(Quotas.model_fields),
    SubmitterRule: {"users"},
    PurposeGrant: {"purpose", "until"},
    Limits: {"max_steps", "max_validity_days"},
    Allow: {
        "datasets",
        "purposes",
        "workload_digests",
        "initial_weights",
        "releases",
        "mechanisms",
        "windows",
        "psi",
        "statistics",
    },
    StatisticsGrant: {"max_cells"},
    Require: {
        "min_sites_per_sum",
        "min_nominal_records",
        "min_colluding_sites",
        "min_byzantine_sites",
        "trust_models",
        "manual_approval",
    },
    ConsortiumPolicy: {"quotas", "revoked"},
    SitePolicy: {"quotas", "revoked"},
    DatasetConfig: {
        "one_record_per_unit",
        "max_records_per_unit",
        "unit_column",
        "columns",
        "min_count",
        "identifiers",
        "images",
    },
    IdentifierColumn: {"dates"},
}
"""Fields that may be left out; each is a restriction that is then not there, or another field's (or what a join of ids
needs)."""


def test_only_restrictions_beside_the_privacy_parameters_may_be_left_out() -> None:
    models: tuple[type[BaseModel], ...] = (
        Account, AccountFloor, Allow, ConsortiumPolicy, Limits, ManualApproval, Pause, PurposeGrant, Quotas, Require,
        SitePolicy, SubmitterRule, Window, SiteConfig, DatasetConfig, IdentifierColumn, PsiGrant, StatisticsGrant,
    )  # fmt: skip
    for model in models:
        left_out = {name for name, field in model.model_fields.items() if not field.is_required()}
        assert left_out == OPTIONAL.get(model, set()), model
        assert {model.model_fields[name].default for name in left_out} <= {None, Quotas(), ()}


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
        ("studies: [cardiology]", "studies: [cardiology]\n  purposes: []", "allow.purposes"),
        ("studies: [cardiology]", "studies: [cardiology]\n  windows: []", "allow.windows"),
        ("min_sites: 3,", "min_nominal_records: 0, min_sites: 3,", "require.min_nominal_records"),
        ("min_sites: 3,", "trust_models: [nobody], min_sites: 3,", "require.trust_models.0"),
    ],
)
def test_other_faults(old: str, new: str, field: str) -> None:
    text = edit(SITE_POLICY, old, new)
    assert refusal(text, SitePolicy).startswith(f"f.yaml:{line_of(text, new.splitlines()[-1].strip())}: {field}: ")


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("quotas: {budget_share_per_month: 0}", "quotas.budget_share_per_month: "),
        ("quotas: {budget_share_per_study: 1.01}", "quotas.budget_share_per_study: "),
        ("quotas: {jobs_per_day_per_study: 0}", "quotas.jobs_per_day_per_study: "),
        ("quotas: {jobs_per_day: 3}", "quotas.jobs_per_day: "),
        ("quotas: {pause: {after_dead_jobs: 3}}", "quotas.pause.days: "),
    ],
)
def test_faults_of_quotas(block: str, problem: str) -> None:
    text = edit(SITE_POLICY, "release_final_model: true\n", f"release_final_model: true\n{block}\n")
    assert refusal(text, SitePolicy).startswith(f"f.yaml:{line_of(text, block)}: {problem}")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("windows: [{days: [mon], from_hour: 18, to_hour: 8}]", "to_hour: 8 is not after from_hour 18"),
        ("windows: [{days: [monday], from_hour: 8, to_hour: 9}]", "Input should be 'mon'"),
        ("purposes: [{study: oncology}]", "purposes: oncology is not in studies"),
        ("purposes: [{study: cardiology, until: 2027-02-30}]", "valid date"),
        ("purposes: [{study: cardiology, until: tomorrow}]", "valid date"),
        (f"workload_digests: {{other: ['{'a' * 64}']}}", "workload_digests: other is not in workloads"),
        ("initial_weights: {heart_disease: [abc]}", "should match pattern"),
        ("initial_weights: {heart_disease: []}", "at least 1 item"),
    ],
)
def test_faults_of_what_is_allowed(line: str, problem: str) -> None:
    text = edit(SITE_POLICY, "  studies: [cardiology]\n", f"  studies: [cardiology]\n  {line}\n")
    assert problem in refusal(text, SitePolicy)


def test_a_day_is_read_as_a_day() -> None:
    line = "  purposes: [{study: cardiology, until: 2027-12-31}]"
    text = edit(SITE_POLICY, "  studies: [cardiology]\n", f"  studies: [cardiology]\n{line}\n")
    assert parse_document(text, SitePolicy, "f").allow.purposes == (
        PurposeGrant(study="cardiology", until=date(2027, 12, 31)),
    )


def test_accounts_are_of_different_populations_and_one_unit() -> None:
    head, _, rest = SITE_POLICY.partition("accounts:\n")
    account, _, tail = rest.partition("limits:")

    def policy(*accounts: str) -> str:
        return f"{head}accounts:\n{''.join(accounts)}limits:{tail}"

    other = edit(account, "cleveland-cardiology", "registry")
    assert ": accounts: " in refusal(f"{head}accounts: []\nlimits:{tail}", SitePolicy)
    assert "accounts: a population has two accounts" in refusal(policy(account, account), SitePolicy)
    assert "accounts: they protect different units" in refusal(policy(account, edit(other, "patient", "v")), SitePolicy)
    assert ": accounts: " in refusal(policy(*(edit(other, "registry", f"p{n}") for n in range(9))), SitePolicy)
    made = parse_document(policy(account, other), SitePolicy, "f")
    assert [made.account_of(name).population for name in ("registry", "cleveland-cardiology", None)] == [
        "registry",
        "cleveland-cardiology",
        "cleveland-cardiology",
    ]
    with pytest.raises(DocumentError, match="population elsewhere has no account → it has cleveland-cardiology, reg"):
        made.account_of("elsewhere")


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


@pytest.mark.parametrize("number", ["1", "1001", "0", "true", "2.5"])
def test_several_records_are_a_number(number: str) -> None:
    text = edit(SITE_CONFIG, "one_record_per_unit: true", f"max_records_per_unit: {number}")
    assert "datasets.cardiology.max_records_per_unit: " in refusal(text, SiteConfig)


def test_a_data_set_says_one_record_or_how_many() -> None:
    several = edit(SITE_CONFIG, "one_record_per_unit: true", "max_records_per_unit: 8")
    read = parse_document(several, SiteConfig, "f").datasets["cardiology"]
    assert (read.one_record_per_unit, read.max_records_per_unit) == (None, 8)
    for wrong in ("max_records_per_unit: 8\n    one_record_per_unit: true", "min_count: 5"):
        text = edit(SITE_CONFIG, "one_record_per_unit: true", wrong)
        assert "say either 'one_record_per_unit: true' or 'max_records_per_unit: ...'" in refusal(text, SiteConfig)


def test_a_site_has_a_data_set() -> None:
    assert "f.yaml:3: datasets: " in refusal(SITE_CONFIG.partition("datasets:")[0] + "datasets: {}\n", SiteConfig)
