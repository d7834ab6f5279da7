"""A red-team report in a pack: of the packed job, of another one, or of none that it names."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.audit.audit_cases import Run, make_run, parts_of, sealed, spec_of

from almoner.audit import pack_build
from almoner.audit.pack_verify import Verdict, verify_pack
from almoner.audit.report import render_report
from almoner.errors import EvidenceError
from almoner.schema.attacked import attacked_job

THIS, OTHER = spec_of(3, 2), {**spec_of(3, 2), "rounds": 4}
SITES_PACKAGE = "f" * 64

pytestmark = pytest.mark.threat("T-172")


@pytest.fixture(scope="module")
def run() -> Run:
    return make_run()


def with_report(run: Run, attacked: Any) -> Run:
    report = {"job": "heart-disease", "seed": 0} | ({} if attacked is None else {"attacked": attacked})
    return replace(run, server=replace(run.server, redteam=json.dumps(report).encode()))


def packed(run: Run, folder: Path) -> Verdict:
    return verify_pack(sealed(run, parts_of(run, folder)), run.root_pem)


def about_attacks(verdict: Verdict) -> list[str]:
    return [gap for gap in verdict.gaps if "red" in gap and "team" in gap]


def test_a_report_of_the_packed_job_is_said_to_be_of_it(run: Run, tmp_path: Path) -> None:
    verdict = packed(with_report(run, attacked_job(THIS, SITES_PACKAGE)), tmp_path)
    [gap] = about_attacks(verdict)
    assert "says it attacked this job's spec" in gap
    assert "attacked the spec that was submitted" in render_report(verdict)


def test_a_report_of_another_job_is_not_packed(run: Run, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"red-team report: of job heart-disease with the spec .* run `almoner red"):
        parts_of(with_report(run, attacked_job(OTHER, SITES_PACKAGE)), tmp_path)


def test_a_server_that_packs_it_all_the_same_is_found_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_build, "refuse_other_job", lambda redteam, submission: None)
    verdict = packed(with_report(run, attacked_job(OTHER, SITES_PACKAGE)), tmp_path)
    assert [gap for gap in verdict.gaps if "is of another job: heart-disease, with another spec" in gap]
    assert "It is of another job" in render_report(verdict)


def test_a_server_that_says_it_is_of_the_packed_job_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement's own words about the match are computed anew."""
    found = pack_build.attacks_claim
    monkeypatch.setattr(pack_build, "refuse_other_job", lambda redteam, submission: None)
    monkeypatch.setattr(pack_build, "attacks_claim", lambda *inputs: found(*inputs) | {"is_this_job": True})
    with pytest.raises(EvidenceError, match="server/redteam"):
        packed(with_report(run, attacked_job(OTHER, SITES_PACKAGE)), tmp_path)


def test_another_build_of_the_package_is_a_gap(run: Run, tmp_path: Path) -> None:
    gaps = about_attacks(packed(with_report(run, attacked_job(THIS, "0" * 64)), tmp_path))
    assert "the red team attacked another build of the package than site-1, site-2 ran" in gaps


@pytest.mark.parametrize("attacked", [None, "heart-disease", {}, {"job": "heart-disease"}, {"spec_sha256": 7}])
def test_a_report_that_does_not_say_what_it_attacked_is_a_gap(run: Run, tmp_path: Path, attacked: Any) -> None:
    verdict = packed(with_report(run, attacked), tmp_path)
    assert about_attacks(verdict) == ["the red-team report does not say which job it attacked"]
    assert "does not say which job it attacked" in render_report(verdict)


def test_the_digest_is_of_every_field_of_the_spec() -> None:
    assert attacked_job(THIS, "")["spec_sha256"] != attacked_job(OTHER, "")["spec_sha256"]
    again = dict(reversed(list(THIS.items())))
    assert attacked_job(again, "") == attacked_job(THIS, "")
