"""Certificates that run out are named in time: at a site's start, and by `almoner status`."""

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from kit_cases import certify, make_key, roster_of

from almoner.flare import start
from almoner.provision.expiry import WARN_DAYS, expiring_certificates, expiry_warning
from almoner.provision.manifest import sign_kit
from almoner.schema.base import canonical_json

ENDS = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(days=36500)
"""When all certificates of these tests run out."""


def before(days: float) -> float:
    return (ENDS - datetime.timedelta(days=days)).timestamp()


@pytest.fixture
def site_kit(kit: Path, root_key: rsa.RSAPrivateKey) -> Path:
    """A site's kit with its own certificate, the root's, and a roster of two sites whose keys are made centrally."""
    certificates = {name: certify(make_key(), name, root_key, "root") for name in ("cleveland", "hungary")}
    (kit / "startup" / "client.crt").write_bytes(certificates["cleveland"].public_bytes(Encoding.PEM))
    (kit / "local" / "almoner_roster.json").write_bytes(canonical_json(roster_of(certificates, "central")))
    (kit / "local" / "almoner_roster.json").chmod(0o600)
    sign_kit(kit, "cleveland", root_key)
    return kit


def test_every_certificate_of_a_site_is_named_and_none_too_early(site_kit: Path) -> None:
    assert expiring_certificates(site_kit, before(WARN_DAYS)) == ()
    assert expiry_warning(site_kit, before(WARN_DAYS)) == ""
    soon = expiring_certificates(site_kit, before(WARN_DAYS - 0.5))
    assert {one.whose for one in soon} == {"the root", "cleveland", "hungary"}
    assert {(one.last_day, one.days_left) for one in soon} == {(ENDS.date(), WARN_DAYS - 1)}


def test_a_users_kit_has_no_roster(site_kit: Path) -> None:
    (site_kit / "local" / "almoner_roster.json").unlink()
    assert expiry_warning(site_kit, before(3)) == (
        f"certificates run out: the root on {ENDS.date()} (in 3 days), this site or user on {ENDS.date()} (in 3 days)"
        " → ask the operator for new ones"
    )
    assert "(it has run out)" in expiry_warning(site_kit, before(-1))


@pytest.mark.threat("T-158")
@pytest.mark.parametrize(("days", "lines"), [(WARN_DAYS + 1, 0), (20, 1)])
def test_a_start_writes_one_line_of_log(
    site_kit: Path, days: int, lines: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class StartedError(Exception):
        pass

    def stop(kit: Path) -> None:
        raise StartedError

    monkeypatch.setattr(start, "_flare_arguments", stop)
    monkeypatch.setattr(start.time, "time", lambda: before(days))
    with pytest.raises(StartedError):
        start.run(site_kit)
    warnings = [record.getMessage() for record in caplog.records if "certificates run out: " in record.getMessage()]
    assert len(warnings) == lines
    assert all("hungary on " in line and "(in 20 days)" in line for line in warnings)
