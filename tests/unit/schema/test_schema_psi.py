"""The PsiSpec: who compares what with whom, up to how many; and that no policy admits it without a signature."""

import pytest
from schema_cases import PSI, SITE_CONFIG, SITE_POLICY, edit, refusal

from almoner.errors import DocumentError
from almoner.schema.documents import parse_document
from almoner.schema.policy import SitePolicy
from almoner.schema.psi import MAX_IDENTIFIERS, PsiSpec
from almoner.schema.site import SiteConfig


def spec() -> PsiSpec:
    return parse_document(PSI, PsiSpec, "f.yaml")


def test_every_field_must_be_given() -> None:
    assert all(field.is_required() for field in PsiSpec.model_fields.values())


def test_common_fields() -> None:
    made = spec()
    assert (made.min_sites, made.num_colluding_sites) == (2, 1)
    assert made.trust_model() == "semi_honest_server"
    assert made.trust_model(keys_at_site=True) == "active_server"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[north, south]", "[north, north]", "sites: a site is named twice"),
        ("[north, south]", "[south, east]", "leader: north is not in sites"),
        ("[north, south]", "[north]", "sites: Tuple should have at least 2 items"),
        ("birth_date, kind: date", "insurance_number, kind: date", "identifier: a field is named twice"),
        ("kind: date", "kind: number", "identifier.1.kind: Input should be 'text' or 'date'"),
        ("max_identifiers: 50000", f"max_identifiers: {MAX_IDENTIFIERS + 1}", "max_identifiers: "),
        ("max_identifiers: 50000", "max_identifiers: 0", "max_identifiers: "),
        ("epsilon: 0.1", "epsilon: 0.0", "releases.0.epsilon: "),
        ("kind: size", "kind: accuracy", "releases.0.kind: Input should be 'size'"),
        ("dataset: patients", "dataset: patients\nworkload: any", "workload: "),
    ],
)
def test_what_is_refused(old: str, new: str, expected: str) -> None:
    assert expected in refusal(edit(PSI, old, new), PsiSpec)


def test_a_policy_without_approval_by_hand_cannot_allow_it() -> None:
    allowing = edit(
        SITE_POLICY, "workloads: [heart_disease]", "workloads: [heart_disease]\n  psi: {max_identifiers: 9}"
    )
    assert "allow.psi: it needs require.manual_approval" in refusal(allowing, SitePolicy)
    approval = "secagg], manual_approval: {roles: [org_admin], max_days: 7}}"
    assert parse_document(edit(allowing, "secagg]}", approval), SitePolicy, "f.yaml").allow.psi is not None
    assert parse_document(SITE_POLICY, SitePolicy, "f.yaml").allow.psi is None


def test_columns_of_identifiers() -> None:
    columns = "one_record_per_unit: true\n    identifiers: {birth_date: {column: dob, dates: day_month_year}}"
    config = parse_document(edit(SITE_CONFIG, "one_record_per_unit: true", columns), SiteConfig, "f.yaml")
    found = config.datasets["cardiology"].identifiers
    assert found is not None
    assert found["birth_date"].dates == "day_month_year"
    unknown = edit(SITE_CONFIG, "one_record_per_unit: true", columns.replace("day_month", "month"))
    with pytest.raises(DocumentError, match="dates"):
        parse_document(unknown, SiteConfig, "f.yaml")
