import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.fuel.utils.admin_name_utils import is_valid_admin_client_name, new_admin_client_name

from almoner.flare.gates.server_names import job_of, may_bear, party_of

JOB = "6a1b1111-0000-4000-8000-000000000000"
LEAD = "lead@cleveland.example"


@pytest.mark.parametrize(
    ("name", "certificate"),
    [
        ("cleveland", "cleveland"),
        (f"cleveland.{JOB}", "cleveland"),
        pytest.param(new_admin_client_name(), LEAD, id="console"),
        (f"server.{JOB}", None),
    ],
)
def test_honest_names(name: str, certificate: str | None) -> None:
    assert may_bear(name, certificate)


@pytest.mark.threat("T-14")
@pytest.mark.parametrize(
    ("name", "certificate"),
    [
        ("hungary", "cleveland"),
        (f"hungary.{JOB}", "cleveland"),
        (f"cleveland2.{JOB}", "cleveland"),
        ("cleveland", "cleveland2"),
        ("cleveland.", "cleveland"),
        ("cleveland.job", "cleveland"),
        (f"cleveland.{JOB}.rank", "cleveland"),
        ("server", "cleveland"),
        ("server", "server"),
        (f"server.{JOB}", "cleveland"),
        (f"server.{JOB}", "server"),
        (f"_admin_{JOB}", "cleveland"),
        (f"_admin_{JOB}", ""),
        ("_admin_1", LEAD),
        ("lead", LEAD),
        (LEAD, LEAD),
        ("cleveland", LEAD),
        ("server", LEAD),
        ("cleveland", ""),
        ("", ""),
        ("server", None),
        ("cleveland", None),
        (f"cleveland.{JOB}", None),
        (f"_admin_{JOB}", None),
        ("server.", None),
        ("server.job", None),
        (f"server.{JOB}.rank", None),
        (f" server.{JOB}", None),
        (f"server.{JOB}\n", None),
        ("cleveland\n", "cleveland"),
        (None, "cleveland"),
        (b"cleveland", "cleveland"),
        (["cleveland"], None),
    ],
)
def test_names_of_others(name: object, certificate: str | None) -> None:
    assert not may_bear(name, certificate)


@given(certificate=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}(@[a-z]{1,5}\.example)?", fullmatch=True), name=st.data())
def test_nobody_with_a_certificate_speaks_as_the_server_or_for_two(certificate: str, name: st.DataObject) -> None:
    roots = st.sampled_from([certificate, "server", "hungary", f"_admin_{JOB}", "_admin_"])
    given_name = name.draw(st.builds(str.__add__, roots, st.sampled_from(["", ".", f".{JOB}", JOB, " "])))
    if may_bear(given_name, certificate):
        party = party_of(given_name)
        assert party in ("site", "site_job", "console")
        assert (party == "console") is ("@" in certificate)
        assert party == "console" or given_name.split(".")[0] == certificate


def test_the_names_of_flares_consoles_are_known() -> None:
    assert is_valid_admin_client_name(f"_admin_{JOB}")
    assert all(party_of(new_admin_client_name()) == "console" for _ in range(20))


def test_jobs() -> None:
    job = str(uuid.uuid4())
    assert job_of(f"hungary.{job}") == job_of(f"server.{job}") == job
    assert job_of("hungary") == ""
