"""M3: what a site reveals once enough sites acknowledged one roll, and how anyone judges it.

A reveal is one slot of 33 bytes for each site of the job, a kind and 32 bytes, then an Ed25519 signature (64) over the
round, H(R), H(U) and the slots. For a contributor of U the slot holds the share of b, for the rest of the ring the
share of the mask key: one kind per site and roll, and a site reveals for one roll a round. Where the dealer's box was
bad, the slot is a complaint: the box's key, so that anyone may look inside.

Who is to blame:

- a share other than the one its dealer committed to: the site that reveals it;
- a complaint whose key opens the box to the shares committed to: the complainer; the share counts;
- a complaint whose key opens the box to others, or to no shares at all: the dealer. Nobody finds a second key that
  opens an honest box;
- a complaint whose key opens nothing: the dealer or the complainer, which a key alone cannot tell. If more sites
  dispute with a dealer than can collude, it is the dealer; a site in more disputes than that is to blame itself.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from almoner.errors import ProtocolError
from almoner.protection.boxes import BoxKey
from almoner.protection.set_up import ED25519_BYTES, JobKeys
from almoner.secagg.contribution import Roll
from almoner.secagg.dealing import Holding
from almoner.secagg.offers import FalseShares, Ring, Secret, box_address, commit_to_share, open_shares
from almoner.secagg.session import REVEAL_LABEL, Session
from almoner.secagg.shamir import SECRET_BYTES, is_element

SLOT_BYTES = 1 + SECRET_BYTES


class SlotKind(IntEnum):
    """What a slot holds."""

    NOTHING = 0
    SELF_SHARE = 1
    KEY_SHARE = 2
    COMPLAINT = 3


_EMPTY_SLOT = bytes([SlotKind.NOTHING]) + bytes(SECRET_BYTES)


def reveal_bytes(num_sites: int) -> int:
    """Return the length of a reveal in a job of so many sites."""
    return num_sites * SLOT_BYTES + ED25519_BYTES


def secret_due(roll: Roll, dealer: str) -> Secret:
    """Return which secret of a site of the ring is revealed: b of contributors, the mask key of the rest."""
    return Secret.SELF if dealer in roll.sites else Secret.KEY


def make_reveal(
    session: Session, ring: Ring, roll: Roll, holdings: dict[str, Holding], site: str, keys: JobKeys
) -> bytes:
    """Return a site's reveal for a roll.

    Args:
        holdings: what it holds of each site of the ring.
    """
    slots = b"".join(
        _slot(holdings[dealer], secret_due(roll, dealer)) if dealer in holdings else _EMPTY_SLOT
        for dealer in session.terms.sites
    )
    stated = session.stated(REVEAL_LABEL, ring.number, site, ring.digest, roll.digest, slots)
    return slots + keys.sign(stated)


def read_reveal(data: bytes, session: Session, ring: Ring, roll: Roll, site: str) -> dict[str, bytes]:
    """Return a reveal's slots by dealer.

    Raises:
        ProtocolError: wrong length, or not signed by the site for this roll.
    """
    if len(data) != reveal_bytes(len(session.terms.sites)):
        raise ProtocolError(f"round {ring.number}: the reveal of {site} has {len(data)} bytes: it is cut or padded")
    slots, signature = data[:-ED25519_BYTES], data[-ED25519_BYTES:]
    session.verify(REVEAL_LABEL, ring.number, site, signature, ring.digest, roll.digest, slots)
    return {
        dealer: slots[place * SLOT_BYTES : (place + 1) * SLOT_BYTES] for place, dealer in enumerate(session.terms.sites)
    }


@dataclass
class Judgement:
    """What the reveals of a round come to.

    Args:
        shares: by dealer, then by index of the site that revealed it: shares that their dealer committed to.
        blamed: who broke the protocol, and how.
        disputes: pairs of dealer and complainer, one of whom did.
    """

    shares: dict[str, dict[int, bytes]]
    blamed: dict[str, str] = field(default_factory=dict)
    disputes: list[tuple[str, str]] = field(default_factory=list)

    def blame(self, site: str, reason: str) -> None:
        """Keep the first reason to blame a site."""
        self.blamed.setdefault(site, reason)


def judge(session: Session, ring: Ring, roll: Roll, reveals: dict[str, dict[str, bytes]]) -> Judgement:
    """Sort the shares that sites revealed into good and false ones, and say who is to blame.

    Args:
        reveals: for each site that revealed, its slots by dealer.
    """
    result = Judgement({dealer: {} for dealer in ring.sites})
    for site, slots in reveals.items():
        for dealer, slot in slots.items():
            if dealer in ring.offers:
                _judge_slot(session, ring, secret_due(roll, dealer), dealer, site, slot, result)
            elif slot != _EMPTY_SLOT:
                result.blame(site, f"it revealed something of {dealer}, which is not in the ring")
    most = session.terms.num_colluding_sites
    for place, reason in ((0, "more sites than can collude could not open its boxes"), (1, "it complains of too many")):
        for site, count in Counter(dispute[place] for dispute in result.disputes).items():
            if count > most:
                result.blame(site, reason)
    return result


def _judge_slot(
    session: Session, ring: Ring, due: Secret, dealer: str, site: str, slot: bytes, result: Judgement
) -> None:
    """Judge one slot."""
    kind, value, index = slot[0], slot[1:], session.terms.index(site)
    if kind == SlotKind.COMPLAINT:
        key = BoxKey(value, session.transcript, box_address(ring.number, dealer, site))
        try:
            value = open_shares(session, ring.number, dealer, site, ring.offers[dealer], key)[due]
        except FalseShares:
            return result.blame(dealer, f"it dealt {site} no shares, or others than it committed to")
        except ProtocolError:
            return result.disputes.append((dealer, site))
        result.blame(site, f"it complained of {dealer}, whose box is good")
    elif kind != _kind(due) or not _is_committed(session, ring, due, dealer, site, value):
        return result.blame(site, f"it revealed a false share of {dealer}")
    elif not is_element(value):
        return result.blame(dealer, f"it dealt {site} no shares, or others than it committed to")
    result.shares[dealer][index] = value
    return None


def _is_committed(session: Session, ring: Ring, secret: Secret, dealer: str, site: str, share: bytes) -> bool:
    """Tell whether a share is the one that its dealer committed to."""
    committed = ring.offers[dealer].commitments[session.terms.sites.index(site)][secret]
    return commit_to_share(session, ring.number, dealer, site, secret, share) == committed


def _kind(secret: Secret) -> SlotKind:
    """Return the kind of slot for a share of a secret."""
    return SlotKind.SELF_SHARE if secret is Secret.SELF else SlotKind.KEY_SHARE


def _slot(holding: Holding, due: Secret) -> bytes:
    """Return the slot for one dealer."""
    if holding.shares is None:
        return bytes([SlotKind.COMPLAINT]) + holding.complaint
    return bytes([_kind(due)]) + holding.shares[due]
