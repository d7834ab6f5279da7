"""Makes a pack out of folders: one site's; or the server's with those of sites, or with what sites sent it.

The server completes its log first. If the head is still the one that sites cosigned when the job ended, nobody is
asked again. Else each site whose folder is at hand checks the head and cosigns it with its own key, from its own memory
of the log; sites on other machines send a cosignature of the server's offer beside their pack.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from almoner.audit import parts as names
from almoner.audit.authority import Party, Root
from almoner.audit.inputs import ServerInputs, SiteInputs
from almoner.audit.ledger_extract import Book
from almoner.audit.log_facts import LogEntries, LogHead, site_facts
from almoner.audit.log_offer import LogOffer, cosign_offer
from almoner.audit.pack_build import LogParts, Parts, seal_pack, server_parts, site_book, site_parts
from almoner.audit.pack_verify import verify_pack
from almoner.audit.strict_json import read_model
from almoner.errors import EvidenceError
from almoner.flare.evidence.audit_inputs import read_server_inputs, read_site_inputs
from almoner.flare.evidence.audit_log import COSIGNATURE, Cosignature, complete_log, server_of, witness_of
from almoner.flare.evidence.live_log import read_cosigned
from almoner.flare.site.kit_files import read_file, read_root, read_server_name


@dataclass(frozen=True)
class Extras:
    """What goes into a pack beside the run.

    Args:
        redteam: a red-team report.
        threats: the threat model.
        site_packs: packs of sites on other machines.
        cosignatures: of the server's offer, by such sites.
    """

    redteam: Path | None = None
    threats: Path | None = None
    site_packs: tuple[Path, ...] = ()
    cosignatures: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Gathered:
    """What is at hand of the server and of all sites."""

    root: Root
    server: ServerInputs
    folders: dict[Path, SiteInputs]
    parts: Parts
    books: dict[str, Book]


def pack_site(folder: Path, job_id: str) -> bytes:
    """Return the pack of one site, signed by it.

    Raises:
        EvidenceError, LedgerError: a file is missing, or the ledger does not hold together.
    """
    root, inputs = Root(read_root(folder / "kit")), read_site_inputs(folder)
    if not any(found.get("job_id") == job_id for _, found in site_book(inputs).payloads("decision")):
        raise EvidenceError(f"{folder}: no decision about job {job_id} → `almoner ledger show` lists what there is")
    return seal_pack(site_parts(inputs, job_id, root), job_id, "site", inputs.kit, root, _now())


def pack_job(server: Path, sites: Iterable[Path], job_id: str, extras: Extras) -> bytes:
    """Return the pack of a job, signed by the server.

    Raises:
        EvidenceError, LedgerError: a file is missing, a ledger or a site's pack does not hold together, the log was
            damaged, or a site refuses to cosign it.
    """
    found = _gather(server, sites, job_id, extras)
    offer, earlier = complete_log(server, found.server, found.books, found.root)
    party = server_of(found.server.kit, found.root)
    cosignatures: dict[str, str] = {}
    if (kept := read_cosigned(server, job_id)) is not None and kept.signed == offer.signed:
        cosignatures = {site: kept.cosignatures[site] for site in kept.cosignatures if site in found.books}
        earlier = kept.earlier
    for folder, site in found.folders.items():
        if site.site not in cosignatures:
            cosignatures[site.site] = _cosign(folder, site, offer, party)
    sent = [read_model(Cosignature, read_file(path), str(path), COSIGNATURE) for path in extras.cosignatures]
    cosignatures |= {cosignature.site: cosignature.signature for cosignature in sent}
    log = LogParts(
        LogHead(signed=offer.signed, cosignatures=cosignatures, earlier=earlier), LogEntries(entries=offer.entries)
    )
    time = _now()
    parts = found.parts | server_parts(found.server, found.books, log, found.root, time)
    return seal_pack(parts, job_id, "consortium", found.server.kit, found.root, time)


def offer_log(server: Path, job_id: str, site_packs: tuple[Path, ...]) -> LogOffer:
    """Complete the server's log with what sites sent, and return what they are to cosign."""
    found = _gather(server, (), job_id, Extras(site_packs=site_packs))
    return complete_log(server, found.server, found.books, found.root)[0]


def cosign_log(folder: Path, offer: LogOffer, server_certificate: bytes) -> Cosignature:
    """Check an offer as a site, and cosign it.

    Args:
        server_certificate: PEM.

    Raises:
        EvidenceError: the server's certificate is not of the site's root, or the head is refused; see `Witness`.
    """
    root, inputs = Root(read_root(folder / "kit")), read_site_inputs(folder)
    party = root.party(server_certificate, read_server_name(folder / "kit"), "the server's certificate")
    return Cosignature(site=inputs.site, signature=_cosign(folder, inputs, offer, party))


def _gather(server: Path, sites: Iterable[Path], job_id: str, extras: Extras) -> _Gathered:
    """Read all that is at hand."""
    root_pem = read_root(server / "kit")
    root, folders = Root(root_pem), {folder: read_site_inputs(folder) for folder in sites}
    inputs = read_server_inputs(server, job_id, extras.redteam, extras.threats)
    parts: Parts = {}
    books: dict[str, Book] = {}
    for site in folders.values():
        parts |= site_parts(site, job_id, root)
        books[site.site] = site_book(site)
    for path in extras.site_packs:
        data = read_file(path)
        try:
            verdict = verify_pack(data, root_pem)
        except EvidenceError as error:
            raise EvidenceError(f"{path}: {error} → ask the site for a new pack") from None
        if verdict.pack.index.kind != "site" or verdict.pack.job_id != job_id:
            raise EvidenceError(
                f"{path}: not a site's pack of job {job_id} → `almoner audit pack` at the site makes one"
            )
        parts |= {name: content for name, content in verdict.pack.parts.items() if name != names.INDEX}
        books |= verdict.books
    return _Gathered(root, inputs, folders, parts, books)


def _cosign(folder: Path, site: SiteInputs, offer: LogOffer, server: Party) -> str:
    """Have a site check and cosign the log, by its own ledger and its own memory."""
    facts = site_facts(site_book(site), offer.job_id, None)
    return cosign_offer(offer, witness_of(folder, site.site), server.key, facts, site.kit.private_key)


def _now() -> str:
    """Return the time, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
