"""The consortium: names that collide, roles and sites that do not exist, names that FLARE does not take."""

import pytest
from schema_cases import CONSORTIUM, edit, refusal

from almoner.schema.consortium import ROLES, Consortium, Roster, RosterEntry
from almoner.schema.documents import parse_document

GOOD = parse_document(CONSORTIUM, Consortium, "f.yaml")
SITES = "sites: [cleveland, va-long-beach, hungary]"


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        (SITES, "sites: [cleveland, hungary, a-b, a_b]", "two organisations differ in '-' and '_' alone"),
        (SITES, "sites: [cleveland, hungary, coordinating_centre]", "two organisations differ in '-' and '_' alone"),
        (SITES, "sites: [cleveland, hungary, server]", "'server' and 'super' are names that FLARE keeps for itself"),
        (SITES, "sites: [cleveland, hungary, super]", "'server' and 'super' are names that FLARE keeps for itself"),
        (SITES, "sites: [cleveland, hungary, cleveland]", "sites: a name occurs twice"),
        (SITES, "sites: [cleveland, hungary, localhost]", "host localhost is also the name of a site"),
        ("name: trainee@hungary.example", "name: lead@cleveland.example", "users: a name occurs twice"),
        ("role: trainee", "role: intern", "trainee@hungary.example has role intern, which is not defined under roles"),
        ("org: hungary", "org: austria", "trainee@hungary.example is of org austria, which has no site or server"),
        ("  trainee: [", "  super: [", "FLARE's own roles cannot be redefined"),
        ("  trainee: [", "  lead: [", "FLARE's own roles cannot be redefined"),
        ("  trainee: [", "  tra-inee: [", "has role trainee, which is not defined"),
        ("sites: [hungary, cleveland]", "sites: [hungary, austria]", "oncology names unknown sites ['austria']"),
        ("admins: []", "admins: [who@cleveland.example]", "oncology names unknown users ['who@cleveland.example']"),
        ("  oncology:", "  default:", "default is a name that FLARE does not take"),
        ("  oncology:", "  oncology-:", "oncology- is a name that FLARE does not take"),
    ],
)
def test_names_that_do_not_agree(old: str, new: str, part: str) -> None:
    message = refusal(edit(CONSORTIUM, old, new), Consortium)
    assert message.startswith("f.yaml:1: document: ")
    assert part in message


def test_roles_with_a_hyphen() -> None:
    text = edit(edit(CONSORTIUM, "  trainee: [", "  tra-inee: ["), "role: trainee", "role: tra-inee")
    assert "tra-inee has a '-', which FLARE does not take" in refusal(text, Consortium)


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        ("submit_job, view]", "submit_job, byoc]", "roles.trainee.1"),
        ("submit_job, view]", "shell_commands]", "roles.trainee.0"),
        ("host: localhost", "host: '{$HOST}'", "server.host"),
        ("sites: all", "sites: some", "studies.cardiology.sites"),
        (SITES, "sites: []", "sites"),
        ("name: trainee@hungary.example", "name: trainee", "users.1.name"),
        ("  oncology:", "  ../x:", "studies.../x"),
    ],
)
def test_fields_that_are_wrong_by_themselves(old: str, new: str, at: str) -> None:
    assert f": {at}: " in refusal(edit(CONSORTIUM, old, new), Consortium)


def test_no_more_than_fifty_sites() -> None:
    many = ", ".join(["cleveland", "hungary", *(f"s{number}" for number in range(49))])
    assert ": sites: " in refusal(edit(CONSORTIUM, SITES, f"sites: [{many}]"), Consortium)


def test_sites_of_a_study_are_in_roster_order() -> None:
    assert GOOD.sites_of_study("cardiology") == ("cleveland", "va-long-beach", "hungary")
    assert GOOD.sites_of_study("oncology") == ("cleveland", "hungary")
    assert GOOD.sites_of_study("unknown") == ()


def test_flares_roles_need_no_definition() -> None:
    for role in ROLES:
        text = edit(CONSORTIUM, "role: trainee", f"role: {role}")
        assert parse_document(text, Consortium, "f").users[1].role == role


def test_roster_entries_are_found_by_name() -> None:
    entry = RosterEntry(site="a", certificate_sha256="0" * 64, certificate_pem="", nominal_records={"x": 1})
    roster = Roster(schema_version=1, consortium="c", sites=(entry,))
    assert roster.entry("a") is entry
    assert roster.entry("b") is None
