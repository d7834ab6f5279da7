"""Opens a pack: the archive, its index, and who may sign what; the first four steps of `verify`.

1  the file is, to the byte, the archive of its parts
2  the root signed the manifests that list the certificates of the server and of each site
3  the packer signed the index
4  every part is in the index with its digest, none is missing, none is new, and each is one that a step reads
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import StringConstraints

from almoner.audit import authority
from almoner.audit import parts as names
from almoner.audit.archive import read_archive
from almoner.audit.attestation_claim import require_attestation
from almoner.audit.authority import Party, Root, read_roster
from almoner.audit.server_statements import INDEX_TYPE
from almoner.audit.statements import Statement, open_statement
from almoner.errors import EvidenceError
from almoner.privacy.ledger_entries import JobId
from almoner.schema.base import Digest, Model, Name, PlainText, canonical_json
from almoner.schema.consortium import Roster


class PackIndex(Model):
    """What the packer says about a pack.

    Args:
        kind: `site` for one site's parts alone.
        made: when, by the packer's clock.
        sites: those that have parts.
    """

    pack: Literal[1]
    kind: Literal["consortium", "site"]
    job_id: JobId
    packer: str
    made: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
    root_sha256: Digest
    almoner_version: PlainText
    sites: tuple[Name, ...]


@dataclass(frozen=True)
class Pack:
    """A pack whose parts are those that its packer signed for.

    Args:
        server: who may sign as the server; None in a site's own pack.
        sites: who may sign as a site, by name, of the sites that have parts.
        rosters: the roster in each site's kit.
    """

    parts: Mapping[str, bytes]
    index: PackIndex
    root: Root
    server: Party | None
    sites: Mapping[str, Party]
    rosters: Mapping[str, Roster]

    @property
    def job_id(self) -> str:
        """The job that the pack is about."""
        return self.index.job_id

    def part(self, name: str) -> bytes:
        """Return a part.

        Raises:
            EvidenceError: it is missing.
        """
        return part_of(self.parts, name)

    def statement(self, name: str, kind: str, party: Party) -> Statement:
        """Return a statement of a kind by a party.

        Raises:
            EvidenceError: it is missing, not signed by the party, or of another kind.
        """
        statement = open_statement(self.part(name), party, name)
        if statement.predicate_type != kind:
            raise EvidenceError(f"{name}: a statement of another kind than {kind}")
        return statement


def part_of(parts: Mapping[str, bytes], name: str) -> bytes:
    """Return a part.

    Raises:
        EvidenceError: it is missing.
    """
    if name not in parts:
        raise EvidenceError(f"{name}: missing")
    return parts[name]


def open_pack(data: bytes, root_pem: bytes) -> Pack:
    """Open a pack.

    *Guarantee*: steps 1 to 4 of the module hold.

    Raises:
        EvidenceError: naming the part that is wrong.
    """
    parts, root = read_archive(data), Root(root_pem)
    present = names.sites_in(parts)
    sites = {site: _site_party(parts, site, root) for site in present}
    rosters = {site: _site_roster(parts, site) for site in present}
    of_server = len(sites) != 1 or any(name.startswith("authority/") for name in parts)
    server = _server_party(parts, root, sites) if of_server else None
    packer = next(iter(sites.values())) if server is None else server
    statement = open_statement(part_of(parts, names.INDEX), packer, names.INDEX)
    index = _read_index(statement, packer, root, "consortium" if server else "site")
    _check_digests(parts, statement)
    if present != index.sites or not present:
        raise EvidenceError(f"{names.INDEX}: names other sites than those that have parts, or none")
    names.require_known(parts, present)
    return Pack(parts, index, root, server, sites, rosters)


def _read_index(statement: Statement, packer: Party, root: Root, kind: str) -> PackIndex:
    """Return the index; refuse one of another kind, root or packer."""
    try:
        index = PackIndex.model_validate_json(canonical_json(statement.predicate))
        datetime.fromisoformat(index.made)
    except ValueError:
        raise EvidenceError(f"{names.INDEX}: not the index of a pack of this version") from None
    expected = {"kind": kind, "packer": packer.name, "root_sha256": root.fingerprint}
    for field, value in expected.items():
        if getattr(index, field) != value:
            raise EvidenceError(f"{names.INDEX}: {field} is not {value}")
    if statement.predicate_type != INDEX_TYPE:
        raise EvidenceError(f"{names.INDEX}: not the index of a pack")
    return index


def _check_digests(parts: Mapping[str, bytes], index: Statement) -> None:
    """Refuse parts that are not in the index as they are."""
    found = {name: content for name, content in parts.items() if name != names.INDEX}
    for name in sorted(found.keys() | index.subjects.keys()):
        if name not in found:
            raise EvidenceError(f"{name}: missing; the index lists it")
        if name not in index.subjects:
            raise EvidenceError(f"{name}: not in the index: it was added")
        if hashlib.sha256(found[name]).hexdigest() != index.subjects[name]:
            raise EvidenceError(f"{name}: changed: not the digest that the index lists")


def _server_party(parts: Mapping[str, bytes], root: Root, sites: Mapping[str, Party]) -> Party:
    """Return who may sign as the server; its roster must pin the certificate of each site."""
    content, signature = part_of(parts, names.SERVER_MANIFEST), part_of(parts, names.SERVER_MANIFEST_SIGNATURE)
    manifest = root.manifest(content, signature, f"{names.SERVER_MANIFEST} with {names.SERVER_MANIFEST_SIGNATURE}")
    certificate, roster = part_of(parts, names.SERVER_CERTIFICATE), part_of(parts, names.ROSTER)
    manifest.require(authority.SERVER_CERTIFICATE, certificate, names.SERVER_CERTIFICATE)
    manifest.require(authority.ROSTER, roster, names.ROSTER)
    require_attestation(parts.get(names.ATTESTATION), manifest)
    pinned = {entry.site: entry.certificate_sha256 for entry in read_roster(roster, names.ROSTER).sites}
    for site, party in sites.items():
        if pinned.get(site) != party.key_id:
            where = names.of_site(site, names.CERTIFICATE)
            raise EvidenceError(f"{where}: not the certificate that the server's roster pins for {site}")
    return root.party(certificate, manifest.kit, names.SERVER_CERTIFICATE)


def _site_party(parts: Mapping[str, bytes], site: str, root: Root) -> Party:
    """Return who may sign as a site, by the manifest of its kit, which also lists its roster and policies."""
    where = {name: names.of_site(site, name) for name in names.SITE_FILES}
    found = {name: part_of(parts, path) for name, path in where.items()}
    both = f"{where[names.MANIFEST]} with {where[names.MANIFEST_SIGNATURE]}"
    manifest = root.manifest(found[names.MANIFEST], found[names.MANIFEST_SIGNATURE], both)
    if manifest.kit != site:
        raise EvidenceError(f"{where[names.MANIFEST]}: the manifest of {manifest.kit}, not of {site}")
    listed = ((authority.SITE_CERTIFICATE, names.CERTIFICATE), (authority.ROSTER, names.SITE_ROSTER))
    for path, name in (*listed, (authority.POLICY, names.POLICY), (authority.FLOOR, names.FLOOR)):
        manifest.require(path, found[name], where[name])
    return root.party(found[names.CERTIFICATE], site, where[names.CERTIFICATE])


def _site_roster(parts: Mapping[str, bytes], site: str) -> Roster:
    """Read the roster in a site's kit."""
    name = names.of_site(site, names.SITE_ROSTER)
    return read_roster(part_of(parts, name), name)
