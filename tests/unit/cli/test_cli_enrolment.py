"""Keys made at the site, by command: what is printed, what is asked, and what ends with exit code 2."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_cases import Outcome, Shell

from almoner.provision.manifest import verify_kit

FORMS = ("cleveland", "officer@cleveland.example", "lead@cleveland.example")


def is_one_line_error(outcome: Outcome) -> bool:
    return outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.removesuffix("\n").isprintable()


@pytest.fixture(scope="module")
def declared(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout's declarations with one site alone, which takes less time."""
    folder = tmp_path_factory.mktemp("declared")
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(root / name, folder / name)
    path = folder / "provisioning" / "consortium.yaml"
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    document["sites"] = ["cleveland"]
    document["users"] = [user for user in document["users"] if user["org"] in ("cleveland", "coordinating-centre")]
    document["studies"]["cardiology"]["admins"] = ["lead@cleveland.example"]
    path.write_text(yaml.safe_dump(document))
    return folder


def test_from_form_to_approved_kit(declared: Path, tmp_path: Path, almoner: Shell) -> None:
    out, folder = tmp_path / "operator", tmp_path / "cleveland"
    begun = almoner("provision", "--keys-at-site", "--out", out, "--root", declared)
    assert begun.code == 0
    assert "no form for admin@coordinating-centre.example: FLARE's cert request does not know the role" in begun.out
    assert sorted(path.name for path in (out / "requests").iterdir()) == sorted(f"{name}.yaml" for name in FORMS)
    assert is_one_line_error(almoner("provision", "--keys-at-site", "--out", out, "--root", declared))

    empty = almoner("approve-requests", out, "--root", declared)
    assert empty.code == 0
    assert "packages are written once these sites have certificates: cleveland" in empty.out

    made = almoner("site", "request-certificate", out / "requests" / "cleveland.yaml", folder, "--json")
    assert made.code == 0
    request = json.loads(made.out)
    assert is_one_line_error(almoner("site", "request-certificate", out / "requests" / "cleveland.yaml", folder))
    shutil.copy(request["request"], out / "requests")

    for asked in (almoner("approve-requests", out, "--root", declared, *json_too) for json_too in ((), ("--json",))):
        assert is_one_line_error(asked)
        assert "nothing was issued" in asked.err
        assert request["key_sha256"] in asked.out
        assert not (out / "authority" / "certificates").exists()
    issued = almoner("approve-requests", out, "--root", declared, "--json", "--yes")
    assert issued.code == 0
    answer = json.loads(issued.out)
    assert answer["participants"][0] == {
        "name": "cleveland",
        "org": "cleveland",
        "role": "client",
        "state": "issued",
        "key_sha256": request["key_sha256"],
    }
    assert answer["sites_without_certificate"] == []
    [package] = answer["new_packages"]

    policy = declared / "policies" / "cleveland.yaml"
    joined = almoner("site", "join", package, folder, "--policy", policy, "--json")
    assert json.loads(joined.out) == {"kit": str(folder / "kit"), "needs_approval": True}
    assert is_one_line_error(almoner("site", "join", package, folder))
    start = almoner("site", "start", folder / "kit")
    assert is_one_line_error(start)
    assert (
        f"has not approved the roster yet → compare the fingerprints: almoner site approve-roster {folder}" in start.err
    )

    shown = almoner("site", "approve-roster", folder)
    assert is_one_line_error(shown)
    as_json = almoner("site", "approve-roster", folder, "--json")
    assert is_one_line_error(as_json)
    told = json.loads(as_json.out)
    assert not told["approved"]
    for fingerprint in (*told["certificates_sha256"].values(), told["root_sha256"], told["roster_sha256"]):
        assert fingerprint in shown.out
    wrong = almoner("site", "approve-roster", folder, "--digest", "0" * 64)
    assert is_one_line_error(wrong)
    assert "somebody gave you different rosters" in wrong.err
    approved = almoner("site", "approve-roster", folder, "--digest", told["roster_sha256"], "--json")
    assert approved.code == 0
    assert json.loads(approved.out)["approved"]
    verify_kit(folder / "kit")

    assert "its sites have their kits themselves" in almoner("up", out, "--root", declared).err


def test_bad_input(declared: Path, tmp_path: Path, almoner: Shell) -> None:
    nothing, text = tmp_path / "nothing", tmp_path / "text"
    text.write_text("schema_version: 1\nname: x\n")
    for arguments in (
        ("approve-requests", nothing, "--root", declared),
        ("approve-requests", tmp_path, "--root", nothing),
        ("site", "request-certificate", nothing, tmp_path / "a"),
        ("site", "request-certificate", text, tmp_path / "b"),
        ("site", "join", nothing, tmp_path / "c"),
        ("site", "join", text, tmp_path / "d"),
        ("site", "approve-roster", nothing),
        ("provision", "--keys-at-site", "--out", text / "below", "--root", declared),
    ):
        outcome = almoner(*arguments)
        assert is_one_line_error(outcome), (arguments, outcome)
        assert outcome.out == ""
    assert list(tmp_path.iterdir()) == [text]
