"""The head of a ledger as its site states it to others, who hold it against the site's own file.

A site signs its head at the start of a job, and the others keep the statement in their own ledgers; it signs its
head again with every result, and the server keeps that. A ledger that was replaced by an older copy of itself,
however valid, cannot contain every head that others hold.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from almoner.errors import LedgerError, ProtocolError
from almoner.schema.base import canonical_json

_SLOT = struct.Struct("<Q32s32s256s")
HEAD_BYTES = _SLOT.size
"""Length of one head with its RSA-2048 signature; an empty slot, zeros alone, is as long."""
EMPTY_SLOT = bytes(HEAD_BYTES)
_MAX_SEQ = 2**53


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A site's statement that its ledger had this head; whose, the place where it stands says.

    Args:
        seq: number of the last entry.
        hash: hash of the last entry, 64 hexadecimal digits.
        occasion: what it was signed for, 64 hexadecimal digits: a digest of the job and what was shown in it.
        signature: of `head_statement`, by the site's certificate; not checked by this class.
    """

    seq: int
    hash: str
    occasion: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """Encode the head into one slot."""
        return _SLOT.pack(self.seq, bytes.fromhex(self.hash), bytes.fromhex(self.occasion), self.signature)

    @classmethod
    def from_bytes(cls, slot: bytes) -> "SignedHead | None":
        """Decode a slot; None for an empty one.

        Raises:
            ProtocolError: the slot is not a head.
        """
        if slot == EMPTY_SLOT:
            return None
        if len(slot) != HEAD_BYTES:
            raise ProtocolError("head: not a message of this protocol")
        seq, entry_hash, occasion, signature = _SLOT.unpack(slot)
        if not 0 < seq < _MAX_SEQ:
            raise ProtocolError("head: not a message of this protocol")
        return cls(seq, entry_hash.hex(), occasion.hex(), signature)

    def to_json(self) -> dict[str, Any]:
        """Return the head as plain JSON."""
        return {
            "seq": self.seq,
            "hash": self.hash,
            "occasion": self.occasion,
            "signature": self.signature.hex(),
        }

    @classmethod
    def from_json(cls, value: object) -> "SignedHead":
        """Read what `to_json` wrote.

        Raises:
            ProtocolError: the value is not a head.
        """
        try:
            seq, *texts = (value[key] for key in ("seq", "hash", "occasion", "signature"))  # type: ignore[index]
            head = cls.from_bytes(_SLOT.pack(seq, *map(bytes.fromhex, texts)))
            if head is not None and head.to_json() == value:
                return head
        except (KeyError, TypeError, ValueError, struct.error):
            pass
        raise ProtocolError("head: not {seq, hash, occasion, signature} of a ledger's head")


def head_statement(site: str, seq: int, entry_hash: str, occasion: str) -> bytes:
    """Return what a site signs about its ledger."""
    return canonical_json(
        {"almoner": "ledger-head-v1", "site": site, "seq": seq, "hash": entry_hash, "occasion": occasion}
    )


def cosign_statement(site: str, job_id: str, heads: Mapping[str, SignedHead]) -> bytes:
    """Return what a site signs about the heads that it keeps from a job's start on."""
    listed = {name: [head.seq, head.hash, head.occasion] for name, head in heads.items()}
    return canonical_json({"almoner": "cosign-v1", "site": site, "job": job_id, "heads": listed})


def pack_heads(sites: tuple[str, ...], heads: dict[str, SignedHead]) -> bytes:
    """Encode one slot a site, in order, empty where there is no head."""
    return b"".join(heads[site].to_bytes() if site in heads else EMPTY_SLOT for site in sites)


def unpack_heads(sites: tuple[str, ...], data: bytes) -> dict[str, SignedHead]:
    """Decode one slot a site.

    Raises:
        ProtocolError: another length, or a slot that is no head.
    """
    if len(data) != HEAD_BYTES * len(sites):
        raise ProtocolError("heads: not one slot for each site")
    slots = {site: data[HEAD_BYTES * i : HEAD_BYTES * (i + 1)] for i, site in enumerate(sites)}
    heads = {site: SignedHead.from_bytes(slot) for site, slot in slots.items()}
    return {site: head for site, head in heads.items() if head is not None}


def newest(*groups: dict[str, SignedHead]) -> dict[str, SignedHead]:
    """Merge heads, the highest of each site; of equals the first."""
    merged: dict[str, SignedHead] = {}
    for group in groups:
        for site, head in group.items():
            if site not in merged or head.seq > merged[site].seq:
                merged[site] = head
    return merged


def verify_contains(entry_hash: str | None, head: SignedHead, holder: str) -> None:
    """Check that a ledger still contains a head that somebody holds.

    Args:
        entry_hash: hash of the ledger's own entry with the head's number; None if it has none.
        holder: who holds the head, for the error's text.

    Raises:
        LedgerError: the ledger does not, so it is an older copy or another history.
    """
    if entry_hash != head.hash:
        finding = "has no such entry" if entry_hash is None else "has another one"
        raise LedgerError(
            f"the ledger was rolled back: {holder} holds this site's signed head {head.seq}, the ledger {finding}"
            " → restore the newest backup, check it with `almoner ledger verify --against`"
        )
