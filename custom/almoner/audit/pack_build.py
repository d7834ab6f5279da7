"""Makes the parts of a pack out of plain inputs: a site's, the server's, and the index that closes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from almoner import __version__
from almoner.audit import parts as names
from almoner.audit import server_statements as server_says
from almoner.audit import site_statements as site_says
from almoner.audit.archive import write_archive
from almoner.audit.attack_report import attacks_claim, refuse_other_job
from almoner.audit.authority import Root, read_roster
from almoner.audit.inputs import KitInputs, ServerInputs, SiteInputs
from almoner.audit.ledger_extract import Book, ledger_claims, replay_entries, write_entries
from almoner.audit.log_facts import LogEntries, LogHead
from almoner.audit.pack_read import PackIndex
from almoner.audit.sbom import SBOM_TYPE, installed_components, render_sbom, vulnerability_status
from almoner.audit.statements import KitSigner, Statement, digests_of, sign_statement
from almoner.audit.submission import Submission, read_submission
from almoner.schema.base import canonical_json
from almoner.workloads.installed import package_digest

Parts = dict[str, bytes]


def site_book(inputs: SiteInputs) -> Book:
    """Return a site's ledger, checked.

    Raises:
        EvidenceError: it does not hold together.
    """
    return replay_entries(inputs.entries, inputs.site, f"ledger of {inputs.site}")


def site_parts(inputs: SiteInputs, job_id: str, root: Root) -> Parts:
    """Return a site's parts about a job, its statements signed.

    Raises:
        EvidenceError: the ledger does not hold together, or the kit's certificate is not of the root.
    """
    site, kit, book = inputs.site, inputs.kit, site_book(inputs)
    signer = kit_signer(kit, root, site)
    contents = (kit.manifest, kit.manifest_signature, kit.certificate, kit.roster, inputs.policy, inputs.floor)
    files = zip(names.SITE_FILES, (*contents, write_entries(book.entries)), strict=True)
    parts = {names.of_site(site, name): content for name, content in files}
    about = {"site": site, "job_id": job_id}
    privacy = site_says.privacy_claim(book, job_id, read_roster(kit.roster, f"kit of {site}").keys)
    claims: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        names.LEDGER_STATEMENT: (site_says.LEDGER_TYPE, ledger_claims(book, recompute=False), {}),
        names.DECISIONS: (site_says.DECISIONS_TYPE, site_says.decisions_claim(book), {}),
        names.RECEIPTS: (site_says.RECEIPTS_TYPE, site_says.receipts_claim(book, job_id), {}),
        names.PRIVACY: (site_says.PRIVACY_TYPE, privacy, site_says.privacy_stated(book, job_id, privacy)),
    }
    subjects = digests_of(parts, names.of_site(site, names.LEDGER))
    for name, (kind, found, stated) in claims.items():
        statement = Statement(subjects, kind, {**about, "recomputed": found, "stated": stated})
        parts[names.of_site(site, name)] = sign_statement(statement, signer)
    return parts


@dataclass(frozen=True)
class LogParts:
    """The log as a pack shows it."""

    head: LogHead
    entries: LogEntries


def server_parts(inputs: ServerInputs, books: Mapping[str, Book], log: LogParts, root: Root, time: str) -> Parts:
    """Return the server's parts about a job, its statements signed.

    Args:
        books: the ledgers of the sites whose parts go into the pack.
        time: when the pack is made, ISO 8601.

    Raises:
        EvidenceError: an input is not what it should be, or the red-team report says it is of another job.
    """
    kit = inputs.kit
    parts: Parts = {
        names.SERVER_MANIFEST: kit.manifest,
        names.SERVER_MANIFEST_SIGNATURE: kit.manifest_signature,
        names.SERVER_CERTIFICATE: kit.certificate,
        names.ROSTER: kit.roster,
        names.SUBMISSION: inputs.submission,
        names.META: canonical_json(inputs.meta),
        names.HEADS: canonical_json({"heads": dict(inputs.heads)}),
        names.LOG_HEAD: canonical_json(log.head),
        names.LOG_ENTRIES: canonical_json(log.entries),
    }
    if kit.attestation is not None:
        parts[names.ATTESTATION] = kit.attestation
    if inputs.outcome is not None:
        parts[names.OUTCOME] = canonical_json(inputs.outcome)
    if inputs.redteam is not None:
        parts[names.REDTEAM] = inputs.redteam
    submission = read_submission(inputs.submission, root, names.SUBMISSION)
    refuse_other_job(inputs.redteam, submission)
    signer = kit_signer(kit, root, None)
    about = [name for name in (names.SUBMISSION, names.META, names.OUTCOME) if name in parts]
    for name, (kind, predicate) in _server_claims(inputs, parts, submission, books, root, time).items():
        extra = [names.REDTEAM] if name == names.ATTACKS and names.REDTEAM in parts else []
        parts[name] = sign_statement(Statement(digests_of(parts, *about, *extra), kind, predicate), signer)
    return parts


def _server_claims(
    inputs: ServerInputs, parts: Parts, submission: Submission, books: Mapping[str, Book], root: Root, time: str
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the server's statements by part: predicate type and predicate."""
    roster = read_roster(inputs.kit.roster, names.ROSTER)
    run = {
        "recomputed": server_says.run_claim(inputs.job_id, submission, books, inputs.kit.attestation),
        "stated": server_says.run_stated(inputs.meta, inputs.outcome, books),
    }
    certificates = server_says.certificates_claim(root, server_says.pack_certificates(parts, submission))
    return {
        names.RUN: (server_says.RUN_TYPE, run),
        names.CERTIFICATES: (server_says.CERTIFICATES_TYPE, certificates),
        names.SBOM: (SBOM_TYPE, render_sbom(installed_components(), package_digest(), time)),
        names.VULNERABILITIES: (server_says.VULNERABILITIES_TYPE, vulnerability_status()),
        names.THREATS: (server_says.THREATS_TYPE, server_says.threats_claim(inputs.threats)),
        names.ATTACKS: (server_says.ATTACKS_TYPE, attacks_claim(inputs.redteam, submission)),
        names.DPIA: (server_says.DPIA_TYPE, server_says.dpia_claim(submission, roster, books)),
    }


def seal_pack(
    parts: Parts, job_id: str, kind: Literal["consortium", "site"], kit: KitInputs, root: Root, time: str
) -> bytes:
    """Close a pack: sign the index over all parts; return the file.

    Args:
        kind: `site` for a pack of one site's parts alone, which the server puts into its own.
        kit: the packer's.
    """
    signer = kit_signer(kit, root, None)
    about = PackIndex(
        pack=1,
        kind=kind,
        job_id=job_id,
        packer=signer.party.name,
        made=time,
        root_sha256=root.fingerprint,
        almoner_version=__version__,
        sites=names.sites_in(parts),
    )
    statement = Statement(digests_of(parts, *parts), server_says.INDEX_TYPE, about.model_dump(mode="json"))
    index = sign_statement(statement, signer)
    return write_archive({**parts, names.INDEX: index})


def kit_signer(kit: KitInputs, root: Root, name: str | None) -> KitSigner:
    """Return the signer of a kit.

    Args:
        name: whose the certificate must be; anybody's if None.
    """
    return KitSigner(root.party(kit.certificate, name, "the kit's certificate"), kit.private_key)
