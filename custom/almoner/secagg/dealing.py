"""A site's two secrets of one round: how they are drawn, dealt to the members, and spent.

b is a uniformly random element of the field; the mask key's private half is 32 random bytes below the field's prime,
so that it can be shared as it is. Each goes to every member as a Shamir share, in one sealed box a member.
"""

from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from almoner.errors import ProtocolError
from almoner.protection.agreement import Agreed
from almoner.protection.boxes import BoxKey, box_key
from almoner.protection.hidden import Hidden
from almoner.secagg import shamir
from almoner.secagg.masking import Mask, RingRound
from almoner.secagg.offers import (
    EMPTY_BOX,
    EMPTY_COMMITMENTS,
    Offer,
    Ring,
    Secret,
    box_address,
    commit_to_secret,
    commit_to_share,
    open_shares,
)
from almoner.secagg.session import OFFER_LABEL, Session


class RoundSecrets(Hidden):
    """b and the private mask key of one site for one round.

    *Guarantee*: they make masks once, for one ring of the round that they were drawn for; then they are forgotten. A
    mask key that is used in two rounds, or for two rings, does not exist.

    Args:
        number: the round.
        self_secret: b, 32 bytes.
        mask_key: private X25519 key, 32 bytes.
    """

    def __init__(self, number: int, self_secret: bytes, mask_key: bytes) -> None:
        self.number = number
        self._secrets: tuple[bytes, bytes] | None = (self_secret, mask_key)

    def spend(self, session: Session, ring: Ring, site: str) -> list[Mask]:
        """Return all masks of this site over its values: its own, and one for every other site of the ring.

        Raises:
            ProtocolError: the secrets are spent, or of another round, or a mask key of the ring makes no secret.
        """
        if self._secrets is None or ring.number != self.number:
            raise ProtocolError(f"round {ring.number}: the secrets are spent or of another round; this site is out")
        (self_secret, mask_key), self._secrets = self._secrets, None
        private = X25519PrivateKey.from_private_bytes(mask_key)
        made_for = RingRound(session.transcript, ring.number, ring.digest, session.terms.sites)
        others = (peer for peer in ring.sites if peer != site)
        masks = [made_for.pair_mask(private, site, peer, ring.offers[peer].mask_key) for peer in others]
        return [made_for.self_mask(self_secret, site), *masks]


@dataclass(frozen=True, repr=False, eq=False)
class Dealt(Hidden):
    """What a site keeps of its own offer.

    Args:
        secrets: to be spent in the round.
        offer: what it sent.
        own_shares: its own shares of its two secrets, which go into no box.
    """

    secrets: RoundSecrets
    offer: Offer
    own_shares: tuple[bytes, bytes]


@dataclass(frozen=True, repr=False)
class Holding(Hidden):
    """What a site holds of one dealer: two shares, or a reason to complain.

    Args:
        shares: of b and of the mask key; None if the box was bad.
        complaint: the key of the bad box, which lets others see what is in it.
    """

    shares: tuple[bytes, bytes] | None
    complaint: bytes = b""


def deal(agreed: Agreed, session: Session, number: int) -> Dealt:
    """Draw a round's secrets and offer them to the members.

    *Guarantee*: fewer than t members learn nothing about either secret from their shares.
    """
    site, terms = agreed.site, session.terms
    secrets = shamir.draw_secret(), shamir.draw_secret()
    indices = {member: terms.index(member) for member in session.members}
    shares = [shamir.share(secret, terms.threshold, tuple(indices.values())) for secret in secrets]
    mine = {member: (shares[Secret.SELF][index], shares[Secret.KEY][index]) for member, index in indices.items()}
    public = X25519PrivateKey.from_private_bytes(secrets[Secret.KEY]).public_key().public_bytes_raw()
    unsigned = Offer(
        public,
        commit_to_secret(session, number, site, secrets[Secret.SELF]),
        tuple(_commit(session, number, site, receiver, mine.get(receiver)) for receiver in terms.sites),
        tuple(_seal(agreed, number, receiver, mine.get(receiver)) for receiver in terms.sites),
    )
    signature = agreed.keys.sign(session.stated(OFFER_LABEL, number, site, unsigned.unsigned()))
    return Dealt(RoundSecrets(number, *secrets), replace(unsigned, signature=signature), mine[site])


def take_shares(agreed: Agreed, session: Session, ring: Ring, own: Dealt | None) -> dict[str, Holding]:
    """Open this site's boxes in a ring's offers. A bad box is no error: it becomes a complaint."""
    holdings = {}
    for dealer, offer in ring.offers.items():
        if dealer == agreed.site and own is not None:
            holdings[dealer] = Holding(own.own_shares)
            continue
        key = _key(agreed, ring.number, dealer, agreed.site)
        try:
            holdings[dealer] = Holding(open_shares(session, ring.number, dealer, agreed.site, offer, key))
        except ProtocolError:
            holdings[dealer] = Holding(None, key.raw)
    return holdings


def _commit(
    session: Session, number: int, dealer: str, receiver: str, shares: tuple[bytes, bytes] | None
) -> tuple[bytes, bytes]:
    """Return the commitments to a receiver's shares; zeros for who is no member."""
    if shares is None:
        return EMPTY_COMMITMENTS
    first, second = (commit_to_share(session, number, dealer, receiver, kind, shares[kind]) for kind in Secret)
    return first, second


def _seal(agreed: Agreed, number: int, receiver: str, shares: tuple[bytes, bytes] | None) -> bytes:
    """Return the box for a receiver; zeros for oneself and for who is no member."""
    if shares is None or receiver == agreed.site:
        return EMPTY_BOX
    return _key(agreed, number, agreed.site, receiver).seal(b"".join(shares))


def _key(agreed: Agreed, number: int, dealer: str, receiver: str) -> BoxKey:
    """Return the key of the box from a dealer to a receiver, one of which is this site."""
    peer = receiver if dealer == agreed.site else dealer
    return box_key(agreed.keys, agreed.public_keys[peer], agreed.transcript, box_address(number, dealer, receiver))
