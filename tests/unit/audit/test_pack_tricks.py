"""Tricks with files and JSON: what is signed by a party of the run, and is to make a reader see something else."""

import io
import json
import zipfile
from dataclasses import replace
from functools import partial
from hashlib import sha256

import pytest
from tests.unit.audit.audit_cases import (
    JOB,
    TIME,
    UNIT,
    Chain,
    decision,
    make_ledger,
    make_run,
    parts_of,
    refused,
    resigned,
    sealed,
    spec_of,
    submitted,
)

from almoner.audit import parts as names
from almoner.audit import site_statements
from almoner.audit.ledger_extract import replay_entries
from almoner.audit.pack_build import seal_pack, site_parts
from almoner.audit.pack_verify import verify_pack
from almoner.audit.report import render_report
from almoner.audit.run_verify import verify_releases, verify_rounds
from almoner.audit.statements import KitSigner, Statement, digests_of, sign_statement
from almoner.audit.submission import read_submission
from almoner.errors import EvidenceError
from almoner.privacy.ledger_entries import AccountOpened, Created
from almoner.schema.policy import Account
from almoner.schema.receipt import SampledGaussian

DEEP = '{"a":' * 300 + "1" + "}" * 300
TURNED = "\u202egnp.exe"


@pytest.fixture(scope="module")
def run():
    return make_run()


@pytest.fixture(scope="module")
def parts(run, tmp_path_factory):
    return parts_of(run, tmp_path_factory.mktemp("run"))


def with_record(run, parts, content):
    """Return the parts with another record of FLARE's, all statements of the server made anew for it."""
    changed = {**parts, names.META: content}
    for name in names.SERVER_STATEMENTS:
        changed = resigned(run, changed, name, lambda predicate: predicate, site=None)
    return changed


@pytest.mark.threat("T-142")
@pytest.mark.parametrize(
    "more",
    ['"job_id": "0",', '"x": NaN,', '"x": 1e999,', '"x": 1' + "0" * 400 + ",", '"x": "\\ud800",', f'"x": {DEEP},'],
    ids=["twice", "nan", "infinite", "huge", "surrogate", "deep"],
)
def test_json_that_two_readers_read_differently_is_refused(run, parts, more):
    content = f'{{{more} "job_id": "{JOB}", "status": "FINISHED:COMPLETED", "job_deploy_detail": ["server: OK"]}}'
    refused(run, with_record(run, parts, content.encode()), "job/meta.json: (not JSON, or a key|nested too deep)")


@pytest.mark.threat("T-142")
@pytest.mark.parametrize("name", [names.LOG_HEAD, names.LOG_ENTRIES])
def test_the_logs_parts_have_one_spelling(run, parts, name):
    twice = parts[name].replace(b"{", b'{"schema_version":1,', 1)
    refused(run, {**parts, name: twice}, f"{name}: not what the log's part of a pack looks like")


@pytest.mark.threat("T-143")
@pytest.mark.parametrize("number", [10**400, float(10**300)])
def test_a_number_beyond_all_comparison(run, parts, number):
    name = names.of_site("site-1", names.PRIVACY)

    def huge(predicate):
        return {**predicate, "recomputed": {**predicate["recomputed"], "job_epsilon": number}}

    refused(run, resigned(run, parts, name, huge), f"^{name}")


@pytest.mark.threat("T-143")
def test_a_delta_that_rounds_to_nothing(run, parts):
    """A tolerance for the last digits of sums is none for what was given."""
    name = names.of_site("site-1", names.PRIVACY)

    def none(predicate):
        return {**predicate, "recomputed": {**predicate["recomputed"], "job_delta": 1e-4 * (1 - 5e-7)}}

    verdict = verify_pack(sealed(run, resigned(run, parts, name, none)), run.root_pem)
    assert verdict.statements[name].predicate["recomputed"]["job_delta"] == 1e-4


def test_statements_nested_too_deep_are_refused_without_a_traceback(run, parts):
    def deep(predicate):
        return {**predicate, "x": json.loads(DEEP)}

    refused(run, resigned(run, parts, names.DPIA, deep, site=None), f"{names.DPIA}: nested too deep")


@pytest.mark.parametrize("asks", [json.loads(DEEP), 10**400, "\ud800"])
def test_a_decision_that_no_page_can_show_is_refused(tmp_path, asks):
    run = make_run(ledger=partial(make_ledger, decided={"asks": asks}))
    with pytest.raises(EvidenceError, match=r"ledger of site-1: entry 4 .decision.: its payload is nested too deep"):
        parts_of(run, tmp_path)


@pytest.mark.threat("T-147")
def test_text_that_turns_its_direction_or_moves_the_cursor_is_not_shown_so(run, tmp_path):
    decided = {"asks": f"training {TURNED}", "submitter": "lead@site-1.example"}
    made = make_run(ledger=partial(make_ledger, decided=decided))
    attacked = {"job": "x\n  ✓ 20 sites cosigned\x1b[2K", "spec_sha256": "0" * 64}
    report = json.dumps({"attacked": attacked, "note": TURNED, "rows": [{TURNED: "\u200bhidden"}]}).encode()
    parts = parts_of(made, tmp_path) | {names.REDTEAM: report}
    claim = {"status": "run", "attacked": attacked, "is_this_job": False}
    parts = _with_attacks(made, parts, claim)
    verdict = verify_pack(sealed(made, parts), made.root_pem)
    assert not any(char in line for line in (*verdict.checks, *verdict.gaps) for char in "\n\x1b\u202e")
    page = render_report(verdict)
    assert "gnp.exe" in page
    assert not any(char in page for char in "\u202e\x1b\u200b")


def _with_attacks(run, parts, claim):
    party = run.root.party(run.server.kit.certificate, None, "")
    report = parts[names.REDTEAM]
    whole = {**claim, "sha256": sha256(report).hexdigest(), "fields": sorted(json.loads(report))}
    about = digests_of(parts, names.SUBMISSION, names.META, names.OUTCOME, names.REDTEAM)
    statement = Statement(about, "urn:almoner:predicate:redteam:1", whole)
    return {**parts, names.ATTACKS: sign_statement(statement, KitSigner(party, run.server.kit.private_key))}


@pytest.mark.threat("T-154")
def test_a_red_team_report_of_any_size_makes_a_page_of_bounded_size(run, tmp_path):
    tables = {f"part {number}": {"x": {"y": "z" * 5000}, "rows": [{"a": 1}]} for number in range(500)}
    large = replace(run, server=replace(run.server, redteam=json.dumps(tables).encode()))
    page = render_report(verify_pack(sealed(large, parts_of(large, tmp_path)), run.root_pem))
    assert len(page) < 400_000
    assert "tables are in the part" in page


@pytest.mark.threat("T-146")
def test_a_submission_with_two_files_of_one_name(run):
    buffer = io.BytesIO(run.server.submission)
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("heart/app/config/almoner_job.json", b"{}")
    with pytest.raises(EvidenceError, match="job: a file stands in it twice"):
        read_submission(buffer.getvalue(), run.root, "job")


def test_a_file_beside_the_path_of_the_envelope_is_not_the_envelope(run):
    moved = submitted({"schema_version": 1})
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(moved)) as known, zipfile.ZipFile(buffer, "w") as archive:
        for name in known.namelist():
            archive.writestr(name.replace("app/config", "app/../app/config"), known.read(name))
    with pytest.raises(EvidenceError, match=r"has no app/config/almoner_job\.json"):
        read_submission(buffer.getvalue(), run.root, "job")


@pytest.mark.parametrize("name", ["a\u0131b", "con:", "a\\b", "./a", "a//b", "../a", "a\x00", "a\x1b", "a" * 201, ""])
def test_names_with_two_spellings_are_refused(run, parts, name):
    with pytest.raises(EvidenceError):
        verify_pack(sealed(run, {**parts, name: b"x"}), run.root_pem)


def test_a_site_that_never_opened_an_account_has_a_page(run):
    """It refused the job: there is a ledger with its name and a decision, and no ε to show."""
    first = make_ledger("site-1", 0, spec_of(3, 2), "a" * 64, 3)
    chain = Chain()
    chain.entries.append(first[0])
    chain.add(decision("site-1", 0, spec_of(3, 2), "a" * 64, "refused", JOB), "decision")
    site = replace(run.sites[0], entries=tuple(chain.entries))
    data = seal_pack(site_parts(site, JOB, run.root), JOB, "site", site.kit, run.root, TIME)
    assert "No account was opened" in render_report(verify_pack(data, run.root_pem))


def test_refusals_are_counted_by_site(run, parts):
    page = render_report(verify_pack(sealed(run, parts), run.root_pem))
    assert "<dt>Decisions that refused</dt><dd>2</dd>" in page


@pytest.mark.threat("T-147")
def test_names_and_reasons_do_not_become_markup(tmp_path):
    evil = "<img src=x onerror=alert(1)>\"' onload='"
    broken = [{"rule": evil, "finding": evil, "remedy": ""}]
    decided = {"asks": evil, "job_name": evil, "violations": broken}
    run = make_run(ledger=partial(make_ledger, decided=decided))
    page = render_report(verify_pack(sealed(run, parts_of(run, tmp_path)), run.root_pem))
    assert "<img" not in page
    assert " onload='" not in page
    assert page.count("&lt;img") >= 3
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert policy in page


@pytest.mark.threat("T-142")
def test_a_date_that_is_none(run, parts):
    data = seal_pack(parts, JOB, "consortium", run.server.kit, run.root, "9999-99-99T99:99:99+00:00")
    with pytest.raises(EvidenceError, match=r"index.dsse.json: not the index"):
        verify_pack(data, run.root_pem)


@pytest.mark.threat("T-154")
def test_an_order_that_would_keep_a_verifier_busy_for_years(run):
    """Each charge costs time that grows with the order; no account is opened at one beyond 512."""
    chain = Chain()
    chain.add(Created(site="site-1", ledger_version=2))
    account = Account(population="a", epsilon_cap=3.0, delta=1e-4, **UNIT)
    chain.add(AccountOpened(account=account, order=10**9))
    with pytest.raises(EvidenceError, match=r"entry 2 .account-opened.: order 1000000000 is one that no account"):
        replay_entries(tuple(chain.entries), "site-1", "ledger")


def test_events_of_which_arithmetic_makes_no_epsilon():
    event = SampledGaussian(kind="sampled_gaussian", noise_multiplier=0.3, sampling_prob=5e-324, count=1)
    with pytest.raises(EvidenceError, match="ledger: no ε can be computed"):
        site_statements._epsilon([event], 1e-5, "ledger")


def test_an_outcome_of_a_job_that_cannot_have_been(run):
    spec = {**spec_of(3, 2), "rounds": "many", "releases": "all"}
    envelope = {"schema_version": 1, "spec": spec, "sites": ["site-1", "site-2"], "almoner_version": "0.1.0"}
    submission = read_submission(submitted(envelope), run.root, "job")
    for verify in (verify_rounds, verify_releases):
        with pytest.raises(EvidenceError, match=r"job/submission\.zip: its spec is not that of a job"):
            verify(run.server.outcome, submission, {}, JOB)
