"""What a lying server can do to its log, without the sites' check and with it."""

import json

import pytest
from tests.unit.audit.audit_cases import JOB, cosign, log_of, make_run, parts_of, run_facts, sealed

from almoner.audit.log_file import TransparencyLog
from almoner.audit.log_offer import OFFER, LogOffer
from almoner.audit.pack_verify import verify_pack
from almoner.audit.strict_json import read_model
from almoner.audit.tree_heads import verify_cosignature
from almoner.audit.witness import Witness
from almoner.errors import EvidenceError


@pytest.fixture(scope="module")
def run():
    return make_run()


def server_key(run):
    return run.root.party(run.server.kit.certificate, None, "server").key


def forked(run, folder, drop):
    """Return a head, signed by the server, of a log in which one entry is not."""
    facts = run_facts(run)
    return log_of(run, folder, [fact for number, fact in enumerate(facts) if number != drop])


def test_a_site_cosigns_a_log_that_grows(run, tmp_path):
    offer = log_of(run, tmp_path)
    signature = cosign(run, run.sites[0], offer, tmp_path)
    site_key = run.root.party(run.sites[0].kit.certificate, None, "site").key
    verify_cosignature(offer.signed.head, "site-1", site_key, signature)
    later = log_of(run, tmp_path, [("update", "", {"round": 9, "contributors": [], "commitments_root": ""})])
    assert later.signed.head.size == offer.signed.head.size + 1
    verify_cosignature(later.signed.head, "site-1", site_key, cosign(run, run.sites[0], later, tmp_path))
    assert Witness(tmp_path / "site-1.json", "site-1").newest() == later.signed


@pytest.mark.threat("T-140")
def test_t140_a_server_that_drops_an_entry_later_is_refused_and_convicted(run, tmp_path):
    honest = log_of(run, tmp_path / "honest")
    rewritten = forked(run, tmp_path / "rewritten", drop=1)
    rewritten.signed.verify(server_key(run))  # without the sites: the server's signature alone is on both
    assert rewritten.signed.head.root != honest.signed.head.root
    cosign(run, run.sites[0], honest, tmp_path)
    with pytest.raises(EvidenceError, match="both heads are in"):
        cosign(run, run.sites[0], rewritten, tmp_path)
    kept = (tmp_path / "site-1.json").read_text()
    assert honest.signed.head.root in kept
    assert rewritten.signed.head.root in kept


@pytest.mark.threat("T-140")
def test_t140_a_rewritten_log_that_has_grown_is_refused(run, tmp_path):
    cosign(run, run.sites[0], log_of(run, tmp_path / "honest"), tmp_path)
    grown = [("update", "", {"round": n, "contributors": [], "commitments_root": ""}) for n in range(5)]
    longer = log_of(run, tmp_path / "longer", [*run_facts(run)[1:], *grown])
    with pytest.raises(EvidenceError, match="does not begin with"):
        cosign(run, run.sites[0], longer, tmp_path)


@pytest.mark.threat("T-140")
def test_t140_a_site_misses_its_own_decision_in_the_first_head(run, tmp_path):
    own = next(number for number, fact in enumerate(run_facts(run)) if fact[0] == "decision" and fact[1] == "site-1")
    with pytest.raises(EvidenceError, match="a decision of site-1 is not in it"):
        cosign(run, run.sites[0], forked(run, tmp_path / "dropped", own), tmp_path)


@pytest.mark.threat("T-141")
def test_t141_two_sites_that_are_shown_two_logs_cannot_both_stand_in_one_pack(run, tmp_path):
    honest = log_of(run, tmp_path / "one")
    other = log_of(run, tmp_path / "two")  # the same entries at another time: another root
    first, second = cosign(run, run.sites[0], honest, tmp_path), cosign(run, run.sites[1], other, tmp_path)
    assert first != second  # without the check: each site has cosigned what it was shown
    parts = parts_of(run, tmp_path / "shown", honest)
    head = parts["log/head.json"].decode()
    verify_pack(sealed(run, parts), run.root_pem)
    true_one = cosign(run, run.sites[1], honest, tmp_path / "shown")
    split = head.replace(_cosignature_of(head, "site-2"), second)
    assert true_one != second
    assert split != head
    with pytest.raises(EvidenceError, match=r"log/head\.json: log: the head is not cosigned by site-2"):
        verify_pack(sealed(run, {**parts, "log/head.json": split.encode()}), run.root_pem)


def _cosignature_of(head, site):
    return json.loads(head)["cosignatures"][site]


def test_a_head_that_is_not_the_servers_is_refused(run, tmp_path):
    offer = log_of(run, tmp_path)
    false = offer.signed.model_copy(update={"signature": "00" * 256})
    with pytest.raises(EvidenceError, match="not signed by the server"):
        cosign(run, run.sites[0], offer.model_copy(update={"signed": false}), tmp_path)
    with pytest.raises(EvidenceError, match="not that of the entries that were offered"):
        cosign(run, run.sites[0], offer.model_copy(update={"leaves": offer.leaves[:-1]}), tmp_path)
    assert Witness(tmp_path / "site-1.json", "site-1").newest() is None


def test_a_witness_that_lost_its_memory_says_so(run, tmp_path):
    offer = log_of(run, tmp_path)
    (tmp_path / "site-1.json").write_text("{")
    with pytest.raises(EvidenceError, match="not the file of a witness"):
        cosign(run, run.sites[0], offer, tmp_path)


def test_an_offer_survives_its_file(run, tmp_path):
    offer = log_of(run, tmp_path)
    assert read_model(LogOffer, offer.model_dump_json().encode(), "offer", OFFER) == offer
    assert offer.job_id == JOB
    with pytest.raises(EvidenceError, match="not an offer"):
        read_model(LogOffer, b"{}", "offer", OFFER)


def test_another_servers_log_is_not_taken_for_this_one(run, tmp_path):
    offer = log_of(run, tmp_path / "one")
    cosign(run, run.sites[0], offer, tmp_path)
    log = TransparencyLog(tmp_path / "one" / "log")
    moved = log.publish("b" * 64, run.server.kit.private_key)
    with pytest.raises(EvidenceError, match="of another log"):
        cosign(run, run.sites[0], offer.model_copy(update={"signed": moved}), tmp_path)
