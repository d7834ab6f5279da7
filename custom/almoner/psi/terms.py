"""What all sites of an alignment must mean alike, and how long their messages are; all of it public."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from almoner.errors import ProtocolError
from almoner.protection.boxes import BOX_OVERHEAD
from almoner.protection.set_up import SET_UP_BYTES
from almoner.psi.points import list_bytes
from almoner.schema.base import canonical_json
from almoner.schema.psi import MAX_IDENTIFIERS, MAX_SITES

PsiQuestion = Literal["keys", "blind", "exchange", "compare", "learn"]
"""What the server asks, in this order; "compare" the leader alone, "learn" the members."""


@dataclass(frozen=True)
class PsiTerms:
    """The terms of one alignment.

    *Guarantee*: message lengths are functions of them; no list, match or number of matches enters.

    Args:
        envelope_digest: SHA-256 of the job's envelope in hexadecimal; the identifier's parts are in the envelope.
        job_id: FLARE's.
        sites: all of them, in roster order; each takes part.
        leader: the one of them that compares.
        cap: entries of every list.
        nonce: of the envelope.

    Raises:
        ProtocolError: they are no terms of an alignment.
    """

    envelope_digest: str
    job_id: str
    sites: tuple[str, ...]
    leader: str
    cap: int
    nonce: str

    def __post_init__(self) -> None:
        if len(set(self.sites)) != len(self.sites) or not 2 <= len(self.sites) <= MAX_SITES:
            raise ProtocolError(f"alignment: {len(self.sites)} sites → 2 to {MAX_SITES}, each once")
        if self.leader not in self.sites:
            raise ProtocolError(f"alignment: the leader {self.leader} is none of its sites")
        if not 1 <= self.cap <= MAX_IDENTIFIERS:
            raise ProtocolError(f"alignment: a cap of {self.cap} → 1 to {MAX_IDENTIFIERS}")

    @property
    def members(self) -> tuple[str, ...]:
        """The sites but the leader, in roster order."""
        return tuple(site for site in self.sites if site != self.leader)

    @property
    def list_box_bytes(self) -> int:
        """Length of a sealed list."""
        return list_bytes(self.cap) + BOX_OVERHEAD

    @property
    def marks_bytes(self) -> int:
        """Length of one bit for each entry of a list."""
        return (self.cap + 7) // 8

    @property
    def marks_box_bytes(self) -> int:
        """Length of sealed marks."""
        return self.marks_bytes + BOX_OVERHEAD

    def answer_bytes(self, question: PsiQuestion, site: str) -> int:
        """Return the one length of a site's answer."""
        leads, others = site == self.leader, len(self.members)
        return {
            "keys": SET_UP_BYTES,
            "blind": self.list_box_bytes * (others if leads else 1),
            "exchange": 0 if leads else self.list_box_bytes,
            "compare": self.marks_box_bytes * others,
            "learn": 0,
        }[question]

    def digest(self) -> bytes:
        """Return the SHA-256 of the terms."""
        fields = {
            "envelope": self.envelope_digest,
            "job": self.job_id,
            "sites": list(self.sites),
            "leader": self.leader,
            "cap": self.cap,
            "nonce": self.nonce,
        }
        return sha256(canonical_json({"almoner": "psi-terms-v1", **fields})).digest()
