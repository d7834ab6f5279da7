"""A site's part in drawing the groups of a study; what it holds outlives the job, and is durable before it is said.

Transitions of the record (every other question raises `ProtocolError`; the same one has the same answer, for ever):

    none       --draw-commit-->  committed   draws its secret, once for the epoch, and signs the commitment
    committed  --draw-reveal-->  disclosed   commitments of all sites: keeps them, and discloses for no other list, ever
    disclosed  --draw-settle-->  settled     disclosures of all sites over the same list: keeps them; the groups stand

A later job asks the same questions; each answer then holds all that the site keeps of the others too, so that one site
that has settled is enough for the rest, and a site that is absent is drawn as it was.

*Guarantee*: within an epoch this site draws, commits and discloses once. Whoever withholds a part of the draw gets no
other one: the site offers the same values again, in every job. Another number of groups, other sites or other
certificates are refused where there is a record; a new epoch is for the site's data officer to open.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from secrets import token_bytes
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from almoner.errors import ProtocolError
from almoner.protection.draw import (
    COMMITMENT_BYTES,
    DISCLOSURE_BYTES,
    SECRET_BYTES,
    CertificateKeys,
    DrawTerms,
    Groups,
    assign,
    commit,
    disclose,
    groups_digest,
    list_digest,
    pack,
    unpack,
    verify_commitment,
    verify_disclosure,
)
from almoner.protection.set_up import DIGEST_BYTES
from almoner.schema.approval import SignedApproval
from almoner.schema.base import Digest, Document, Name

DrawTask = Literal["draw-commit", "draw-reveal", "draw-settle"]
Hex = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})+$")]


class DrawRecord(Document):
    """What a site keeps of a study's draw.

    Args:
        secret: of this site, hexadecimal; no secret any more once it was disclosed.
        commitments: the own one alone, or those of all sites once they were accepted.
        disclosures: the own one, or those of all sites once the groups stand; none before.
        approval: of the data officer, for a draw that is not the study's first here; see `draw_approval_digest`.
    """

    study: Name
    sites: tuple[Name, ...]
    certificates: tuple[Digest, ...]
    group_sizes: tuple[int, ...]
    epoch: Annotated[int, Field(ge=1, lt=2**32)]
    secret: Hex
    commitments: dict[Name, Hex]
    disclosures: dict[Name, Hex]
    approval: SignedApproval | None = None

    @property
    def terms(self) -> DrawTerms:
        """What is drawn."""
        return DrawTerms(self.study, self.sites, self.certificates, self.group_sizes, self.epoch)

    @property
    def listed(self) -> str:
        """The digest of the commitments for which this site disclosed, hexadecimal; "" before it did."""
        return list_digest(self.terms, from_hex(self.commitments)).hex() if self.disclosures else ""

    @property
    def groups(self) -> Groups | None:
        """The groups; None before they stand."""
        if set(self.disclosures) != set(self.sites):
            return None
        return assign(self.terms, from_hex(self.commitments), from_hex(self.disclosures))


class DrawStore(ABC):
    """Where a site keeps its record of one study."""

    @abstractmethod
    def change(self, step: Callable[[DrawRecord | None], DrawRecord]) -> DrawRecord:
        """Replace the record by what `step` makes of it; return that, durable.

        Nobody else changes the record meanwhile. If `step` raises, nothing changes.

        Raises:
            ProtocolError: there was a record, and it is lost or not the last one.
        """


def fresh_record(terms: DrawTerms, site: str, private_key_pem: bytes) -> DrawRecord:
    """Draw a site's secret for one epoch."""
    secret = token_bytes(SECRET_BYTES)
    commitments = {site: commit(terms, site, secret, private_key_pem).hex()}
    return DrawRecord(
        schema_version=1,
        study=terms.study,
        sites=terms.sites,
        certificates=terms.certificates,
        group_sizes=terms.group_sizes,
        epoch=terms.epoch,
        secret=secret.hex(),
        commitments=commitments,
        disclosures={},
    )


class SiteDraw:
    """One site's part in the draw of one study, in one job.

    Args:
        terms: as the job has them, of epoch 1; the record says which epoch it is.
        keys: of the certificates that the roster in the own kit pins, by site.
    """

    def __init__(
        self, terms: DrawTerms, site: str, keys: CertificateKeys, private_key_pem: bytes, store: DrawStore
    ) -> None:
        self._terms, self._site, self._keys = terms, site, keys
        self._private_key_pem, self._store = private_key_pem, store
        self.groups: Groups | None = None

    def answer_bytes(self, task: DrawTask) -> int:
        """Return the length of the answer."""
        slots = {"draw-commit": COMMITMENT_BYTES, "draw-reveal": DISCLOSURE_BYTES}
        return slots[task] * len(self._terms.sites) if task in slots else DIGEST_BYTES

    def answer(self, task: DrawTask, contributors: tuple[str, ...], body: bytes) -> bytes:
        """Take a step of the draw; what is answered is durable.

        Raises:
            ProtocolError: the question is not allowed now, or not true; or the groups stand otherwise here.
        """
        sites = self._terms.sites
        if contributors != (() if task == "draw-commit" else sites) or (task == "draw-commit" and body):
            raise ProtocolError(f"{task}: not asked like this; all sites of the study take part in the draw")
        if task == "draw-commit":
            held = self._store.change(self._begin)
            return pack(sites, from_hex(held.commitments), COMMITMENT_BYTES)
        if task == "draw-reveal":
            shown = unpack(sites, body, COMMITMENT_BYTES)
            held = self._store.change(lambda record: self._accept(self._checked(record), shown))
            return pack(sites, from_hex(held.disclosures), DISCLOSURE_BYTES)
        said = unpack(sites, body, DISCLOSURE_BYTES)
        held = self._store.change(lambda record: self._settle(self._checked(record), said))
        self.groups = held.groups
        if self.groups is None:
            raise ProtocolError("draw: the groups do not stand: report this")
        return groups_digest(held.terms, self.groups)

    def _begin(self, held: DrawRecord | None) -> DrawRecord:
        """Draw the secret if there is no record yet."""
        return fresh_record(self._terms, self._site, self._private_key_pem) if held is None else self._checked(held)

    def _checked(self, held: DrawRecord | None) -> DrawRecord:
        """Return the record, if it is of what the job names."""
        if held is None:
            raise ProtocolError("draw: this site has not committed yet")
        if held.terms != replace(self._terms, epoch=held.epoch):
            was, wanted = len(held.group_sizes), len(self._terms.group_sizes)
            raise ProtocolError(
                f"the groups of study {held.study} are fixed: {len(held.sites)} sites in {was} groups, not "
                f"{len(self._terms.sites)} in {wanted}, or certificates changed → the data officer of each site "
                "approves a new draw (almoner site redraw)"
            )
        return held

    def _accept(self, held: DrawRecord, shown: dict[str, bytes]) -> DrawRecord:
        """Take the commitments of all, and disclose; for other commitments than the first, never."""
        terms = held.terms
        self._all_there(shown, "committed")
        for site, said in shown.items():
            verify_commitment(terms, site, said, self._keys[site])
        if held.disclosures:
            if list_digest(terms, shown).hex() != held.listed:
                raise ProtocolError("draw: these are not the commitments for which this site disclosed its secret")
            return held
        if shown[self._site] != bytes.fromhex(held.commitments[self._site]):
            raise ProtocolError(f"draw: this is not what {self._site} committed to")
        listed = list_digest(terms, shown)
        said = disclose(terms, self._site, bytes.fromhex(held.secret), listed, self._private_key_pem)
        return held.model_copy(update={"commitments": to_hex(shown), "disclosures": {self._site: said.hex()}})

    def _settle(self, held: DrawRecord, said: dict[str, bytes]) -> DrawRecord:
        """Take the disclosures of all."""
        if not held.disclosures:
            raise ProtocolError("draw: this site has not disclosed yet")
        self._all_there(said, "disclosed")
        commitments = from_hex(held.commitments)
        for site, disclosure in said.items():
            verify_disclosure(held.terms, site, disclosure, commitments, self._keys[site])
        return held if held.groups is not None else held.model_copy(update={"disclosures": to_hex(said)})

    def _all_there(self, parts: dict[str, bytes], what: str) -> None:
        """Check that no site's part is missing."""
        if missing := [site for site in self._terms.sites if site not in parts]:
            raise ProtocolError(f"draw: not {what} by {', '.join(missing)}")


def to_hex(parts: dict[str, bytes]) -> dict[str, str]:
    """Return parts as they are written."""
    return {site: part.hex() for site, part in parts.items()}


def from_hex(parts: dict[str, str]) -> dict[str, bytes]:
    """Return parts as they were said."""
    return {site: bytes.fromhex(part) for site, part in parts.items()}
