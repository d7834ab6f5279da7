"""FLARE's project and the roster: whatever our schema takes, FLARE's provisioner takes too."""

import contextlib
import hashlib
import io
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from nvflare.lighter.provision import prepare_project
from pydantic import ValidationError

from almoner.provision.project import render_project
from almoner.provision.roster import fingerprint, render_roster
from almoner.schema.base import org_code
from almoner.schema.consortium import Consortium
from almoner.schema.declarations import Declarations


def test_the_checkouts_project(declarations: Declarations) -> None:
    project = render_project(declarations.consortium, 8102)
    assert project["api_version"] == 4
    by_name = {entry["name"]: entry for entry in project["participants"]}
    assert by_name["localhost"]["fed_learn_port"] == by_name["localhost"]["admin_port"] == 8102
    assert by_name["va-long-beach"] == {
        "name": "va-long-beach",
        "type": "client",
        "org": "va_long_beach",
        "allow_log_streaming": False,
    }
    assert by_name["lead@cleveland.example"]["role"] == "lead"
    study = project["studies"]["cardiology"]
    assert study["site_orgs"] == {org_code(site): [site] for site in declarations.consortium.sites}
    assert study["admins"] == ["lead@cleveland.example", "trainee@hungary.example"]


NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,12}\Z")
HOSTS = st.from_regex(r"\A[A-Za-z0-9.-]{1,20}\Z")
USERS = st.from_regex(r"\A[A-Za-z0-9._-]{1,10}@[A-Za-z0-9.-]{1,12}\.[A-Za-z0-9]{1,4}\Z")


@settings(max_examples=120)
@given(
    name=NAMES,
    host=HOSTS,
    sites=st.lists(NAMES, min_size=1, max_size=4),
    user=USERS,
    role=st.sampled_from(["lead", "member"]) | NAMES,
    study=NAMES | st.just("default"),
    port=st.integers(1024, 65535),
)
def test_what_the_schema_takes_flare_takes(
    name: str, host: str, sites: list[str], user: str, role: str, study: str, port: int
) -> None:
    document: dict[str, Any] = {
        "schema_version": 1,
        "name": name,
        "server": {"host": host, "org": sites[0]},
        "sites": tuple(sites),
        "users": ({"name": user, "org": sites[0], "role": role},),
        "roles": {} if role in ("lead", "member") else {role: ("view",)},
        "studies": {study: {"sites": "all", "admins": (user,)}},
    }
    with contextlib.suppress(ValidationError):
        consortium = Consortium.model_validate(document)
        with contextlib.redirect_stdout(io.StringIO()):
            prepare_project(render_project(consortium, port))


def test_the_roster_has_every_sites_certificate_and_sizes(declarations: Declarations, root_pem: bytes) -> None:
    pems = dict.fromkeys(reversed(declarations.consortium.sites), root_pem.decode())
    roster = render_roster(declarations, pems)
    assert tuple(entry.site for entry in roster.sites) == declarations.consortium.sites
    entry = roster.entry("hungary")
    assert entry is not None
    assert entry.nominal_records == {"cardiology": 183}
    certificate = x509.load_pem_x509_certificate(entry.certificate_pem.encode())
    assert entry.certificate_sha256 == fingerprint(certificate)
    der = certificate.public_bytes(Encoding.DER)
    assert entry.certificate_sha256 == hashlib.sha256(der).hexdigest()
    assert roster.studies == {"cardiology": declarations.consortium.sites}


def test_a_site_without_certificate_makes_no_roster(declarations: Declarations) -> None:
    with pytest.raises(KeyError):
        render_roster(declarations, {})
