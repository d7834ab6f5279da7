"""An approval counts only with the signature of the site's own officer, for this site, job and time."""

from datetime import UTC, datetime
from typing import Any

import pytest
from certificate_cases import Holder, issue

from almoner.admission.approvals import sign_approval, verify_approval
from almoner.admission.user_certificates import Trust
from almoner.errors import PolicyViolation
from almoner.schema.approval import Approval, SignedApproval
from almoner.schema.policy import ManualApproval

NOW = int(datetime.now(UTC).timestamp())
RULE = ManualApproval(roles=("org_admin",), max_days=30)
JOB = "a" * 64
NAME = "officer@va-long-beach.example"


@pytest.fixture(scope="module")
def root() -> Holder:
    return issue(None, "heart-consortium")


@pytest.fixture(scope="module")
def officer(root: Holder) -> Holder:
    return issue(root, NAME, "va_long_beach", "org_admin")


def paper(holder: Holder, **changes: Any) -> SignedApproval:
    fields = {
        "statement": "almoner-approval-2", "site": "va-long-beach", "job_digest": JOB,
        "submitter": "lead@cleveland.example", "workload_digest": "c" * 64, "verdict": "approved",
        "officer": NAME, "signed_unix_seconds": NOW, "expires_unix_seconds": NOW + 86_400,
    }  # fmt: skip
    return sign_approval(Approval.model_validate({**fields, **changes}), holder.key_pem, holder.pem)


def refusal(signed: SignedApproval, root: Holder, now: float = NOW) -> str:
    with pytest.raises(PolicyViolation) as caught:
        verify_approval(signed, RULE, "va-long-beach", JOB, Trust(root.pem, ()), now)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_sites_officer(root: Holder, officer: Holder) -> None:
    found = verify_approval(paper(officer), RULE, "va-long-beach", JOB, Trust(root.pem, ()), NOW)
    assert (found.verdict, found.officer) == ("approved", NAME)


@pytest.mark.parametrize(
    ("name", "org", "role"),
    [
        (NAME, "cleveland", "org_admin"),
        (NAME, "va_long_beach", "lead"),
        (NAME, "va_long_beach", ""),
        (NAME, "", "org_admin"),
        ("another@va-long-beach.example", "va_long_beach", "org_admin"),
    ],
)
def test_somebody_else(root: Holder, name: str, org: str, role: str) -> None:
    assert "va-long-beach wants org_admin of its own" in refusal(paper(issue(root, name, org, role)), root)


@pytest.mark.threat("T-30")
def test_an_officer_of_another_root(root: Holder, officer: Holder) -> None:
    foreign = issue(None, "heart-consortium")
    false = issue(foreign, NAME, "va_long_beach", "org_admin")
    assert refusal(paper(false), root) == "the officer's certificate is not one of this consortium"
    by_officer = issue(officer, NAME, "va_long_beach", "org_admin")
    assert refusal(paper(by_officer), root) == "the officer's certificate is not one of this consortium"


def test_a_certificate_out_of_date(root: Holder) -> None:
    old = issue(root, NAME, "va_long_beach", "org_admin", days=-1)
    assert refusal(paper(old), root) == "the officer's certificate is not valid now"
    assert refusal(paper(old), root, NOW - 20 * 86_400) == "the officer's certificate is not valid now"


@pytest.mark.threat("T-30")
@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "denied"},
        {"job_digest": "b" * 64},
        {"submitter": "second@cleveland.example"},
        {"workload_digest": "d" * 64},
        {"expires_unix_seconds": NOW + 86_401},
    ],
)
def test_a_paper_that_was_changed(root: Holder, officer: Holder, changes: dict[str, Any]) -> None:
    signed = paper(officer)
    edited = signed.model_copy(update={"approval": signed.approval.model_copy(update=changes)})
    assert refusal(edited, root) == "its signature does not verify"


@pytest.mark.parametrize("changes", [{"site": "hungary"}, {"job_digest": "b" * 64}])
def test_a_paper_about_something_else(root: Holder, officer: Holder, changes: dict[str, Any]) -> None:
    assert refusal(paper(officer, **changes), root) == "it is about another site or job"


def test_a_paper_for_too_long_or_from_the_future(root: Holder, officer: Holder) -> None:
    assert "longer than 30 days" in refusal(paper(officer, expires_unix_seconds=NOW + 31 * 86_400), root)
    late = {"signed_unix_seconds": NOW + 900, "expires_unix_seconds": NOW + 901}
    assert refusal(paper(officer, **late), root) == "it was signed in the future"


def test_a_key_that_is_not_the_certificates(root: Holder, officer: Holder) -> None:
    other = issue(root, NAME, "va_long_beach", "org_admin")
    with pytest.raises(PolicyViolation, match="the key is not that of the certificate"):
        sign_approval(paper(officer).approval, other.key_pem, officer.pem)
    with pytest.raises(PolicyViolation, match="key cannot be read"):
        sign_approval(paper(officer).approval, b"no key", officer.pem)
    with pytest.raises(PolicyViolation, match="not a certificate"):
        sign_approval(paper(officer).approval, officer.key_pem, b"no certificate")
