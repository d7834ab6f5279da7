"""What a server or a site signs with its own key, and the rest of the pack contradicts."""

import io
import zipfile
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from cryptography import x509
from tests.statistics_cases import fields, privacy
from tests.unit.audit.audit_cases import (
    JOB,
    RELEASED,
    UNIT,
    Chain,
    decision,
    key,
    log_of,
    make_ledger,
    make_run,
    make_site,
    parts_of,
    planned,
    refused,
    resigned,
    run_facts,
    sealed,
    signed_head,
    site_key,
    spec_of,
    submitted,
)
from tests.unit.provision.kit_cases import certify, roster_of

from almoner.audit import parts as names
from almoner.audit.gaps import policy_digest
from almoner.audit.ledger_extract import replay_entries
from almoner.audit.log_entries import LogEntry, log_entry
from almoner.audit.log_facts import LogEntries
from almoner.audit.pack_build import seal_pack
from almoner.audit.pack_verify import verify_pack
from almoner.audit.run_verify import verify_admissions
from almoner.audit.strict_json import parse_json
from almoner.errors import EvidenceError
from almoner.privacy.budget import open_filter
from almoner.privacy.ledger_entries import AccountOpened, Committed, Created, Reserved, Started
from almoner.schema.base import canonical_json, digest
from almoner.schema.documents import load_document, parse_document
from almoner.schema.envelope import AnyJob
from almoner.schema.policy import Account, ConsortiumPolicy, SitePolicy
from almoner.schema.receipt import PrivacyReceipt

SITE = "sites/site-1"
COUNT = ({"name": "n", "kind": "count", "share": 1.0},)


@pytest.fixture(scope="module")
def run():
    return make_run()


@pytest.fixture(scope="module")
def parts(run, tmp_path_factory):
    return parts_of(run, tmp_path_factory.mktemp("run"))


def gaps_of(run, parts):
    return " | ".join(verify_pack(sealed(run, parts), run.root_pem).gaps)


def of_server(run, **fields):
    return replace(run, server=replace(run.server, **fields))


def with_outcome(run, **fields):
    return of_server(run, outcome={**run.server.outcome, **fields})


@pytest.mark.threat("T-146")
def test_a_submission_that_somebody_else_signed_than_the_sites_admitted(run, tmp_path):
    """The same envelope, signed anew by a trainee, or by the server itself, whom the root certified too."""
    envelope = parse_json(_envelope_of(run), "envelope")
    for number, who in enumerate(("trainee@site-2.example", "server.example")):
        false = of_server(run, submission=submitted(envelope, who=who))
        refused(run, parts_of(false, tmp_path / str(number)), rf"decisions.dsse.json: admits a job of lead@.*{who}")


def _envelope_of(run):
    with zipfile.ZipFile(io.BytesIO(run.server.submission)) as archive:
        return archive.read("heart/app/config/almoner_job.json")


@pytest.mark.threat("T-143")
def test_a_site_whose_decision_has_another_spec_than_was_submitted(tmp_path):
    """With a larger δ the same events have a smaller ε."""
    looser = spec_of(3, 2)
    looser["privacy"] = {**looser["privacy"], "target_delta": 1e-2}
    run = make_run(ledger=partial(make_ledger, spec_said=looser))
    refused(run, parts_of(run, tmp_path), f"{SITE}/decisions.dsse.json: admits another spec than job/submission.zip")


@pytest.mark.threat("T-143")
def test_a_site_that_reserves_less_than_the_job_asks_for(tmp_path):
    """Chain, charges and signatures hold; the events are those of a job with more noise."""
    cheaper = spec_of(3, 2)
    cheaper["privacy"] = {**cheaper["privacy"], "target_epsilon": 0.5}
    run = make_run(ledger=partial(make_ledger, reserved=cheaper))
    refused(run, parts_of(run, tmp_path), f"{SITE}/ledger.jsonl: step train-0001 was reserved with other events than")


@pytest.mark.threat("T-144")
def test_a_job_that_ran_without_a_decision_is_not_shown_as_not_admitted(tmp_path):
    run = make_run(ledger=partial(make_ledger, decided={}))
    refused(run, parts_of(run, tmp_path), f"{SITE}/ledger.jsonl: .* was charged, and no decision admits it")


@pytest.mark.threat("T-144")
def test_a_decision_of_another_site_in_a_ledger(tmp_path):
    run = make_run(ledger=partial(make_ledger, decided={"site": "site-9"}))
    refused(run, parts_of(run, tmp_path), f"{SITE}/ledger.jsonl: entry 4: a decision of .site-9")


@pytest.mark.threat("T-146")
def test_a_round_that_a_contributor_never_committed(tmp_path):
    run = make_run(ledger=partial(make_ledger, left_out="train-0002"))
    refused(run, parts_of(run, tmp_path), "job/outcome.json: site-1 in round 2, which its ledger never committed")


@pytest.mark.threat("T-146")
@pytest.mark.parametrize(
    ("rounds", "match"),
    [
        ([(1, ["site-1", "site-2"]), (1, ["site-1", "site-2"])], "round 1 follows round 1"),
        ([(4, ["site-1", "site-2"])], "round 4, the job has 3"),
        ([(1, ["site-1", "site-1"])], "round 1 names a site twice"),
        ([(1, ["site-1", "site-7"])], '"site-7" in round 1, which the job was not for'),
    ],
)
def test_rounds_that_cannot_have_been(run, tmp_path, rounds, match):
    listed = [{"round": number, "contributors": sites, "commitments_root": ""} for number, sites in rounds]
    false = with_outcome(run, rounds=listed)
    refused(run, parts_of(false, tmp_path), f"job/outcome.json: {match}")


@pytest.mark.threat("T-146")
@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        (names.RUN, "stated", {"rounds_by_site": {"site-1": 300, "site-2": 300}}),
        (names.RUN, "stated", {"flare_record": {"status": "FINISHED:COMPLETED, and audited"}}),
        (names.DPIA, "c_risks", "none"),
        (names.DPIA, "a_description", {"declared_units_by_site": {"site-1": 10**6}}),
        (names.VULNERABILITIES, "status", "none known"),
        (names.THREATS, "counts", {"tested": 999}),
        (names.THREATS, "meaning", "a regulator has looked at all of them"),
        (names.SBOM, "components", [{"name": "patched", "version": "9"}]),
    ],
)
def test_what_a_server_states_is_recomputed_where_it_can_be(run, parts, name, field, value):
    def other(predicate):
        old = predicate[field]
        return {**predicate, field: {**old, **value} if isinstance(value, dict) and field != "counts" else value}

    refused(run, resigned(run, parts, name, other, site=None), rf"^{name}")


@pytest.mark.threat("T-143")
def test_words_of_a_privacy_statement_are_this_releases(run, parts):
    name = f"{SITE}/{names.PRIVACY}"

    def quieter(predicate):
        return {**predicate, "stated": {**predicate["stated"], "side_channels": []}}

    refused(run, resigned(run, parts, name, quieter), f"{name}.stated")


@pytest.mark.threat("T-142")
@pytest.mark.parametrize("name", ["VULNERABILITIES.txt", "log/HEAD.json", f"{SITE}/approved.pdf", "server/a.dsse.json"])
def test_parts_that_no_check_knows_are_refused(run, parts, name):
    refused(run, {**parts, name: b"none"}, f"{name}: not a part of a pack")


@pytest.mark.threat("T-146")
def test_entries_of_the_log_that_contradict_the_pack(run, tmp_path):
    for number, false in enumerate(
        (
            ("result", "", {"outcome": "0" * 64}),
            ("update", "", {"round": 3, "contributors": ["site-1"], "commitments_root": ""}),
            ("job", "", {"submitter": "somebody@site-2.example", "envelope_digest": "0" * 64}),
        )
    ):
        folder = tmp_path / str(number)
        parts = parts_of(run, folder, log_of(run, folder, [*run_facts(run), false]))
        refused(run, parts, rf"log/entries.json: entry \d+: a fact of kind {false[0]} that the pack contradicts")


@pytest.mark.threat("T-146")
def test_entries_of_the_log_that_are_shown_twice_or_are_another_jobs(run, parts):
    known = LogEntries.model_validate_json(parts[names.LOG_ENTRIES])
    twice = LogEntries(entries=(known.entries[0], *known.entries))
    refused(run, {**parts, names.LOG_ENTRIES: canonical_json(twice)}, "entries.json: entry 1: out of order, or twice")


@pytest.mark.threat("T-146")
def test_an_entry_of_another_job_does_not_count_as_the_jobs(run, tmp_path, monkeypatch):
    other = log_entry("head", JOB.replace("1", "7"), "", {})
    monkeypatch.setattr("tests.unit.audit.audit_cases.log_entry", _with_other(other))
    monkeypatch.setattr("almoner.audit.log_facts.entries_of", _all_entries)
    refused(run, parts_of(run, tmp_path), r"log/entries.json: entry 0: of job .*7., not of this one")


def _with_other(other):
    made = iter([other])
    return lambda *fact: next(made, None) or log_entry(*fact)


def _all_entries(entries, job_id):
    return ((index, LogEntry.from_bytes(data, "log")) for index, data in enumerate(entries))


@pytest.mark.threat("T-145")
def test_a_rollback_that_the_server_hides_is_in_the_ledgers_of_the_others(tmp_path):
    """The server forgets every head of site-1; site-2 wrote down the one that it was shown."""
    honest = make_run()
    grown = signed_head("site-1", 0, replace(honest.sites[0].entries[-1], seq=40), "set-up")
    kept = {"site-1": grown}
    run = make_run(ledger=lambda site, *rest: make_ledger(site, *rest, held=kept if site == "site-2" else None))
    silent = of_server(run, heads={k: v for k, v in run.server.heads.items() if k != "site-1"})
    silent = with_outcome(silent, heads={}, cosignatures={})
    refused(run, parts_of(silent, tmp_path), "site-1/ledger.jsonl: lacks entry 40 as site-1 signed it for .*site-2")


@pytest.mark.threat("T-145")
def test_a_site_of_which_the_server_shows_no_head_is_told(run, tmp_path):
    silent = with_outcome(of_server(run, heads={}), heads={}, cosignatures={})
    assert "site-1, site-2: no signed ledger head is shown" in gaps_of(run, parts_of(silent, tmp_path))


@pytest.mark.threat("T-144")
def test_keys_made_centrally_are_told_whatever_other_kits_say(run, tmp_path):
    certificates = {f"site-{i}": certify(site_key(i - 1), f"site-{i}", key(0), "consortium") for i in (1, 2)}
    own = canonical_json(roster_of(certificates, "site"))
    sites = tuple(make_site(s.site, i, _certificate(s), own, s.entries) for i, s in enumerate(run.sites))
    gaps = gaps_of(run, parts_of(replace(run, sites=sites), tmp_path))
    assert "keys were made centrally" in gaps
    assert "the kits of server and sites have different rosters" in gaps


def _certificate(site):
    return x509.load_pem_x509_certificate(site.kit.certificate)


def test_a_policy_that_is_not_the_one_that_decided_is_told(run, parts):
    assert "site-1, site-2: the policy in the pack is not the one by which" in gaps_of(run, parts)


def test_a_policy_is_named_with_what_its_floor_revokes(root):
    """By the same digest as decisions have, of the same two files that a kit holds."""
    own, floor = (root / "policies" / f"{name}.yaml" for name in ("cleveland", "consortium"))
    lost = 'revoked: [{certificate_sha256: "' + "ab" * 32 + '", since: 2026-11-20, reason: laptop stolen}]'
    stricter = f"{floor.read_text()}\n{lost}\n"
    policy = load_document(own, SitePolicy).under(parse_document(stricter, ConsortiumPolicy, "floor"))
    assert len(policy.revoked) == 1
    assert policy_digest(own.read_bytes(), stricter.encode()) == digest(policy)
    assert policy_digest(own.read_bytes(), floor.read_bytes()) not in ("", digest(policy))
    assert policy_digest(b"\xff", floor.read_bytes()) == policy_digest(own.read_bytes(), b"no: [") == ""


def test_what_the_log_cannot_show_is_told(run, parts):
    assert "no proof shows that the log has no further entries" in gaps_of(run, parts)


def test_what_the_servers_word_is_is_told(run, parts):
    gaps = gaps_of(run, parts)
    assert "the components are of another build of the package than site-1, site-2 ran" in gaps
    assert "threat coverage" in gaps


@pytest.mark.threat("T-146")
def test_a_fork_of_which_no_site_in_the_pack_cosigned_the_head(run, parts, tmp_path):
    """A stale head, and one that another history has, are refused by the facts or the cosignatures."""
    facts = run_facts(run)
    stale = parts_of(run, tmp_path / "stale", log_of(run, tmp_path / "stale", facts[:-1]))
    refused(run, stale, "log/entries.json: a fact of kind")
    fork = parts_of(run, tmp_path / "fork", log_of(run, tmp_path / "fork", [*facts[1:], facts[0]]))
    mixed = {**parts, names.LOG_ENTRIES: fork[names.LOG_ENTRIES]}
    refused(run, mixed, r"log/entries.json: entry \d+: .*not in the tree")


def test_a_site_of_another_consortium_is_no_site_of_this_one(run, parts, tmp_path):
    theirs = parts_of(make_run(num_sites=3), tmp_path)
    strange = {name: content for name, content in theirs.items() if name.startswith("sites/site-3/")}
    refused(run, parts | strange, "sites/site-3/certificate.pem: not the certificate that the server's roster pins")


@pytest.mark.threat("T-146")
@pytest.mark.parametrize("releases", [{"site-1": "38" + RELEASED[2:]}, {"site-7": RELEASED}])
def test_released_numbers_are_those_that_the_sites_released(run, tmp_path, releases):
    false = with_outcome(run, releases=releases)
    refused(run, parts_of(false, tmp_path), "job/outcome.json: .site-.. released other numbers than these")


@pytest.mark.threat("T-144")
def test_an_approval_that_the_ledger_does_not_have(tmp_path):
    run = make_run(ledger=partial(make_ledger, decided={"approval_digest": "9" * 64}))
    refused(
        run, parts_of(run, tmp_path), "site-1/ledger.jsonl: the decision rests on an approval that the ledger does not"
    )


def test_what_tested_means_is_what_is_done(parts, run):
    """The test runs with the control; that it fails without one is what `make threats` sees."""
    meaning = verify_pack(sealed(run, parts), run.root_pem).statements[names.THREATS].predicate["meaning"]
    assert "with the control in place; `make threats` takes the control out" in meaning
    assert "succeed" not in meaning


def test_a_certificate_that_had_ended_is_told(run, parts):
    late = seal_pack(parts, JOB, "consortium", run.server.kit, run.root, "2130-01-01T00:00:00+00:00")
    gaps = verify_pack(late, run.root_pem).gaps
    ended = [gap for gap in gaps if "before the pack was made" in gap]
    assert len(ended) == 5
    assert "the certificate of server.example ended on 2123-12-08, before the pack was made" in ended


@pytest.mark.parametrize("told", [True, False])
def test_numbers_cost_nothing_only_where_they_were_told_before(told):
    """A request for statistics that a site has answered is admitted with nothing to charge; a first one never."""
    asked = fields(COUNT, purpose="a count") | {"privacy": {**privacy(), "unit": "patient"}}
    spec = AnyJob.model_validate_json(canonical_json(asked)).root.model_dump(mode="json")
    chain, order, unit = Chain(), open_filter(3.0, 1e-4).order, dict(UNIT)
    chain.add(Created(site="site-1", ledger_version=2))
    account = Account(population="census", epsilon_cap=3.0, delta=1e-4, **unit)
    chain.add(AccountOpened(account=account, order=order))
    for number, steps in enumerate((planned(spec, order), ()) if told else ((),)):
        job = JOB if not steps else JOB.replace("1", "8")
        about = {"nonce": f"{number:032x}", "envelope_digest": "a" * 64, "tree_digest": "b" * 64}
        chain.add(Reserved(job_id=job, population="census", steps=steps, **about, **unit))
        for step in steps:
            chain.add(Started(job_id=job, tree_digest="b" * 64))
            receipt = PrivacyReceipt(site="site-1", job_id=job, step=step.step, events=step.events, **unit)
            chain.add(Committed(receipt=receipt, charge=step.charge))
    chain.add(decision("site-1", 0, spec, "a" * 64, "admitted", JOB), "decision")
    book = replay_entries(tuple(chain.entries), "site-1", "ledger")
    who = SimpleNamespace(name="lead@site-1.example")
    submission = SimpleNamespace(envelope={"spec": spec, "sites": ["site-1"]}, envelope_digest="a" * 64, submitter=who)
    expected = nullcontext() if told else pytest.raises(EvidenceError, match="other steps were reserved than")
    with expected:
        assert verify_admissions(SimpleNamespace(job_id=JOB), submission, {"site-1": book}) == 1
