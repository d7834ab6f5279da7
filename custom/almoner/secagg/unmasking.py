"""How the server gets at the masks that are left in a sum, from shares that at least t sites revealed."""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from almoner.errors import FederationError
from almoner.secagg import shamir
from almoner.secagg.contribution import Roll
from almoner.secagg.masking import Mask, RingRound
from almoner.secagg.offers import Ring, Secret, commit_to_secret
from almoner.secagg.reveal import Judgement, secret_due
from almoner.secagg.session import Session


def masks_left(session: Session, ring: Ring, roll: Roll, judgement: Judgement) -> list[Mask]:
    """Return the masks in the sum over a roll: each contributor's own, and those it shares with sites that dropped out.

    Raises:
        FederationError: too few good shares of a secret, or they give another one; the round is dead.
    """
    made_for = RingRound(session.transcript, ring.number, ring.digest, session.terms.sites)
    masks = []
    for dealer in ring.sites:
        secret = _combine(session, ring, dealer, secret_due(roll, dealer), judgement)
        if dealer in roll.sites:
            masks.append(made_for.self_mask(secret, dealer))
            continue
        private = X25519PrivateKey.from_private_bytes(secret)
        for site in roll.sites:
            masks.append(-made_for.pair_mask(private, dealer, site, ring.offers[site].mask_key))
    return masks


def _combine(session: Session, ring: Ring, dealer: str, due: Secret, judgement: Judgement) -> bytes:
    """Return a dealer's secret, checked against what the dealer offered."""
    shares, need = judgement.shares[dealer], session.terms.threshold
    if len(shares) < need:
        found = f"{len(shares)} of {need} good shares of {dealer}"
        raise FederationError(f"round {ring.number}: {found}; the job ends here{_blamed(judgement)}")
    secret = shamir.combine(dict(list(shares.items())[:need]))
    if not _is_offered(session, ring, dealer, due, secret):
        judgement.blame(dealer, "it dealt shares that do not fit together")
        raise FederationError(f"round {ring.number}: no secret of {dealer}; the job ends here{_blamed(judgement)}")
    return secret


def _is_offered(session: Session, ring: Ring, dealer: str, due: Secret, secret: bytes) -> bool:
    """Tell whether a secret is the one that its dealer offered."""
    offer = ring.offers[dealer]
    if due is Secret.SELF:
        return commit_to_secret(session, ring.number, dealer, secret) == offer.self_commitment
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw() == offer.mask_key


def _blamed(judgement: Judgement) -> str:
    """Say who is to blame, for an error's text."""
    return "".join(f"; {site} is to blame: {reason}" for site, reason in judgement.blamed.items())
