"""Lies that are signed by whoever tells them: sites and servers that use their own keys."""

import io
import zipfile
from dataclasses import replace

import pytest
from cryptography import x509
from tests.unit.audit.audit_cases import (
    JOB,
    TIME,
    Chain,
    decision,
    key,
    log_of,
    make_run,
    make_site,
    parts_of,
    pem,
    refused,
    resigned,
    run_facts,
    sealed,
    site_key,
    spec_of,
    submitted,
)
from tests.unit.provision.kit_cases import certify, self_signed

from almoner.audit import parts as names
from almoner.audit.authority import Root
from almoner.audit.ledger_extract import write_entries
from almoner.audit.log_facts import Earlier, LogHead
from almoner.audit.pack_build import seal_pack, site_parts
from almoner.audit.pack_verify import verdict_json, verify_pack
from almoner.audit.submission import read_submission
from almoner.errors import EvidenceError
from almoner.schema.base import canonical_json

LEDGER = names.of_site("site-1", names.LEDGER)


@pytest.fixture(scope="module")
def run():
    return make_run()


@pytest.fixture(scope="module")
def parts(run, tmp_path_factory):
    return parts_of(run, tmp_path_factory.mktemp("run"))


@pytest.mark.threat("T-143")
def test_a_site_that_states_a_smaller_epsilon_than_its_events_give(run, parts):
    def smaller(predicate):
        account = predicate["recomputed"]["accounts"][0]
        accounts = [{**account, "epsilon_spent": account["epsilon_spent"] / 2}]
        return {**predicate, "recomputed": {**predicate["recomputed"], "accounts": accounts}}

    name = names.of_site("site-1", names.LEDGER_STATEMENT)
    refused(run, resigned(run, parts, name, smaller), rf"{name}.recomputed.accounts\[0\].epsilon_spent: stated is")


@pytest.mark.parametrize("field", ["charge", "rdp_committed", "epsilon_committed", "hash"])
def test_every_figure_of_every_commit_is_recomputed(run, parts, field):
    name = names.of_site("site-2", names.LEDGER_STATEMENT)

    def changed(predicate):
        commits = [dict(commit) for commit in predicate["recomputed"]["commits"]]
        commits[1][field] = "0" * 64 if field == "hash" else commits[1][field] * 0.999
        return {**predicate, "recomputed": {**predicate["recomputed"], "commits": commits}}

    refused(run, resigned(run, parts, name, changed, site=1), rf"{name}.recomputed.commits\[1\].{field}: stated is")


def test_a_job_epsilon_is_that_of_its_events(run, parts):
    name = names.of_site("site-1", names.PRIVACY)

    def smaller(predicate):
        return {**predicate, "recomputed": {**predicate["recomputed"], "job_epsilon": 0.5}}

    refused(run, resigned(run, parts, name, smaller), f"{name}.recomputed.job_epsilon")


@pytest.mark.threat("T-143")
def test_a_site_that_records_a_smaller_charge_in_its_ledger(run, tmp_path):
    """Its chain is whole, its statements are its own; the events give it away."""
    cheap, chain = run.sites[0].entries, Chain()
    for entry in cheap:
        payload = entry.payload
        if entry.kind in ("reserved", "committed"):
            payload = payload.replace('"charge":0.0', '"charge":0.00')
        chain.entries.append(_rechained(chain, replace(entry, payload=payload)))
    assert chain.entries[-1].hash != cheap[-1].hash
    with pytest.raises(EvidenceError, match="the charge of step train-0001 does not follow from its events"):
        site_parts(replace(run.sites[0], entries=tuple(chain.entries)), JOB, run.root)
    text = write_entries(chain.entries)
    parts = parts_of(run, tmp_path)
    for name in names.SITE_STATEMENTS:
        parts = resigned(run, {**parts, LEDGER: text}, names.of_site("site-1", name), lambda predicate: predicate)
    refused(run, parts, f"{LEDGER}: entry 3 .reserved.: the charge of step train-0001")


def _rechained(chain, entry):
    previous = chain.entries[-1].hash if chain.entries else "0" * 64
    draft = replace(entry, previous=previous, hash="")
    return replace(draft, hash=draft.expected_hash())


@pytest.mark.threat("T-145")
def test_a_site_that_forgets_its_last_commits(run, tmp_path):
    """A rolled back ledger is whole, and signed anew; the head that the site signed with its result is not in it."""
    forgetful = replace(run.sites[0], entries=run.sites[0].entries[:8])
    lying = replace(run, sites=(forgetful, run.sites[1]))
    parts = parts_of(lying, tmp_path, log_of(run, tmp_path))
    refused(run, parts, f"{LEDGER}: lacks entry .* as site-1 signed it for job/heads.json: it was rolled back")


def _envelope(spec):
    sites = ["site-1", "site-2"]
    return {"schema_version": 1, "spec": spec, "sites": sites, "almoner_version": "0.1.0", "nonce": "a" * 32}


@pytest.mark.threat("T-144")
def test_a_decision_that_somebody_else_wrote_into_a_ledger(run, tmp_path):
    chain = Chain()
    chain.entries.extend(run.sites[0].entries)
    chain.add(decision("site-1", 1, spec_of(3, 2), "c" * 64, "refused", JOB.replace("1", "3")), "decision")
    foreign = replace(run, sites=(replace(run.sites[0], entries=tuple(chain.entries)), run.sites[1]))
    parts = parts_of(foreign, tmp_path)
    refused(run, parts, f"{LEDGER}: entry {len(chain.entries)}: a decision that site-1 did not sign")


def test_a_refusal_that_the_site_leaves_out_of_its_statement(run, parts):
    name = names.of_site("site-1", names.DECISIONS)

    def shorter(predicate):
        found = predicate["recomputed"]
        return {**predicate, "recomputed": {**found, "decisions": found["decisions"][:1]}}

    refused(run, resigned(run, parts, name, shorter), f"{name}.recomputed.decisions: stated is")


@pytest.mark.threat("T-146")
def test_a_server_that_names_another_submitter(run, parts):
    def other(predicate):
        return {**predicate, "recomputed": {**predicate["recomputed"], "submitter": "trainee@site-2.example"}}

    refused(run, resigned(run, parts, names.RUN, other, site=None), f"{names.RUN}.submitter: stated is")


@pytest.mark.threat("T-146")
def test_a_server_that_shows_another_submission(run, parts):
    other = submitted(_envelope({**spec_of(3, 2), "rounds": 4}))
    changed = {**parts, names.SUBMISSION: other}
    for name in names.SERVER_STATEMENTS:
        changed = resigned(run, changed, name, lambda predicate: predicate, site=None)
    refused(run, changed, "decisions.dsse.json: admits another submission than job/submission.zip")


@pytest.mark.threat("T-146")
def test_a_file_in_the_submission_that_its_submitter_did_not_sign(run, parts):
    with zipfile.ZipFile(io.BytesIO(parts[names.SUBMISSION])) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {**files, "heart/meta.json": b'{"min_clients": 1}'}.items():
            archive.writestr(name, content)
    false = _with_server(run, {**parts, names.SUBMISSION: buffer.getvalue()})
    refused(run, false, "job/submission.zip: meta.json is not signed by its submitter")


@pytest.mark.threat("T-146")
def test_a_submitter_whom_another_root_certified(run):
    """Key, name and signatures are the submitter's; the issuer has the root's name and not its key."""
    stranger = pem(certify(key(2), "lead@site-1.example", key(1), "consortium", "site-1", "lead"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(run.server.submission)) as known, zipfile.ZipFile(buffer, "w") as archive:
        for name in known.namelist():
            archive.writestr(name, stranger if name.endswith(".crt") else known.read(name))
    assert read_submission(run.server.submission, run.root, "job").submitter.name == "lead@site-1.example"
    with pytest.raises(EvidenceError, match="job: the submitter's certificate: not issued by the root certificate"):
        read_submission(buffer.getvalue(), run.root, "job")


def _with_server(run, parts):
    for name in names.SERVER_STATEMENTS:
        parts = resigned(run, parts, name, lambda predicate: predicate, site=None)
    return parts


@pytest.mark.threat("T-146")
def test_a_log_without_what_happened(run, tmp_path):
    facts = run_facts(run)
    for number in (0, len(facts) - 1):
        folder = tmp_path / str(number)
        dropped = [fact for index, fact in enumerate(facts) if index != number]
        kind = facts[number][0]
        refused(run, parts_of(run, folder, log_of(run, folder, dropped)), f"log/entries.json: a fact of kind {kind}")


@pytest.mark.threat("T-144")
def test_a_site_that_signs_as_the_server(run, tmp_path):
    """Certificates do not say whose kit they are for; the manifest that the root signed does."""
    false = replace(run, server=replace(run.server, kit=run.sites[0].kit))
    refused(
        false, parts_of(false, tmp_path), r"authority/server\.pem: not the startup/server\.crt that the root signed"
    )


@pytest.mark.threat("T-144")
def test_a_certificate_of_a_sites_name_that_the_roster_does_not_pin(run, tmp_path):
    """The root issued it too, and signed a manifest for it; all else of the pack fits."""
    certificate = certify(site_key(1), "site-2", key(0), "consortium")
    stranger = make_site("site-2", 1, certificate, run.server.kit.roster, run.sites[1].entries)
    false = replace(run, sites=(run.sites[0], stranger))
    refused(
        false,
        parts_of(false, tmp_path),
        "sites/site-2/certificate.pem: not the certificate that the server's roster pins",
    )


@pytest.mark.threat("T-157")
def test_the_run_of_a_submitter_whose_certificate_was_revoked_since(run, tmp_path):
    """Revocation bites from its day on, and undoes nothing: last year's pack verifies, and so does one made after."""
    submission = read_submission(run.server.submission, run.root, "submission")
    revoked = f"revoked: [{{certificate_sha256: {submission.submitter.key_id}, since: 2026-01-01, reason: stolen}}]\n"
    certificate = x509.load_pem_x509_certificate(run.sites[0].kit.certificate)
    later = make_site("site-1", 0, certificate, run.server.kit.roster, run.sites[0].entries, revoked)
    now = replace(run, sites=(later, run.sites[1]))
    checks = verify_pack(sealed(now, parts_of(now, tmp_path)), run.root_pem).checks
    assert any(f"{submission.submitter.name} signed the submitted job" in check for check in checks)


def test_another_root_verifies_nothing(run, parts):
    with pytest.raises(EvidenceError, match="not signed by the root certificate"):
        verify_pack(sealed(run, parts), self_signed(key(1), "consortium"))
    with pytest.raises(EvidenceError, match="not a certificate"):
        verify_pack(sealed(run, parts), b"nonsense")


@pytest.mark.threat("T-146")
def test_a_site_that_contributed_cannot_be_left_out(run, tmp_path):
    alone = replace(run, sites=run.sites[:1])
    parts = parts_of(alone, tmp_path)
    refused(run, parts, "sites/site-2: missing; site-2 contributed to a round")


def test_the_pack_of_one_site_verifies_alone(run):
    site = run.sites[0]
    data = seal_pack(site_parts(site, JOB, run.root), JOB, "site", site.kit, run.root, TIME)
    verdict = verify_pack(data, run.root_pem)
    policy = "site-1: the policy in the pack is not the one by which the job was admitted"
    alone = "a pack of one site: nothing about the run, the log or the other sites"
    assert verdict_json(verdict)["gaps"] == [policy, alone]
    assert [account["site"] for account in verdict.accounts()] == ["site-1"]


def test_heads_of_every_round_in_the_log_are_checked_against_the_ledger(tmp_path):
    run = make_run(num_sites=2, num_rounds=2, round_heads=True)
    verdict = verify_pack(sealed(run, parts_of(run, tmp_path / "good")), run.root_pem)
    assert any("entries of the job are in the log" in check for check in verdict.checks)
    site, head = run.round_heads[0]
    other = dict(run.round_heads[-1][1])
    mixed = replace(run, round_heads=((site, other),))
    refused(
        run, parts_of(mixed, tmp_path / "bad"), r"log/entries.json: entry \d+: the ledger head of site-1: not signed"
    )
    assert head != other


def test_a_head_that_does_not_extend_the_one_that_it_names_before(run, tmp_path):
    """The server's log of before had another first entry."""
    before = log_of(run, tmp_path / "before", run_facts(run)[1:2])
    parts = parts_of(run, tmp_path)
    head = LogHead.model_validate_json(parts[names.LOG_HEAD])
    forged = head.model_copy(update={"earlier": Earlier(signed=before.signed, consistency=())})
    refused(
        run,
        parts | {names.LOG_HEAD: canonical_json(forged)},
        "log/head.json: .*the tree of 11 entries does not begin with the 1 that were signed before",
    )


def test_a_server_that_leaves_out_what_a_site_signed_of_the_others_is_told(run, tmp_path):
    kept = {site: signature for site, signature in run.server.outcome["cosignatures"].items() if site != "site-2"}
    less = replace(run, server=replace(run.server, outcome={**run.server.outcome, "cosignatures": kept}))
    verdict = verify_pack(sealed(less, parts_of(less, tmp_path)), run.root_pem)
    assert [gap for gap in verdict.gaps if "ledger heads" in gap] == [
        "site-2: no signature over the others' ledger heads, which the server showed"
    ]


def test_gaps_are_told(run, parts):
    verdict = verify_pack(sealed(run, parts), run.root_pem)
    assert any("made centrally" in gap for gap in verdict.gaps)
    assert any("vulnerabilities" in gap for gap in verdict.gaps)
    assert any("does not say which job it attacked" in gap for gap in verdict.gaps)
    assert not any("ledger heads" in gap for gap in verdict.gaps)
    found = verdict_json(verdict)
    assert found["job_id"] == JOB
    assert found["root_sha256"] == Root(run.root_pem).fingerprint
