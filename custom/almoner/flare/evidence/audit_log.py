"""The server's transparency log for one job: what is missing is appended, the head signed, and offered to sites."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from almoner.audit.authority import SERVER_CERTIFICATE, Party, Root
from almoner.audit.hash_tree import HashTree, leaf_hash
from almoner.audit.inputs import KitInputs, ServerInputs
from almoner.audit.ledger_extract import Book
from almoner.audit.log_entries import entries_of, unexplained
from almoner.audit.log_facts import Earlier, job_facts, proven_entries, site_facts
from almoner.audit.log_file import TransparencyLog
from almoner.audit.log_offer import LogOffer
from almoner.audit.submission import read_submission
from almoner.audit.tree_heads import SignatureHex
from almoner.audit.witness import Witness
from almoner.errors import EvidenceError
from almoner.flare.evidence.live_log import LOG_FOLDER, add_missing
from almoner.flare.site.site_files import LEDGER
from almoner.schema.base import Document, Name

WITNESS_FILE = "log_witness.json"
"""What a site remembers of the server's log, beside its ledger."""


COSIGNATURE = "a cosignature → `almoner audit cosign` writes one"


class Cosignature(Document):
    """What a site gives back to the server."""

    schema_version: Literal[1] = 1
    site: Name
    signature: SignatureHex


def complete_log(
    server: Path, inputs: ServerInputs, books: Mapping[str, Book], root: Root
) -> tuple[LogOffer, Earlier | None]:
    """Append what the log does not have of a job yet, sign the head, and return the offer for the sites.

    A head that covers everything already is not signed anew, so that cosignatures of it stay valid.

    Returns:
        The offer; and the head before, if there was one, with the proof that the new one extends it.

    Raises:
        EvidenceError: the log is damaged, or what it has of the job is not what the server and the sites have now.
    """
    log, job_id = TransparencyLog(server / LOG_FOLDER), inputs.job_id
    claim = read_submission(inputs.submission, root, f"job {job_id}").claim()
    facts = job_facts(claim, inputs.outcome)
    facts += [fact for site, book in books.items() for fact in site_facts(book, job_id, inputs.heads.get(site))]
    known = [entry for _, entry in entries_of(log.entries(), job_id)]
    for _, kind in unexplained(known, facts, books):
        remedy = "pack with the release that ran the job, or restore the job's record"
        raise EvidenceError(f"{server / LOG_FOLDER}: has another fact of kind {kind} of job {job_id} → {remedy}")
    add_missing(log, job_id, facts)
    before, log_id = log.head(), root.party(inputs.kit.certificate, None, "the server's certificate").key_id
    signed, entries = log.publish(log_id, inputs.kit.private_key), log.entries()
    tree, earlier = HashTree(map(leaf_hash, entries)), None
    if before is not None and before != signed:
        proof = tree.consistency_proof(before.head.size, signed.head.size)
        earlier = Earlier(signed=before, consistency=tuple(digest.hex() for digest in proof))
    leaves = tuple(tree.leaf(index).hex() for index in range(signed.head.size))
    proven = proven_entries(entries, job_id, signed.head.size)
    return LogOffer(job_id=job_id, signed=signed, leaves=leaves, entries=proven), earlier


def server_of(kit: KitInputs, root: Root) -> Party:
    """Return the server, by the manifest of its kit.

    Raises:
        EvidenceError: the root did not sign it.
    """
    manifest = root.manifest(kit.manifest, kit.manifest_signature, "the server's kit")
    manifest.require(SERVER_CERTIFICATE, kit.certificate, "the server's certificate")
    return root.party(kit.certificate, manifest.kit, "the server's certificate")


def witness_of(folder: Path, site: str) -> Witness:
    """Return a site's memory of the server's log."""
    return Witness((folder / LEDGER).parent / WITNESS_FILE, site)
