"""A finished run made in memory: a root, a server, sites with ledgers, a signed submission; and the pack of it."""

import base64
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.unit.provision.kit_cases import certify, make_key, roster_of, self_signed

from almoner.audit.authority import Root
from almoner.audit.hash_tree import HashTree, leaf_hash
from almoner.audit.inputs import KitInputs, ServerInputs, SiteInputs
from almoner.audit.log_entries import Fact, log_entry
from almoner.audit.log_facts import LogEntries, LogHead, job_facts, proven_entries, site_facts
from almoner.audit.log_file import TransparencyLog
from almoner.audit.log_offer import LogOffer, cosign_offer
from almoner.audit.pack_build import LogParts, Parts, seal_pack, server_parts, site_book, site_parts
from almoner.audit.pack_verify import verify_pack
from almoner.audit.statements import KitSigner, Statement, digests_of, open_statement, sign_statement
from almoner.audit.submission import read_submission
from almoner.audit.witness import Witness
from almoner.errors import EvidenceError
from almoner.privacy.budget import charge_of, open_filter
from almoner.privacy.heads import SignedHead, head_statement
from almoner.privacy.ledger_entries import (
    FIRST_PREVIOUS,
    KIND_OF,
    AccountOpened,
    Committed,
    Created,
    Entry,
    Released,
    Reserved,
    ReservedStep,
    Settled,
    Started,
)
from almoner.privacy.plans import plan_of
from almoner.protection.signing import sign_with
from almoner.schema.base import Model, canonical_json, digest
from almoner.schema.envelope import AnyJob, AnyJobSpec
from almoner.schema.policy import Account
from almoner.schema.receipt import PrivacyReceipt

JOB = "00000000-0000-4000-8000-000000000001"
TIME = "2026-11-22T12:00:00+00:00"
MakeLedger = Callable[[str, int, dict[str, Any], str, int], Sequence[Entry]]
RELEASED = "37000000000000000b00000000000000"
"""The noised numbers that every site released at the end."""
FLOOR = b"schema_version: 1\n"
UNIT = {"privacy_unit": "patient", "neighboring_relation": "add_or_remove_one"}


def spec_of(num_rounds: int, min_sites: int) -> dict[str, Any]:
    """Return a spec with every field, as envelopes and decisions have it."""
    spec = {
        "schema_version": 1,
        "kind": "training",
        "name": "heart-disease",
        "study": "cardiology",
        "purpose": "coronary disease from routine tests",
        "workload": "heart_disease",
        "dataset": "cardiology",
        "rounds": num_rounds,
        "min_sites": min_sites,
        "training": {"local_steps": 1, "learning_rate": 0.5},
        "privacy": {
            "unit": "patient",
            "neighboring_relation": "add_or_remove_one",
            "mechanism": "dp_sgd",
            "target_epsilon": 1.0,
            "target_delta": 1e-4,
            "max_grad_norm": 1.0,
            "sampling_prob": 1.0,
        },
        "aggregation": {"kind": "he", "num_colluding_sites": 1},
        "releases": [{"kind": "accuracy", "epsilon": 0.1}],
    }
    return parsed(spec).model_dump(mode="json")


def packaged_spec(file: str, sites: Sequence[str]) -> dict[str, Any]:
    """Return the spec of a packaged job, for the sites of a made run."""
    spec = yaml.safe_load(Path("jobs", file).read_text())
    spec |= {"sites": sites, "leader": sites[0]} if spec["kind"] == "psi" else {"min_sites": len(sites)}
    return parsed(spec).model_dump(mode="json")


def parsed(spec: dict[str, Any]) -> AnyJobSpec:
    return AnyJob.model_validate_json(canonical_json(spec)).root


@lru_cache(maxsize=8)
def key(number: int) -> rsa.RSAPrivateKey:
    """Return the root's key (0), the server's (1), a submitter's (2), or one that sites share (3 and above)."""
    return make_key()


def pem_of(private: rsa.RSAPrivateKey) -> bytes:
    kind = serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def site_key(number: int) -> rsa.RSAPrivateKey:
    return key(3 + number % 3)


class Chain:
    """Entries of a ledger, chained as the ledger chains them."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, payload: Model | dict[str, Any], kind: str = "") -> None:
        kind = kind or KIND_OF[type(payload)]  # type: ignore[index]
        previous = self.entries[-1].hash if self.entries else FIRST_PREVIOUS
        text = canonical_json(payload).decode()
        draft = Entry(len(self.entries) + 1, TIME, kind, text, previous, "")
        self.entries.append(replace(draft, hash=draft.expected_hash()))


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        round_heads: each site's signed ledger heads after its rounds.
    """

    root_pem: bytes
    server: ServerInputs
    sites: tuple[SiteInputs, ...]
    round_heads: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def root(self) -> Root:
        return Root(self.root_pem)


@lru_cache(maxsize=12)
def make_run(
    num_sites: int = 2,
    num_rounds: int = 3,
    round_heads: bool = False,
    ledger: MakeLedger | None = None,
    packaged: str = "",
    min_sites: int = 0,
) -> Run:
    """Return a run, by default of a training job; nobody changes one, since it may be another test's too.

    Args:
        packaged: the file of another kind of job; such a run has one round and releases nothing.
        min_sites: of a training job; all sites if 0.
    """
    names = [f"site-{number}" for number in range(1, num_sites + 1)]
    root_pem = self_signed(key(0), "consortium")
    certificates = {n: certify(site_key(i), n, key(0), "consortium") for i, n in enumerate(names)}
    roster = canonical_json(roster_of(certificates, "central"))
    spec = packaged_spec(packaged, names) if packaged else spec_of(num_rounds, min_sites or num_sites)
    envelope = {"schema_version": 1, "spec": spec, "sites": names, "almoner_version": "0.1.0", "nonce": "a" * 32}
    sites, heads, rounds = [], {}, []
    for number, name in enumerate(names):
        made = (ledger or make_ledger)(name, number, spec, digest(envelope), num_rounds)
        sites.append(make_site(name, number, certificates[name], roster, tuple(made)))
        heads[name] = signed_head(name, number, made[-2], "result")
        if round_heads:
            released = [entry for entry in made if entry.kind == "released"]
            rounds += [(name, signed_head(name, number, entry, "result")) for entry in released]
    outcome = {
        "job": spec["name"],
        "rounds": [
            {"round": i, "contributors": names, "commitments_root": "", "named": [], "report": None}
            for i in range(1, num_rounds + 1)
        ],
        "releases": {} if packaged else dict.fromkeys(names, RELEASED),
        "heads": {n: signed_head(n, i, sites[i].entries[3], "set-up") for i, n in enumerate(names)},
        "cosignatures": {},
    }
    shown = {site: [head["seq"], head["hash"], head["occasion"]] for site, head in outcome["heads"].items()}
    for number, name in enumerate(names):
        statement = {"almoner": "cosign-v1", "site": name, "job": JOB, "heads": shown}
        outcome["cosignatures"][name] = sign_with(site_key(number), canonical_json(statement)).hex()
    server = ServerInputs(
        job_id=JOB,
        kit=make_kit("server.example", "startup/server.crt", 1, "server.example", roster),
        submission=submitted(envelope),
        meta={"job_id": JOB, "status": "FINISHED:COMPLETED", "job_deploy_detail": ["server: OK"]},
        outcome=outcome,
        heads=heads,
        redteam=b'{"attack": "membership", "advantage": 0.01}',
        threats=b"threats:\n  - {id: T-01, title: a title, status: tested, control: a control}\n",
    )
    return Run(root_pem, server, tuple(sites), tuple(rounds))


def planned(spec: dict[str, Any], order: int) -> tuple[ReservedStep, ...]:
    """Return the steps that a spec asks for, with their charges."""
    steps = plan_of(asking := parsed(spec), asking.min_sites).steps
    return tuple(ReservedStep(step=s.key, events=s.events, charge=charge_of(s.events, order)) for s in steps)


def make_ledger(
    site: str,
    number: int,
    spec: dict[str, Any],
    envelope: str,
    num_rounds: int,
    *,
    reserved: dict[str, Any] | None = None,
    left_out: str = "",
    held: dict[str, Any] | None = None,
    spec_said: dict[str, Any] | None = None,
    decided: dict[str, Any] | None = None,
) -> Sequence[Entry]:
    """Return a ledger with one settled job and one refusal.

    Args:
        reserved: the spec whose steps are reserved, if it is not the one that was decided about.
        left_out: a step that is never committed.
        held: the ledger heads of others that it keeps.
        spec_said: the spec in the decision, if it is another.
        decided: fields of the decision that are not as they should be; {} leaves it out.
    """
    chain, order = Chain(), open_filter(3.0, 1e-4).order
    steps = planned(reserved or spec, order)
    chain.add(Created(site=site, ledger_version=2))
    account = {"population": f"{site}-cardiology", "epsilon_cap": 3.0, "delta": 1e-4, **UNIT}
    chain.add(AccountOpened(account=Account.model_validate(account), order=order))
    fields = {"job_id": JOB, "nonce": f"{number:032x}", "envelope_digest": envelope, "tree_digest": "b" * 64}
    chain.add(Reserved(**fields, population=account["population"], steps=steps, **UNIT))
    if decided != {}:
        chain.add(decision(site, number, spec_said or spec, envelope, "admitted", JOB, decided), "decision")
    if held is not None:
        chain.add({"job_id": JOB, "heads": held}, "heads")
    chain.add(Started(job_id=JOB, tree_digest="b" * 64))
    for step in steps:
        if step.step != left_out:
            receipt = PrivacyReceipt(site=site, job_id=JOB, step=step.step, events=step.events, **UNIT)
            chain.add(Committed(receipt=receipt, charge=step.charge))
            last = f"RELEASE:{num_rounds + 1}:".encode() + bytes.fromhex(RELEASED)
            sent = last if step.step == "accuracy" else step.step.encode()
            chain.add(Released(job_id=JOB, step=step.step, digest=digest(sent)))
    refund = sum(step.charge for step in steps if step.step == left_out)
    chain.add(Settled(job_id=JOB, reason="the job ended", refund=float(refund)))
    other = JOB.replace("1", "2")
    chain.add(decision(site, number, {**spec, "name": "greedy"}, "c" * 64, "refused", other), "decision")
    return chain.entries


def decision(
    site: str,
    number: int,
    spec: dict[str, Any],
    envelope: str,
    verdict: str,
    job: str,
    other: dict[str, Any] | None = None,
) -> dict[str, Any]:
    asked = plan_of(asking := parsed(spec), asking.min_sites)
    found = {
        "site": site,
        "job_id": job,
        "job_name": spec["name"],
        "study": spec["study"],
        "submitter": "lead@site-1.example",
        "purpose": spec["purpose"],
        "verdict": verdict,
        "envelope_digest": envelope,
        "job_digest": "d" * 64,
        "policy_digest": "e" * 64,
        "approval_digest": "",
        "asks": "training ε=1.00 (patient, δ=1e-4)",
        "noise_multiplier": asked.noise_multiplier,
        "violations": []
        if verdict == "admitted"
        else [{"rule": "budget.remaining", "finding": "too much", "remedy": ""}],
        "package": {"version": "0.1.0", "digest": "f" * 64},
        "dataset_commitment": "1" * 64,
        "workload_digest": "2" * 64,
        "spec": spec,
    } | (other or {})
    statement = canonical_json({"almoner": "decision-v1", "decision": found})
    return {**found, "signature": sign_with(site_key(number), statement).hex()}


def signed_head(site: str, number: int, entry: Entry, occasion: str) -> dict[str, Any]:
    occasion = digest(occasion.encode())
    signature = sign_with(site_key(number), head_statement(site, entry.seq, entry.hash, occasion))
    return SignedHead(entry.seq, entry.hash, occasion, signature).to_json()


def make_kit(name: str, path: str, number: int, common_name: str, roster: bytes, **files: bytes) -> KitInputs:
    """Return a kit with its signed manifest; `number` is that of its key."""
    certificate = pem(certify(key(number), common_name, key(0), "consortium"))
    listed = {path: certificate, "local/almoner_roster.json": roster, **files}
    digests = {where: digest(content) for where, content in listed.items()}
    manifest = canonical_json({"schema_version": 1, "kit": name, "files": digests})
    return KitInputs(manifest, sign_with(key(0), manifest), certificate, roster, pem_of(key(number)))


def make_site(
    name: str, number: int, certificate: x509.Certificate, roster: bytes, entries: tuple[Entry, ...], more: str = ""
) -> SiteInputs:
    policy = f"schema_version: 1\nsite: {name}\n{more}".encode()
    files = {
        "startup/client.crt": pem(certificate),
        "local/almoner_roster.json": roster,
        "local/almoner_policy.yaml": policy,
        "local/almoner_floor.yaml": FLOOR,
    }
    digests = {where: digest(content) for where, content in files.items()}
    manifest = canonical_json({"schema_version": 1, "kit": name, "files": digests})
    kit = KitInputs(manifest, sign_with(key(0), manifest), pem(certificate), roster, pem_of(site_key(number)))
    return SiteInputs(name, kit, policy, FLOOR, entries)


def submitted(envelope: dict[str, Any], signer: int = 2, who: str = "lead@site-1.example", **more: bytes) -> bytes:
    """Return the zip of a submitted folder, each file signed as FLARE signs it."""
    style = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)
    folders = {
        "heart": {"meta.json": b"{}"},
        "heart/app/config": {"almoner_job.json": canonical_json(envelope), **more},
    }
    certificate = pem(certify(key(signer), who, key(0), "consortium", "site-1", "lead"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for folder, files in folders.items():
            signatures = {}
            for name, content in files.items():
                archive.writestr(f"{folder}/{name}", content)
                signatures[name] = base64.b64encode(key(signer).sign(content, style, hashes.SHA256())).decode()
            archive.writestr(f"{folder}/.__nvfl_sig.json", json.dumps(signatures))
            archive.writestr(f"{folder}/.__nvfl_submitter.crt", certificate)
    return buffer.getvalue()


def run_facts(run: Run) -> list[Fact]:
    """Return all that happened in a run."""
    claim = read_submission(run.server.submission, run.root, "submission").claim()
    facts = job_facts(claim, run.server.outcome)
    for site in run.sites:
        facts += site_facts(site_book(site), JOB, run.server.heads.get(site.site))
    return facts + [("head", site, head) for site, head in run.round_heads]


def log_of(run: Run, folder: Path, facts: Sequence[Fact] | None = None) -> LogOffer:
    """Log what happened, sign the head, and return the offer for the sites."""
    log = TransparencyLog(folder / "log")
    entries = [log_entry(kind, JOB, site, found) for kind, site, found in (run_facts(run) if facts is None else facts)]
    log.append(entry.to_bytes() for entry in entries)
    server = run.root.party(run.server.kit.certificate, None, "server")
    signed = log.publish(server.key_id, run.server.kit.private_key)
    tree = HashTree(map(leaf_hash, log.entries()))
    leaves = tuple(tree.leaf(index).hex() for index in range(tree.size))
    return LogOffer(job_id=JOB, signed=signed, leaves=leaves, entries=proven_entries(log.entries(), JOB, tree.size))


def cosign(run: Run, site: SiteInputs, offer: LogOffer, folder: Path) -> str:
    server = run.root.party(run.server.kit.certificate, None, "server")
    witness = Witness(folder / f"{site.site}.json", site.site)
    facts = site_facts(site_book(site), JOB, None)
    return cosign_offer(offer, witness, server.key, facts, site.kit.private_key)


def parts_of(run: Run, folder: Path, offer: LogOffer | None = None) -> Parts:
    """Return all parts of a run's pack but the index."""
    offer = log_of(run, folder) if offer is None else offer
    cosignatures = {site.site: cosign(run, site, offer, folder) for site in run.sites}
    parts: Parts = {}
    for site in run.sites:
        parts |= site_parts(site, JOB, run.root)
    head = LogHead(signed=offer.signed, cosignatures=cosignatures)
    log = LogParts(head, LogEntries(entries=offer.entries))
    books = {site.site: site_book(site) for site in run.sites}
    return parts | server_parts(run.server, books, log, run.root, TIME)


def sealed(run: Run, parts: Parts) -> bytes:
    """Return the pack of some parts, with an index that the server signed."""
    return seal_pack(parts, JOB, "consortium", run.server.kit, run.root, TIME)


def resigned(
    run: Run, parts: Parts, name: str, change: Callable[[dict[str, Any]], dict[str, Any]], site: int | None = 0
) -> Parts:
    """Return the parts with one statement changed, and signed anew by a site, or by the server (None)."""
    kit = run.server.kit if site is None else run.sites[site].kit
    party = run.root.party(kit.certificate, None, "")
    old = open_statement(parts[name], party, name)
    predicate = change(dict(old.predicate))
    subjects = digests_of(parts, *old.subjects)
    statement = Statement(subjects, old.predicate_type, predicate)
    return {**parts, name: sign_statement(statement, KitSigner(party, kit.private_key))}


def refused(run: Run, parts: Parts, match: str) -> None:
    """See that a pack with an index by the server does not verify."""
    with pytest.raises(EvidenceError, match=match):
        verify_pack(sealed(run, parts), run.root_pem)
