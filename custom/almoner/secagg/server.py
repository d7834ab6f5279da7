"""The server's side of secret sharing: it relays, adds, takes masks off, and is trusted with none of it.

One round:

    train        the announcement of the ring R: all sites whose offer for this round the server holds
    acknowledge  the roll of U: whose contributions it holds, with their signatures
    reveal       at least t acknowledgements; answers are shares, and the offers for the next round
    total        the sum over U, its tag, and the Merkle root over the roll

What this server checks is a service to honest sites, so that one site cannot stop the others; the sites check all that
their privacy rests on. A site's answer that is malformed or not signed as it must be counts as none. A round in which
too few answer is dead and ends the job: what was charged for it stays charged.

It cannot tell a contribution of false words from a true one: such a sum fails at every site's tag, and nobody is named.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from almoner.errors import FederationError, ProtocolError
from almoner.protection.relay import agree_on_keys
from almoner.protection.scheme import Answers, Conversation, Question, RoundTotal, ServerProtection, Task
from almoner.protection.set_up import (
    DIGEST_BYTES,
    ED25519_BYTES,
    KEY_BYTES,
    SIGNED_BYTES,
    JobTerms,
    PublicKeys,
    transcript,
)
from almoner.schema.consortium import Roster
from almoner.secagg.acknowledgement import verify_acknowledgement
from almoner.secagg.contribution import Contribution, Roll, make_roll, read_contribution
from almoner.secagg.offers import Offer, Ring, announce, make_ring, offer_bytes, read_offer
from almoner.secagg.reveal import Judgement, judge, read_reveal, reveal_bytes
from almoner.secagg.session import Session, contribution_bytes
from almoner.secagg.total import make_total
from almoner.secagg.unmasking import masks_left
from almoner.secagg.view import FIRST_VIEW, absorb, told

logger = logging.getLogger(__name__)
Names = tuple[str, ...]
T = TypeVar("T")


class SecaggServer(ServerProtection):
    """The server in one job.

    Args:
        terms: of the job.
        roster: whose certificates sign the set-up.
    """

    def __init__(self, terms: JobTerms, roster: Roster) -> None:
        self._terms, self._roster = terms, roster
        self._session: Session | None = None
        self._offers: dict[str, Offer] = {}
        self._blamed: dict[str, str] = {}
        self._view, self._told = FIRST_VIEW, b""

    def set_up(self, sites: Names) -> Conversation[Names]:
        """Have the sites agree on keys and offer the first round; end with the sites that can go on.

        Raises:
            FederationError: too few answered as they should.
        """
        size = offer_bytes(len(self._terms.sites))
        keys = yield from agree_on_keys(self._terms, sites, self._roster, 0, size)
        shown = tuple(keys.set_up_messages)
        public = {site: _public_keys(message) for site, message in keys.set_up_messages.items()}
        self._session = Session(self._terms, transcript(self._terms, shown, keys.set_up_messages), keys.agreed, public)
        self._offers = self._good(keys.answers, lambda site, said: read_offer(said, self._held(), 1, site))
        return tuple(self._offers)

    def round(self, number: int, sites: Names, beside: bytes = b"") -> Conversation[RoundTotal]:
        """Collect, add and unmask one round's values.

        Args:
            beside: what the sites were told beside the last total, as in `SecaggSite.open`.

        Raises:
            FederationError: too few answered as they should, or shares give no secret; the round is dead.
        """
        session, self._blamed = self._held(), {}
        if self._told:
            self._view, self._told = absorb(self._view, absorb(self._told, beside)), b""
        asked = tuple(site for site in session.members if site in sites)
        offers = {site: self._offers[site] for site in asked if site in self._offers}
        ring = make_ring(session, number, offers, self._view)
        self._enough(number, "train", ring.sites, "offered keys")
        contributions = yield from self._collect(ring, asked)
        roll = make_roll(session, ring, {site: found.entry for site, found in contributions.items()})
        signatures = yield from self._have_acknowledged(ring, roll, asked)
        judgement = yield from self._have_revealed(ring, roll, signatures)
        for dealer, site in judgement.disputes:
            logger.warning("round %d: %s or %s is to blame: a box does not open", number, dealer, site)
        masks = masks_left(session, ring, roll, judgement)
        total = make_total(session, roll, tuple(contributions.values()), masks)
        self._told = told(number, roll.sites, total)
        return RoundTotal(roll.sites, total, roll.root.hex(), tuple(sorted(self._blamed, key=self._terms.index)))

    def _collect(self, ring: Ring, asked: Names) -> Conversation[dict[str, Contribution]]:
        """Announce the ring; return the good contributions of its sites."""
        size = contribution_bytes(self._terms)
        answers = yield self._question("train", ring.number, ring.sites, announce(ring.offers), asked, size)
        answers = {site: said for site, said in answers.items() if site in ring.sites}
        found = self._good(answers, lambda site, said: read_contribution(said, self._held(), ring, site))
        self._enough(ring.number, "train", tuple(found), "contributed")
        return found

    def _have_acknowledged(self, ring: Ring, roll: Roll, asked: Names) -> Conversation[Answers]:
        """Show the roll; return the good acknowledgements."""
        answers = yield self._question("acknowledge", ring.number, roll.sites, roll.body, asked, ED25519_BYTES)

        def check(site: str, said: bytes) -> bytes:
            verify_acknowledgement(self._held(), ring, roll, site, said)
            return said

        found = self._good(answers, check)
        self._enough(ring.number, "acknowledge", tuple(found), "acknowledged")
        return found

    def _have_revealed(self, ring: Ring, roll: Roll, signatures: Answers) -> Conversation[Judgement]:
        """Show t acknowledgements to all who gave one; judge the shares, and keep the offers for the next round."""
        session, num_sites = self._held(), len(self._terms.sites)
        size = reveal_bytes(num_sites) + offer_bytes(num_sites)
        shown = dict(list(signatures.items())[: self._terms.threshold])
        body = b"".join(shown.values())
        answers = yield self._question("reveal", ring.number, tuple(shown), body, tuple(signatures), size)
        cut = reveal_bytes(num_sites)
        reveals = self._good(answers, lambda site, said: read_reveal(said[:cut], session, ring, roll, site))
        self._offers = self._good(answers, lambda site, said: read_offer(said[cut:], session, ring.number + 1, site))
        self._enough(ring.number, "reveal", tuple(reveals), "revealed")
        judgement = judge(session, ring, roll, reveals)
        for site, reason in judgement.blamed.items():
            self._blame(site, reason)
        return judgement

    def _good(self, answers: Answers, read: Callable[[str, bytes], T]) -> dict[str, T]:
        """Read answers; leave out those that are not as they must be, and blame who gave them."""
        found = {}
        for site, said in answers.items():
            try:
                found[site] = read(site, said)
            except ProtocolError as error:
                self._blame(site, str(error))
        return found

    def _blame(self, site: str, reason: str) -> None:
        """Name a site for what it did; the first reason stays."""
        logger.warning("%s is to blame: %s", site, reason)
        self._blamed.setdefault(site, reason)

    def _question(self, task: Task, number: int, parts: Names, body: bytes, asked: Names, size: int) -> Question:
        """Return a question to some sites, whose answers have one length."""
        return Question(task, number, parts, body, asked, self._needed(task), dict.fromkeys(asked, size))

    def _needed(self, task: Task) -> int:
        """Return how many sites a step needs."""
        return self._terms.quorum if task == "train" else self._terms.threshold

    def _enough(self, number: int, task: Task, sites: Names, what: str) -> None:
        """End the job if too few sites did what they had to."""
        need = self._needed(task)
        if len(sites) < need:
            raise FederationError(f"round {number}: {len(sites)} of at least {need} sites {what}; the job ends here")

    def _held(self) -> Session:
        """Return what the set-up ended with."""
        if self._session is None:
            raise ProtocolError("the sites have not agreed on keys yet: run set_up first")
        return self._session


def _public_keys(set_up_message: bytes) -> PublicKeys:
    """Return the keys in a set-up message that was read before."""
    middle = DIGEST_BYTES + KEY_BYTES
    return PublicKeys(set_up_message[DIGEST_BYTES:middle], set_up_message[middle:SIGNED_BYTES])
