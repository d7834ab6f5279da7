"""A model or a release that the sites did not sign for is found in a pack, though the server signed and logged it."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.audit.audit_cases import JOB, RELEASED, Run, make_run, parts_of, sealed, site_key

from almoner.audit.inputs import slim_outcome
from almoner.audit.pack_verify import Verdict, verify_pack
from almoner.audit.submission import read_submission
from almoner.errors import EvidenceError
from almoner.protection.signing import sign_with
from almoner.protection.vouchers import Vouched, body_digest, voucher_statement

MODEL, RELEASE = [0.5, -2.0, 1e-300], bytes.fromhex(RELEASED)
Change = Callable[[dict[str, Any]], object]


def voucher(run: Run, number: int, kind: Vouched, body: bytes) -> str:
    submission = read_submission(run.server.submission, run.root, "job")
    site = run.sites[number].site
    statement = voucher_statement(site, submission.envelope_digest, JOB, kind, body_digest(body))
    return sign_with(site_key(number), statement).hex()


def run_with(change: Change = lambda outcome: None, num_sites: int = 3, min_sites: int = 0) -> Run:
    """Return a run that left a model, for which all signed, and a release, with a changed outcome."""
    run = make_run(num_sites, min_sites=min_sites)
    model = np.array(MODEL, "<f8").tobytes()
    outcome = dict(run.server.outcome or {}) | {
        "model_sha256": sha256(model).hexdigest(),
        "releases": {"site-1": RELEASE.hex()},
        "vouchers": {
            "model": {f"site-{i + 1}": voucher(run, i, "model", model) for i in range(num_sites)},
            "release": {"site-1": voucher(run, 0, "release", RELEASE)},
        },
    }
    change(outcome)
    return replace(run, server=replace(run.server, outcome=outcome))


def packed(run: Run, folder: Path) -> Verdict:
    return verify_pack(sealed(run, parts_of(run, folder)), run.root_pem)


def verified(folder: Path, change: Change = lambda outcome: None) -> Verdict:
    return packed(run_with(change), folder)


def test_signatures_are_counted(tmp_path: Path) -> None:
    verdict = verified(tmp_path)
    assert "4 signatures of sites are over the model and the releases that the job left" in verdict.checks
    assert not any("model" in gap for gap in verdict.gaps)


@pytest.mark.parametrize("signed", [0, 1, 2])
def test_a_model_for_which_too_few_signed_is_a_gap(signed: int, tmp_path: Path) -> None:
    """One site alone can be at the server's side."""

    def drop(outcome: dict[str, Any]) -> None:
        outcome["vouchers"]["model"] = dict(list(outcome["vouchers"]["model"].items())[:signed])

    verdict = verified(tmp_path, drop)
    assert f"{signed} of at least 3 sites signed for the model; else it is the server's word" in verdict.gaps


@pytest.mark.threat("T-162")
def test_as_many_must_have_signed_as_could_not_all_be_at_the_servers_side(tmp_path: Path) -> None:
    """Two sites are enough for the spec, but of four sites with one that colludes it takes three."""

    def drop(outcome: dict[str, Any]) -> None:
        outcome["vouchers"]["model"] = dict(list(outcome["vouchers"]["model"].items())[:2])

    verdict = packed(run_with(drop, num_sites=4, min_sites=2), tmp_path)
    assert "2 of at least 3 sites signed for the model; else it is the server's word" in verdict.gaps
    assert not any("model" in gap for gap in packed(run_with(num_sites=4, min_sites=2), tmp_path / "all").gaps)


@pytest.mark.threat("T-162")
def test_a_signature_of_a_site_that_has_no_part_in_the_pack_does_not_count(tmp_path: Path) -> None:
    def absent(outcome: dict[str, Any]) -> None:
        outcome["vouchers"]["model"]["site-3"] = "junk"
        outcome["rounds"] = [record | {"contributors": ["site-1", "site-2"]} for record in outcome["rounds"]]
        outcome["releases"].pop("site-3", None)

    run = run_with(absent)
    verdict = packed(replace(run, sites=run.sites[:2]), tmp_path)
    said = "2 of at least 3 sites signed for the model (not checked, having no part in this pack: site-3)"
    assert f"{said}; else it is the server's word" in verdict.gaps
    assert "3 signatures of sites are over the model and the releases that the job left" in verdict.checks


def test_a_model_of_a_job_that_has_too_few_sites_for_its_protection(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="a model, of a job that cannot have run: 2 sites"):
        packed(run_with(num_sites=2), tmp_path)


@pytest.mark.parametrize("file", ["patient_alignment.yaml", "hospital_statistics.yaml"])
def test_a_job_that_has_no_model_lacks_no_signature_over_one(file: str, tmp_path: Path) -> None:
    run = make_run(num_sites=3, num_rounds=1, packaged=file)
    verdict = verify_pack(sealed(run, parts_of(run, tmp_path)), run.root_pem)
    assert not any("model" in gap for gap in verdict.gaps)
    [unchecked] = [gap for gap in verdict.gaps if "no site's signature over it was checked" in gap]
    assert unchecked.startswith("the statistics: " if "statistics" in file else "the size of the intersection: ")


LIES: dict[str, tuple[str, Change]] = {
    "another model": ("model for which site-1", lambda said: said.update(model_sha256="0" * 64)),
    "no model": ("model for which site-1", lambda said: said.update(model_sha256="")),
    "another release": ("release for which site-1", lambda said: said["releases"].update({"site-1": "00" * 16})),
    "no release": ("release for which site-1", lambda said: said.update(releases={})),
    "a release in another's name": (
        "release for which site-2",
        lambda said: said.update(
            releases={"site-2": RELEASE.hex()},
            vouchers={"release": {"site-2": said["vouchers"]["release"]["site-1"]}},
        ),
    ),
    "a kind in another's place": (
        "model for which site-1",
        lambda said: said["vouchers"]["model"].update({"site-1": said["vouchers"]["release"]["site-1"]}),
    ),
    "vouchers that are none": ("not what a job leaves", lambda said: said.update(vouchers=["site-1"])),
    "vouchers of no site": ("not what a job leaves", lambda said: said["vouchers"].update(model="site-1")),
    "two sites that do not exist": (
        "a signature of 'ghost-1', which the job does not name",
        lambda said: said["vouchers"].update(model={"ghost-2": "", "ghost-1": "junk"}),
    ),
    "a site that does not exist, beside the others": (
        "a signature of 'ghost', which the job does not name",
        lambda said: said["vouchers"]["model"].update(ghost="00"),
    ),
    "statistics signed by nobody": (
        "a signature of 'ghost', which the job does not name",
        lambda said: said["vouchers"].update(statistics={"ghost": "00"}),
    ),
    "a voucher that is none": (
        "model for which site-1",
        lambda said: said["vouchers"]["model"].update({"site-1": "é"}),
    ),
    "a release that is none": ("releases that are none", lambda said: said.update(releases={"site-1": "a number"})),
}


@pytest.mark.threat("T-162")
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_of_the_server_about_the_result(lie: str, tmp_path: Path) -> None:
    match, change = LIES[lie]
    with pytest.raises(EvidenceError, match=match):
        verified(tmp_path, change)


def test_the_digest_of_a_model_is_the_one_that_sites_sign() -> None:
    slim = slim_outcome({"model": MODEL, "certificates": {"site-1": "pem"}, "rounds": []})
    assert slim["model_sha256"] == body_digest(np.array(MODEL, "<f8").tobytes())
    assert "certificates" not in slim
    assert slim_outcome({"model": None})["model_sha256"] == ""
