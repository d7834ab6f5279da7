"""What a server that lies does to honest sites of secret sharing: it asks them by hand, and decodes what it can.

The last site of a job colludes: whatever it holds, the server holds.
"""

from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.simulator import Simulation

from almoner.protection.scheme import IntVector
from almoner.secagg import shamir
from almoner.secagg.contribution import Contribution, Roll, make_roll, read_contribution
from almoner.secagg.masking import Mask, Masker, RingRound
from almoner.secagg.offers import Offer, Ring, Secret, announce, make_ring
from almoner.secagg.reveal import SLOT_BYTES, SlotKind, reveal_bytes
from almoner.secagg.view import absorb

Shares = dict[tuple[str, Secret], dict[int, bytes]]
_SECRETS = {SlotKind.SELF_SHARE: Secret.SELF, SlotKind.KEY_SHARE: Secret.KEY}


@dataclass
class LyingServer:
    """A server that holds all offers for a round, and everything of one colluding site.

    Args:
        job: set up, before round `number`.
        shares: what it was given, by dealer and secret.
        contributions: what it was sent, by site.
    """

    job: Simulation
    number: int = 1
    shares: Shares = field(default_factory=dict)
    contributions: dict[str, Contribution] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.session, self.offers = self.job.server._session, dict(self.job.server._offers)
        self.names = tuple(self.job.sites)
        self.colluder, self.honest = self.names[-1], self.names[:-1]

    def ring(self, *sites: str, **forged: Offer) -> Ring:
        """Return a ring of some sites, in roster order, with forged offers for some."""
        chosen = {site: forged.get(site.replace("-", "_"), self.offers[site]) for site in self.names if site in sites}
        server = self.job.server
        view = absorb(server._view, absorb(server._told, b"")) if server._told else server._view
        return make_ring(self.session, self.number, chosen, view)

    def have_contributed(self, site: str, ring: Ring) -> None:
        """Show a site a ring; keep what it contributes."""
        side = self.job.sites[site]
        side.begin(self.number, ring.sites, announce(ring.offers))
        sent = side.protect(self.number, self.job.values(self.number, site))
        self.contributions[site] = read_contribution(sent, self.session, ring, site)

    def roll(self, ring: Ring, *sites: str) -> Roll:
        """Return a roll of some sites, in roster order."""
        chosen = {site: self.contributions[site].entry for site in self.names if site in sites}
        return make_roll(self.session, ring, chosen)

    def have_acknowledged(self, site: str, roll: Roll) -> bytes:
        """Show a site a roll; return its signature."""
        return self.job.sites[site].answer("acknowledge", self.number, roll.sites, roll.body)

    def have_revealed(self, site: str, signatures: dict[str, bytes]) -> None:
        """Show a site acknowledgements, in roster order; keep its shares."""
        chosen = {name: signatures[name] for name in self.names if name in signatures}
        body = b"".join(chosen.values())
        said = self.job.sites[site].answer("reveal", self.number, tuple(chosen), body)
        slots = said[: reveal_bytes(len(self.names))]
        for place, dealer in enumerate(self.names):
            slot = slots[place * SLOT_BYTES : (place + 1) * SLOT_BYTES]
            if slot[0] in _SECRETS:
                self.keep(dealer, _SECRETS[SlotKind(slot[0])], site, slot[1:])

    def keep(self, dealer: str, secret: Secret, site: str, share: bytes) -> None:
        self.shares.setdefault((dealer, secret), {})[self.session.terms.index(site)] = share

    def take_all_of_the_colluder(self) -> None:
        """Take both shares of every dealer that the colluding site holds."""
        for dealer, holding in self.job.sites[self.colluder]._state.holdings.items():
            for secret in Secret:
                self.keep(dealer, secret, self.colluder, holding.shares[secret])

    def secret(self, dealer: str, secret: Secret) -> bytes:
        """Return a secret if t shares of it were given."""
        shares, need = self.shares.get((dealer, secret), {}), self.session.terms.threshold
        if len(shares) < need:
            raise LookupError(f"{len(shares)} of {need} shares of {dealer}")
        return shamir.combine(dict(list(shares.items())[:need]))

    def self_mask(self, ring: Ring, site: str) -> Mask:
        return self._made_for(ring).self_mask(self.secret(site, Secret.SELF), site)

    def pair_mask(self, ring: Ring, site: str, other: str) -> Mask:
        """Return the mask that `site` shares with another whose key was given, with the sign it has at `site`."""
        private = X25519PrivateKey.from_private_bytes(self.secret(other, Secret.KEY))
        return -self._made_for(ring).pair_mask(private, other, site, ring.offers[site].mask_key)

    def decode(self, sites: tuple[str, ...], masks: list[Mask]) -> IntVector:
        """Add the contributions of some sites, take masks off, and read the values; no tag is looked at."""
        words = np.sum([self.contributions[site].words for site in sites], axis=0, dtype=self.session.packing.dtype)
        Masker([-mask for mask in masks], words.dtype).apply(words)
        return self.session.packing.unpack(words, self.session.terms.dimension, len(sites))

    def _made_for(self, ring: Ring) -> RingRound:
        return RingRound(self.session.transcript, self.number, ring.digest, self.session.terms.sites)
