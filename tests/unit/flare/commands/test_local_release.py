"""`almoner release run`: one site's own rules, account and book, at a census office with made-up persons."""

import json
import multiprocessing
import uuid
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from almoner.data.commitment import COMMITMENTS_FILE, commit_datasets
from almoner.errors import CertificateRefused, DataError, DocumentError, LedgerError, ProvisioningError
from almoner.flare.commands import local_release
from almoner.flare.commands.local_release import LocalRelease, release_at_site
from almoner.flare.door.render import new_envelope
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.flare.site.dataset_commitments import commit_site_data
from almoner.flare.site.release_store import release_key
from almoner.flare.site.site_files import SiteFiles, load_kit
from almoner.privacy.budget import charge_of
from almoner.privacy.ledger import Ledger, Reservation
from almoner.privacy.plan import PlannedStep
from almoner.privacy.statistics_plan import statistics_plan
from almoner.provision.roster import fingerprint
from almoner.schema.approval import job_digest
from almoner.schema.declarations import job_sites
from almoner.schema.documents import load_document
from almoner.schema.receipt import PureRelease, ZcdpRelease
from almoner.schema.revocation import Revocation
from almoner.schema.statistics import StatisticsSpec

SITE, POPULATION = "census-office", "census-persons"
ANALYST, SECOND = "analyst@census-office.example", "analyst2@census-office.example"
AGE = {"kind": "integer", "low": 17, "high": 90}
LINES = "".join(
    f"{i},{20 + i % 50},{'HS-grad' if i % 3 else 'Masters'},{'Male' if i % 2 else 'Female'}\n" for i in range(900)
)


@pytest.fixture(scope="module")
def consortium(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedConsortium:
    return provision(root, tmp_path_factory.mktemp("census") / "out", 8102, "census")


@pytest.fixture
def site(consortium: ProvisionedConsortium) -> SiteFiles:
    """The office with its data as it was at first, committed to."""
    folder = consortium.site_folder(SITE)
    path = folder / "data" / "adult.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("record_id,age,education,gender\n" + LINES)
    files = load_kit(folder / "kit")
    commit_site_data(files)
    return files


def request(epsilon: float = 0.01, **changes: Any) -> StatisticsSpec:
    """Return a request whose purpose nobody asked for before, so that no earlier release answers it."""
    plain: dict[str, Any] = {
        "schema_version": 1,
        "kind": "statistics",
        "name": "small",
        "study": "census",
        "purpose": f"a test {uuid.uuid4()}",
        "dataset": "census",
        "min_sites": 1,
        "privacy": {
            "unit": "person",
            "neighboring_relation": "add_or_remove_one",
            "mechanism": "integer_laplace",
            "target_epsilon": epsilon,
            "target_delta": 1e-6,
        },
        "trust": {"kind": "local"},
        "confidence": 0.95,
        "min_count": 20,
        "columns": {"age": AGE, "gender": {"kind": "category", "values": ["Female", "Male"]}},
        "queries": [{"name": "age", "kind": "mean", "share": 1.0, "column": "age", "by": ["gender"]}],
    }
    return StatisticsSpec.model_validate_json(json.dumps({**plain, **changes}))


def histogram(column: str, how: dict[str, Any], epsilon: float = 0.01) -> StatisticsSpec:
    return request(
        epsilon,
        columns={column: how},
        queries=[{"name": "h", "kind": "histogram", "share": 1.0, "column": column}],
    )


def run(consortium: ProvisionedConsortium, site: SiteFiles, spec: StatisticsSpec, user: str = ANALYST) -> LocalRelease:
    return release_at_site(site, spec, consortium.user_kit(user))


def spent(site: SiteFiles) -> float:
    with site.ledger() as ledger:
        return ledger.account(POPULATION).rdp_spent


def kinds(site: SiteFiles, last: int) -> list[str]:
    with site.ledger() as ledger:
        return [entry.kind for entry in ledger.entries(last)]


def test_a_request_is_charged_committed_and_released_in_this_order(
    consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    spec, before = request(0.1), spent(site)
    found = run(consortium, site, spec)
    assert found.decision.verdict == "admitted"
    assert not found.repeated
    assert [answer.group for answer in found.answers] == [{"gender": "Female"}, {"gender": "Male"}]
    assert all("without the noise that protects every single person" in answer.sentence for answer in found.answers)
    assert kinds(site, 6) == ["reserved", "decision", "started", "committed", "released", "settled"]
    with site.ledger() as ledger:
        order = ledger.account(POPULATION).filter.order
        ledger.verify()
    assert spent(site) - before == statistics_plan(spec).charge(order)


@pytest.mark.threat("T-51")
def test_asking_the_same_again_gives_the_same_and_costs_nothing(
    consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    """The attack is to average the noise away. Other requests for the same number get fresh noise, and are charged."""
    spec = request()
    first, before = run(consortium, site, spec), spent(site)
    again = [run(consortium, site, spec.model_copy(update={"name": f"n{i}"}), SECOND) for i in range(2)]
    assert all(found.repeated and found.job_id == first.job_id for found in again)
    assert all(found.answers == first.answers for found in again)  # but for names, which no answer has
    assert spent(site) == before
    fresh = run(consortium, site, request())
    assert fresh.answers != first.answers
    assert spent(site) > before


def test_who_may_not_ask_is_not_told_old_answers_either(consortium: ProvisionedConsortium, site: SiteFiles) -> None:
    spec = request()
    run(consortium, site, spec)
    refused = run(consortium, site, spec, "officer@census-office.example")
    assert refused.decision.verdict == "refused"
    assert [violation.rule for violation in refused.decision.violations] == ["submitter.role"]
    assert refused.answers == ()


def _one_joins(site: SiteFiles, joined: str) -> None:
    """Write the data file anew, with these lines more."""
    path = site.folder / "data" / "adult.csv"
    path.write_text(path.read_text() + joined)


WORLDS = pytest.mark.parametrize("joined", ["", "900,50,Masters,Male\n"], ids=["nobody joined", "one joined"])


@pytest.mark.threat("T-51")
@WORLDS
def test_the_same_numbers_after_a_commitment_do_not_tell_that_nobody_joined(
    consortium: ProvisionedConsortium, site: SiteFiles, joined: str
) -> None:
    """The attack: ask, wait for the commitment, ask again; old numbers for nothing would say that no record changed."""
    spec = request()
    first = run(consortium, site, spec)
    old = commit_site_data(site)["census"]
    _one_joins(site, joined)
    assert (commit_site_data(site)["census"] == old) == (not joined)  # what a key of content would have told
    again, charged = run(consortium, site, spec), spent(site)
    assert (again.repeated, again.job_id == first.job_id) == (False, False)
    assert run(consortium, site, spec).answers == again.answers
    assert spent(site) == charged


@pytest.mark.threat("T-51")
@WORLDS
def test_a_file_that_was_written_and_not_committed_to_is_answered_from_the_store(
    consortium: ProvisionedConsortium, site: SiteFiles, joined: str
) -> None:
    spec = request()
    first, before = run(consortium, site, spec), spent(site)
    _one_joins(site, joined)
    again = run(consortium, site, spec)
    assert (again.repeated, again.answers, spent(site)) == (True, first.answers, before)


def test_what_is_asked_while_data_is_replaced_is_not_kept_for_the_new_data(
    consortium: ProvisionedConsortium, site: SiteFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, read = request(), local_release.run_statistics

    def replaced(*arguments: Any) -> Any:
        cells = read(*arguments)
        _one_joins(site, "900,50,Masters,Male\n")
        commit_datasets(site.ledger_folder, {"census": site.folder / "data" / "adult.csv"})
        return cells

    with monkeypatch.context() as patch:
        patch.setattr(local_release, "run_statistics", replaced)
        run(consortium, site, spec)
    assert not run(consortium, site, spec).repeated


def test_commitments_of_before_there_were_versions_keep_no_release(
    consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    path, spec = site.ledger_folder / COMMITMENTS_FILE, request()
    content = json.loads(path.read_text())
    del content["release_version"]
    path.write_text(json.dumps(content))
    assert [run(consortium, site, spec).repeated for _ in range(2)] == [False, False]
    commit_site_data(site)
    assert [run(consortium, site, spec).repeated for _ in range(2)] == [False, True]


@pytest.mark.threat("T-71")
@pytest.mark.parametrize("renamed", [False, True], ids=["copied", "copied, its key changed"])
def test_a_release_of_another_request_is_not_told(
    consortium: ProvisionedConsortium, site: SiteFiles, renamed: bool
) -> None:
    """A genuine release is laid where another request looks; the ledger knows it, but not as that one's."""
    other = request(columns={}, queries=[{"name": "all", "kind": "count", "share": 1.0}])
    key, spec_key = release_key(site, other), release_key(site, spec := request())
    run(consortium, site, other)
    folder = site.ledger_folder / "releases"
    text = (folder / f"{key}.json").read_text()
    laid = folder / f"{spec_key}.json"
    laid.write_text(text.replace(str(key), str(spec_key)) if renamed else text)
    with pytest.raises(LedgerError, match="of another request"):
        run(consortium, site, spec)
    laid.unlink()


def test_a_stored_release_that_the_ledger_does_not_know_is_not_told(
    consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    spec = request()
    run(consortium, site, spec)
    stored = site.ledger_folder / "releases" / f"{release_key(site, spec)}.json"
    content = json.loads(stored.read_text())
    stored.write_text(json.dumps({**content, "cells": [cell + 1 for cell in content["cells"]]}))
    with pytest.raises(LedgerError):
        run(consortium, site, spec)
    stored.unlink()


def test_what_cannot_be_read_stays_charged(consortium: ProvisionedConsortium, site: SiteFiles) -> None:
    (site.folder / "data" / "adult.csv").unlink()
    spec, before = request(), spent(site)
    with pytest.raises(DataError, match="cannot be read"):
        run(consortium, site, spec)
    assert kinds(site, 3) == ["started", "committed", "abandoned"]
    assert spent(site) > before


@pytest.mark.parametrize(
    ("spec", "rule", "finding"),
    [
        (histogram("age", {**AGE, "high": 120}), "statistics.columns", "from 17 to 120, it is declared from 17 to 90"),
        (histogram("zip", AGE), "statistics.columns", "column zip is not declared here"),
        (
            histogram("occupation", {"kind": "category", "values": ["Sales"]}),
            "statistics.columns",
            "column occupation is free text here, which is never released",
        ),
        (histogram("capital-gain", {**AGE, "low": 0, "high": 1999}), "statistics.cells", "2000 cells are more than"),
        (request(min_count=0), "statistics.columns", "min_count 0 is below the site's 20"),
        (request(2.0), "limits.epsilon_per_job", "the job's ε=2.00 is above 1.00"),
    ],
)  # fmt: skip
def test_refusals_say_why(
    consortium: ProvisionedConsortium, site: SiteFiles, spec: StatisticsSpec, rule: str, finding: str
) -> None:
    before = spent(site)
    refused = run(consortium, site, spec)
    found = {violation.rule: violation.finding for violation in refused.decision.violations}
    assert finding in found[rule]
    assert (refused.answers, spent(site)) == ((), before)
    assert kinds(site, 1) == ["decision"]


def test_a_thousand_cells_at_a_price_each_blow_the_budget_and_one_histogram_of_them_does_not(
    consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    gains = {"kind": "integer", "low": 0, "high": 999}
    refused = run(consortium, site, histogram("capital-gain", gains, epsilon=100.0))  # a thousand counts at 0.1
    found = {violation.rule: violation.finding for violation in refused.decision.violations}
    assert "account at ε=" in found["budget.remaining"]
    assert "the job's ε=100.00 is above 1.00" in found["limits.epsilon_per_job"]
    text = (site.folder / "data" / "adult.csv").read_text().replace("gender\n", "gender,capital-gain\n", 1)
    header, *lines = text.splitlines()
    (site.folder / "data" / "adult.csv").write_text("\n".join([header, *(f"{line},7" for line in lines)]) + "\n")
    admitted = run(consortium, site, histogram("capital-gain", gains, epsilon=0.1))
    assert len(admitted.answers) == 1000  # a person is in one cell of them


def test_requests_that_need_others_or_come_from_elsewhere(
    consortium: ProvisionedConsortium, site: SiteFiles, tmp_path: Path
) -> None:
    with pytest.raises(DocumentError, match="census has 1 sites with data set census, it wants min_sites=2"):
        run(consortium, site, request(min_sites=2))
    with pytest.raises(DocumentError, match="study credit has 0 sites with data set census"):
        run(consortium, site, request(study="credit"))
    distributed = {"trust": {"kind": "distributed", "num_colluding_sites": 1}}
    gaussian = {**request().privacy.model_dump(mode="json"), "mechanism": "discrete_gaussian"}
    with pytest.raises(DocumentError, match="trust distributed needs the other sites"):
        run(consortium, site, request(privacy=gaussian, **distributed))
    with pytest.raises(ProvisioningError, match="no user's kit with a usable key"):
        release_at_site(site, request(), tmp_path)
    refused = release_at_site(site, request(), site.kit)  # a site's own certificate is no user's
    assert "submitter.role" in [violation.rule for violation in refused.decision.violations]


@pytest.mark.threat("T-157")
def test_an_analyst_whose_certificate_is_revoked_is_told_nothing(
    consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    crt = x509.load_pem_x509_certificate((consortium.user_kit(ANALYST) / "startup" / "client.crt").read_bytes())
    listed = (Revocation(certificate_sha256=fingerprint(crt), since=date(2026, 1, 1), reason="she left"),)
    revoking, before = replace(site, policy=site.policy.model_copy(update={"revoked": listed})), spent(site)
    with pytest.raises(CertificateRefused, match="is revoked since 2026-01-01: she left"):
        run(consortium, revoking, request())
    assert spent(site) == before


def test_the_sites_are_those_of_the_study_as_if_it_were_submitted(
    consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    """An officer approves spec and sites: another site with the data set, which is in no study, is not among them."""
    (entry,), spec = site.roster.sites, request()
    two = (entry, entry.model_copy(update={"site": "second-office"}))
    roster = site.roster.model_copy(update={"sites": two})
    asked = run(consortium, replace(site, roster=roster), spec)
    assert asked.decision.job_digest == job_digest(new_envelope(spec, job_sites(spec, consortium.declarations)))


def test_a_site_refuses_what_is_of_a_study_without_it_or_not_allowed_here(
    consortium: ProvisionedConsortium, site: SiteFiles
) -> None:
    (entry,) = site.roster.sites
    two = (entry, entry.model_copy(update={"site": "second-office"}))
    roster = site.roster.model_copy(update={"sites": two, "studies": {"credit": ("second-office",)}})
    refused = run(consortium, replace(site, roster=roster), request(study="credit"))
    found = {violation.rule: violation.finding for violation in refused.decision.violations}
    assert found["allow.studies"] == "credit is not in [census]"
    assert "envelope.sites" in found
    assert refused.answers == ()


def _ask(kit: Path, user_kit: Path, text: str, barrier: Any, results: Any) -> None:
    """Run in a process of its own: wait for the other, then ask."""
    spec = StatisticsSpec.model_validate_json(text)
    barrier.wait(60)
    found = release_at_site(load_kit(kit), spec, user_kit)
    results.put((found.decision.verdict, [violation.rule for violation in found.decision.violations]))


def test_two_analysts_race_for_the_last_tenth_of_epsilon(consortium: ProvisionedConsortium, site: SiteFiles) -> None:
    """Two processes on one ledger: one is answered, the other reads why not."""
    _leave_room_for_one(site, 0.1)
    fork = multiprocessing.get_context("fork")
    barrier, results = fork.Barrier(2), fork.Queue()
    processes = [
        fork.Process(
            target=_ask, args=(site.kit, consortium.user_kit(user), request(0.1).model_dump_json(), barrier, results)
        )
        for user in (ANALYST, SECOND)
    ]
    for process in processes:
        process.start()
    ends = sorted(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
    assert ends[0] == ("admitted", [])
    assert ends[1] in [("refused", ["budget.remaining"]), ("refused", ["budget.reserve"])]
    with site.ledger() as ledger:
        account = ledger.account(POPULATION)
        assert account.rdp_spent <= account.filter.budget
        ledger.verify()


def _leave_room_for_one(site: SiteFiles, epsilon: float) -> None:
    """Reserve so much that one request of this ε fits into the account, and no second one."""
    with site.ledger() as ledger:
        account = ledger.account(POPULATION)
        order = account.filter.order
        charge = statistics_plan(request(epsilon)).charge(order)
        rho = (account.rdp_left - 1.5 * charge) / order
        _reserve(ledger, ZcdpRelease(kind="zcdp_release", rho=rho, count=1))
        assert charge <= ledger.account(POPULATION).rdp_left < 2 * charge
        assert charge <= charge_of((PureRelease(kind="pure_release", epsilon=epsilon, count=1),), order)


def _reserve(ledger: Ledger, event: ZcdpRelease) -> None:
    ledger.reserve(
        Reservation(
            job_id=str(uuid.uuid4()),
            nonce=uuid.uuid4().hex,
            envelope_digest="a" * 64,
            tree_digest="b" * 64,
            population=POPULATION,
            privacy_unit="person",
            neighboring_relation="add_or_remove_one",
            steps=(PlannedStep("statistics", (event,)),),
        )
    )


def test_the_census_job_fits_its_office(root: Path, consortium: ProvisionedConsortium) -> None:
    from almoner.flare.commands.planning import plan_job

    spec = load_document(root / "jobs" / "census_release.yaml", StatisticsSpec)
    (decision,) = plan_job(spec, consortium.declarations, None, ANALYST)
    assert decision.verdict == "admitted"
    assert "ε=1.00 (person, δ=1e-6)" in decision.asks
