"""Revocations: fingerprints as openssl prints them, errors that say so, lists that only grow."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schema_cases import SITE_POLICY, refusal

from almoner.schema.base import canonical_json
from almoner.schema.documents import parse_document
from almoner.schema.policy import SitePolicy
from almoner.schema.revocation import Revocation, Revocations, revocation_of, united

HEX = "0123456789abcdef" * 4
COLONS = ":".join(HEX[at : at + 2] for at in range(0, 64, 2))
DAYS = st.dates(date(2026, 1, 1), date(2026, 1, 5))
LISTS = st.lists(st.tuples(st.sampled_from("abc"), DAYS), max_size=4).map(
    lambda found: tuple(Revocation(certificate_sha256=name * 64, since=day, reason="r") for name, day in found)
)


def policy(fingerprint: str, rest: str = "since: 2026-11-20, reason: the laptop was stolen") -> str:
    return f"{SITE_POLICY.rstrip()}\nrevoked:\n  - {{certificate_sha256: {fingerprint}, {rest}}}\n"


@pytest.mark.parametrize("written", [HEX, HEX.upper(), COLONS, COLONS.upper(), f'"{COLONS.upper()}"'])
def test_a_fingerprint_with_colons_or_without_in_any_case(written: str) -> None:
    [found] = parse_document(policy(written), SitePolicy, "f.yaml").revoked
    assert found == Revocation(certificate_sha256=HEX, since=date(2026, 11, 20), reason="the laptop was stolen")
    assert Revocation.model_validate_json(canonical_json(found)) == found


@pytest.mark.parametrize(
    "written", [HEX[:-2], HEX + "00", COLONS[:59], COLONS + ":", HEX.replace("0", "g"), "12", COLONS.replace(":", "-")]
)
def test_what_is_no_fingerprint_is_told_with_the_command_that_prints_one(written: str) -> None:
    found = refusal(policy(f'"{written}"'), SitePolicy)
    assert "revoked.0.certificate_sha256: " in found
    assert "64 hexadecimal digits with colons or without" in found
    assert "openssl x509 -noout -fingerprint -sha256" in found


@pytest.mark.parametrize("rest", ["since: 2026-11-20", "reason: stolen", "since: yesterday, reason: stolen"])
def test_day_and_reason_are_demanded(rest: str) -> None:
    assert "revoked.0." in refusal(policy(HEX, rest), SitePolicy)


def test_it_counts_from_its_day_on_in_utc() -> None:
    listed = (Revocation(certificate_sha256=HEX, since=date(2026, 11, 20), reason="r"),)
    day = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
    assert revocation_of(listed, HEX, day - 1) is None
    assert revocation_of(listed, HEX, day) == listed[0]
    assert revocation_of(listed, HEX, day + 10**8) == listed[0]
    assert revocation_of(listed, "f" * 64, day) is None


@given(LISTS, LISTS, DAYS)
def test_two_lists_together_revoke_what_either_does(one: Revocations, other: Revocations, day: date) -> None:
    now = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
    for name in ("a" * 64, "b" * 64, "c" * 64):
        either = any(revocation_of(listed, name, now) for listed in (one, other))
        assert bool(revocation_of(united(one, other), name, now)) == either
