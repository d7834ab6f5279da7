"""K: what a site offers for one round, and what the ring's announcement makes of all offers.

An offer is, in bytes: public mask key (32) ‖ H(b) (32) ‖ for each site of the job two commitments to its shares (64) ‖
for each site a sealed box (80) with its shares of b and of the mask key ‖ Ed25519 signature (64). Slots of sites that
are no members are zero, so is the box for oneself. The signature is over all of it with T, the members and the round.

The announcement of a round is the offers of the ring R, one after the other; its digest H(R) covers the round, the
names, every byte, and the totals that were told before (`view.py`), and enters every later message and mask of the
round.
"""

from dataclasses import dataclass
from enum import IntEnum

from almoner.errors import ProtocolError
from almoner.protection.boxes import BOX_OVERHEAD, Address, BoxKey
from almoner.protection.set_up import DIGEST_BYTES, ED25519_BYTES, KEY_BYTES, check_exchange_key, check_subset, names
from almoner.secagg.session import OFFER_LABEL, Session
from almoner.secagg.shamir import SECRET_BYTES, is_element
from almoner.secagg.view import FIRST_VIEW

BOX_BYTES = 2 * SECRET_BYTES + BOX_OVERHEAD
EMPTY_BOX = bytes(BOX_BYTES)
EMPTY_COMMITMENTS = (bytes(DIGEST_BYTES), bytes(DIGEST_BYTES))
_HEAD_BYTES = KEY_BYTES + DIGEST_BYTES
_COMMITMENTS_BYTES = 2 * DIGEST_BYTES
_BOX_LABEL = b"almoner-secagg-shares-1"
_SHARE_LABEL = b"almoner-secagg-share-1"
_SECRET_LABEL = b"almoner-secagg-self-secret-1"
_RING_LABEL = b"almoner-secagg-ring-1"


class FalseShares(ProtocolError):
    """A box opens to no shares, or to others than its dealer committed to: the dealer is to blame."""


class Secret(IntEnum):
    """Which of a site's two secrets of a round a share is of; also its place in boxes and commitments."""

    SELF = 0
    KEY = 1


@dataclass(frozen=True)
class Offer:
    """One site's offer for one round; read with `read_offer`, nothing in it is trusted before.

    Args:
        mask_key: X25519 public key, for this round alone.
        self_commitment: H(b).
        commitments: for each site of the job, in roster order, the commitments to its two shares.
        boxes: for each site of the job, in roster order, its sealed shares.
        signature: Ed25519.
    """

    mask_key: bytes
    self_commitment: bytes
    commitments: tuple[tuple[bytes, bytes], ...]
    boxes: tuple[bytes, ...]
    signature: bytes = b""

    def unsigned(self) -> bytes:
        """Return what the signature is over."""
        commitments = b"".join(part for pair in self.commitments for part in pair)
        return self.mask_key + self.self_commitment + commitments + b"".join(self.boxes)

    def encode(self) -> bytes:
        """Return the offer's bytes."""
        return self.unsigned() + self.signature


def offer_bytes(num_sites: int) -> int:
    """Return the length of an offer in a job of so many sites."""
    return _HEAD_BYTES + num_sites * (_COMMITMENTS_BYTES + BOX_BYTES) + ED25519_BYTES


def read_offer(data: bytes, session: Session, number: int, site: str) -> Offer:
    """Return a member's offer for a round.

    Raises:
        ProtocolError: wrong length, not signed by the member for this round and job, or its mask key makes no secret.
    """
    num_sites = len(session.terms.sites)
    if len(data) != offer_bytes(num_sites):
        raise ProtocolError(f"round {number}: the offer of {site} has {len(data)} bytes: it is cut or padded")
    body, signature = data[:-ED25519_BYTES], data[-ED25519_BYTES:]
    session.verify(OFFER_LABEL, number, site, signature, body)
    check_exchange_key(body[:KEY_BYTES])
    middle = _HEAD_BYTES + num_sites * _COMMITMENTS_BYTES
    digests = _cut(body[_HEAD_BYTES:middle], DIGEST_BYTES)
    commitments = tuple(zip(digests[::2], digests[1::2], strict=True))
    return Offer(body[:KEY_BYTES], body[KEY_BYTES:_HEAD_BYTES], commitments, _cut(body[middle:], BOX_BYTES), signature)


def commit_to_share(session: Session, number: int, dealer: str, receiver: str, secret: Secret, share: bytes) -> bytes:
    """Return the hash that binds a dealer to one share. It hides the share, which has 256 bits of entropy."""
    return session.stated(_SHARE_LABEL, number, dealer, receiver.encode(), bytes([secret]), share)


def commit_to_secret(session: Session, number: int, site: str, secret: bytes) -> bytes:
    """Return H(b)."""
    return session.stated(_SECRET_LABEL, number, site, secret)


def box_address(number: int, dealer: str, receiver: str) -> Address:
    """Return the address of the box in which a dealer sends a receiver its two shares."""
    return Address(_BOX_LABEL, number, dealer, receiver)


def open_shares(
    session: Session, number: int, dealer: str, receiver: str, offer: Offer, key: BoxKey
) -> tuple[bytes, bytes]:
    """Return a receiver's shares of a dealer's two secrets.

    Raises:
        ProtocolError: the box does not open with this key.
        FalseShares: it opens, and holds no shares, or not those that the dealer committed to.
    """
    place = session.terms.sites.index(receiver)
    content = key.unseal(offer.boxes[place])
    shares = content[:SECRET_BYTES], content[SECRET_BYTES:]
    for secret in Secret:
        committed = commit_to_share(session, number, dealer, receiver, secret, shares[secret])
        if committed != offer.commitments[place][secret] or not is_element(shares[secret]):
            raise FalseShares(f"round {number}: {dealer} dealt {receiver} what it did not commit to, or no shares")
    return shares


@dataclass(frozen=True)
class Ring:
    """R of one round: who was announced to all, with what; read with `read_ring`.

    Args:
        number: the round.
        sites: R, in roster order.
        offers: of each.
        digest: H(R).
    """

    number: int
    sites: tuple[str, ...]
    offers: dict[str, Offer]
    digest: bytes


def make_ring(session: Session, number: int, offers: dict[str, Offer], view: bytes = FIRST_VIEW) -> Ring:
    """Return the ring of some checked offers, in roster order.

    Args:
        view: what the ring's maker was told of the rounds before; see `view.py`.
    """
    sites = tuple(offers)
    digest = session.stated(_RING_LABEL, number, "", names(sites), announce(offers), view)
    return Ring(number, sites, offers, digest)


def announce(offers: dict[str, Offer]) -> bytes:
    """Return the announcement of a ring."""
    return b"".join(offer.encode() for offer in offers.values())


def read_ring(
    session: Session, number: int, sites: tuple[str, ...], announcement: bytes, view: bytes = FIRST_VIEW
) -> Ring:
    """Return the ring that a server announces.

    Args:
        view: as in `make_ring`.

    Raises:
        ProtocolError: the ring is no large enough subset of the members, or not all offers are signed by them for
            this round.
    """
    check_subset(sites, session.members, session.terms.quorum, f"round {number}: the ring")
    size = offer_bytes(len(session.terms.sites))
    if len(announcement) != size * len(sites):
        raise ProtocolError(f"round {number}: the announcement has {len(announcement)} bytes for {len(sites)} sites")
    parts = zip(sites, _cut(announcement, size), strict=True)
    return make_ring(session, number, {site: read_offer(data, session, number, site) for site, data in parts}, view)


def _cut(data: bytes, size: int) -> tuple[bytes, ...]:
    """Cut bytes into pieces of one size."""
    return tuple(data[start : start + size] for start in range(0, len(data), size))
