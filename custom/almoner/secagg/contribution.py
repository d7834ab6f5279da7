"""M1 and U: a site's masked values with their signature, and the list of whose are counted.

A contribution is a frame (`protection/message.py`) around masked words ‖ masked tag (8) ‖ Ed25519 signature (64) over
the round, H(R) and the commitment H(words ‖ tag). So a contribution counts for one ring of one round, and its
signature shows to all sites, without the values, what was counted.

The roll names U; its body is for each contributor commitment (32) ‖ signature (64). A roll is what sites acknowledge.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from almoner.errors import ProtocolError
from almoner.protection import message
from almoner.protection.hidden import Hidden
from almoner.protection.set_up import DIGEST_BYTES, ED25519_BYTES, JobKeys, check_subset, names
from almoner.secagg import merkle
from almoner.secagg.blocks import BLOCK_VALUES, blocks
from almoner.secagg.masking import Mask, Masker, mask_tag
from almoner.secagg.offers import Ring
from almoner.secagg.packing import Words
from almoner.secagg.session import CONTRIBUTION_LABEL, Session, contribution_header
from almoner.secagg.tag import TAG_BYTES, RoundTag, decode_tag, encode_tag

ENTRY_BYTES = DIGEST_BYTES + ED25519_BYTES
_ROLL_LABEL = b"almoner-secagg-roll-1"
_INTEGERS = (np.dtype(np.int64), np.dtype(np.int32))


@dataclass(frozen=True, repr=False, eq=False)
class Sent(Hidden):
    """What a site keeps of its contribution.

    Args:
        number: the round.
        message: all bytes of it.
        entry: commitment and signature, as they must stand in the roll.
        tag: of the values, without pad and masks; it tells the same values from others.
    """

    number: int
    message: bytes
    entry: bytes
    tag: int


def make_contribution(
    session: Session,
    ring: Ring,
    site: str,
    keys: JobKeys,
    tag: RoundTag,
    masks: Sequence[Mask],
    values: npt.NDArray[np.int64] | npt.NDArray[np.int32],
) -> Sent:
    """Pack, tag, mask and sign a site's values, in one pass block by block.

    *Guarantee*: with fresh masks, the message is independent of the values, and its length depends on the job alone.

    Args:
        values: int64[d] or int32[d]; entries beyond the job's limit saturate, or are taken modulo p
            (see `modular.py`). Not modified, not copied as a whole.
    """
    packing = session.packing
    masker, running = Masker(masks, packing.dtype, packing.modulus), tag.running(packing.tag_bound(1))
    header = contribution_header(session.terms)
    out, digest = io.BytesIO(), sha256()
    out.write(header.encode())
    scratch, packed = np.empty(BLOCK_VALUES, dtype=values.dtype), np.empty(BLOCK_VALUES, dtype=packing.dtype)
    for block in blocks(session.terms.dimension):
        within = packing.admit(values[block], scratch[: block.stop - block.start])
        running.add(within)
        words = packing.pack(within, packed)
        masker.apply(words)
        out.write(words.data)
        digest.update(words.data)
    masked = encode_tag(mask_tag(running.value() + tag.pad(site), masks))
    digest.update(masked)
    commitment = digest.digest()
    signature = keys.sign(session.stated(CONTRIBUTION_LABEL, ring.number, site, ring.digest, commitment))
    out.write(masked + signature)
    return Sent(ring.number, out.getvalue(), commitment + signature, running.value())


def tag_values(session: Session, tag: RoundTag, values: npt.NDArray[np.int64] | npt.NDArray[np.int32]) -> int:
    """Return the tag of a site's values as `make_contribution` takes it, without pad and masks."""
    packing = session.packing
    running = tag.running(packing.tag_bound(1))
    for block in blocks(session.terms.dimension):
        running.add(packing.admit(values[block], np.empty(block.stop - block.start, dtype=values.dtype)))
    return running.value()


def check_values(session: Session, values: npt.NDArray[np.int64] | npt.NDArray[np.int32]) -> None:
    """Refuse what is no vector of integers of the job's dimension.

    Raises:
        ProtocolError: wrong type or shape.
    """
    if not isinstance(values, np.ndarray) or values.dtype not in _INTEGERS:
        raise ProtocolError("protect: the values are not an int64 or int32 array: quantise them first")
    if values.shape != (session.terms.dimension,):
        raise ProtocolError(
            f"protect: the values have shape {values.shape}, expected ({session.terms.dimension},): flatten them"
        )


@dataclass(frozen=True, repr=False, eq=False)
class Contribution:
    """A contribution as the server reads it, without a copy.

    Args:
        words: masked, of the packing's type.
        tag: masked.
        entry: its line of the roll: commitment and signature.
    """

    words: Words
    tag: int
    entry: bytes


def read_contribution(data: bytes, session: Session, ring: Ring, site: str) -> Contribution:
    """Return a site's contribution to a ring.

    Raises:
        ProtocolError: it is damaged, or not signed by the site for this ring.
    """
    what = f"round {ring.number}: contribution of {site}"
    payload = message.split(data, contribution_header(session.terms), what)
    signed, signature = payload[:-ED25519_BYTES], bytes(payload[-ED25519_BYTES:])
    commitment = sha256(signed).digest()
    session.verify(CONTRIBUTION_LABEL, ring.number, site, signature, ring.digest, commitment)
    words = np.frombuffer(signed[:-TAG_BYTES], dtype=session.packing.dtype)
    return Contribution(words, decode_tag(bytes(signed[-TAG_BYTES:]), what), commitment + signature)


@dataclass(frozen=True)
class Roll:
    """U of one round: whose contributions are counted; read with `read_roll`.

    Args:
        sites: U, in roster order.
        entries: of each, commitment ‖ signature.
        digest: H(U and its contributions).
    """

    sites: tuple[str, ...]
    entries: tuple[bytes, ...]
    digest: bytes

    def entry(self, site: str) -> bytes | None:
        """Return a site's entry, or None if it is not in U."""
        return self.entries[self.sites.index(site)] if site in self.sites else None

    @property
    def body(self) -> bytes:
        """The bytes that the server shows."""
        return b"".join(self.entries)

    @property
    def root(self) -> bytes:
        """Merkle root over the entries."""
        return merkle.root(self.entries)


def make_roll(session: Session, ring: Ring, entries: dict[str, bytes]) -> Roll:
    """Return the roll of some checked entries, in roster order."""
    sites, parts = tuple(entries), tuple(entries.values())
    return Roll(sites, parts, session.stated(_ROLL_LABEL, ring.number, "", ring.digest, names(sites), *parts))


def read_roll(session: Session, ring: Ring, sites: tuple[str, ...], body: bytes) -> Roll:
    """Return the roll that a server shows.

    Raises:
        ProtocolError: U is no large enough subset of the ring, or a contributor did not sign for this very ring.
    """
    check_subset(sites, ring.sites, session.terms.quorum, f"round {ring.number}: the contributors")
    if len(body) != ENTRY_BYTES * len(sites):
        raise ProtocolError(f"round {ring.number}: the roll has {len(body)} bytes for {len(sites)} sites")
    entries = {site: body[k * ENTRY_BYTES : (k + 1) * ENTRY_BYTES] for k, site in enumerate(sites)}
    for site, entry in entries.items():
        commitment, signature = entry[:DIGEST_BYTES], entry[DIGEST_BYTES:]
        session.verify(CONTRIBUTION_LABEL, ring.number, site, signature, ring.digest, commitment)
    return make_roll(session, ring, entries)
