"""A site's side of secret sharing.

Transitions (`begun` etc. are the states that a round passes; every other pair raises `ProtocolError` and ends the job
at this site, which forgets its keys):

    set-up   --keys, confirm, agree-->  set-up
    set-up   --conclude-->              ready         answers the offer for round 1
    ready    --begin-->                 begun         the round's one announcement; not in the ring: OutsideTheRing
    begun    --protect-->               sent          only in the ring: spends the round's secrets
    begun    --acknowledge-->           acknowledged  this site will not contribute to this round any more
    sent     --acknowledge-->           acknowledged
    acknowledged  --reveal-->           revealed      at least t sites acknowledged the same roll; offers the next round
    acknowledged  --open-->             ready         without an offer: it can watch and reveal, not contribute, next
    revealed      --open-->             ready

    the same question again, byte for byte: the same answer again, until the next round begins (the last open: until
    the next open)
    any state  --close-->               ended

*Guarantee*, with at most c colluding sites, whatever the server does: what leaves this site shows the server nothing
of this site's values but a sum over one set U that holds it, at least t sites, and so at least two honest ones. There
is one such U a round, the same for all honest sites: two rolls would need 2t > n + c acknowledgements.

Who learns what:

- *The server* learns who takes part in which round, and for each round at most one sum with the set U that is in it.
  It learns the masks of sites that dropped out between ring and roll, which hides their values no less: b stays.
- *A site* learns the sum and U, as it must to take the step; and shares, of which fewer than t say nothing.
- *The server with c sites* learns the same sum, and from it by subtraction the sum of the honest sites in U, at least
  two of them. It knows K_tag then, so a sum may be forged towards the honest sites: integrity is lost. But sites that
  were told different totals are in no sum together: the honest ones of a sum hold one model, if not the right one.
- *c sites without the server* learn no more than each of them.
- With more than c colluding sites none of this holds. A contributor can make a round fail, or spoil its sum; a false
  share is named, a false vector is found but not named.

Keys and the record of answers live in this process's memory alone: what was never written cannot come back from a
backup. A process that starts again holds nothing and is out. A snapshot of a running machine, restored, counts as one
colluding site.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

from almoner.errors import ProtocolError
from almoner.protection.agreement import Agreed, SiteAgreement
from almoner.protection.scheme import IntVector, SiteProtection, Task
from almoner.protection.set_up import ED25519_BYTES, JobTerms
from almoner.schema.consortium import Roster
from almoner.secagg.acknowledgement import acknowledge, verify_acknowledgements
from almoner.secagg.contribution import Sent, check_values, make_contribution, read_roll, tag_values
from almoner.secagg.dealing import deal, take_shares
from almoner.secagg.offers import offer_bytes, read_ring
from almoner.secagg.reveal import make_reveal, reveal_bytes
from almoner.secagg.session import Session, contribution_bytes, total_bytes
from almoner.secagg.site_states import Acknowledged, Begun, Contributed, Ended, Opened, Ready, Revealed, SetUp, State
from almoner.secagg.tag import RoundTag
from almoner.secagg.total import open_total
from almoner.secagg.view import FIRST_VIEW, absorb, asked_digest, told

Names = tuple[str, ...]


class OutsideTheRing(ProtocolError):
    """This site is not in the round's ring: it does not contribute, but may acknowledge, reveal and open."""


class SecaggSite(SiteProtection):
    """One site in one job.

    Args:
        terms: of the job.
        roster: of the own kit, whose signature was verified.
        root_certificate_pem: of the own kit.
        site: this one.
        private_key_pem: the key of this site's certificate.

    Raises:
        ProtocolError: the terms are of another scheme, or the roster does not pin the sites' certificates.
    """

    def __init__(
        self, terms: JobTerms, roster: Roster, root_certificate_pem: bytes, site: str, private_key_pem: bytes
    ) -> None:
        if terms.scheme != "secagg":
            raise ProtocolError(f"secret sharing: the job's terms are of scheme {terms.scheme}: report this")
        self._terms, self._site = terms, site
        self._agreement = SiteAgreement(terms, roster, root_certificate_pem, site, private_key_pem, None, 0)
        self._lock = RLock()
        self._job: tuple[Agreed, Session] | None = None
        self._state: State = SetUp()
        self._announced = b""
        self._answers: dict[bytes, bytes] = {}
        self._sent: Sent | None = None
        self._opened: Opened | None = None
        self._view = FIRST_VIEW

    def answer(self, task: Task, number: int, contributors: Names, body: bytes) -> bytes:
        """Answer a question of the set-up, or acknowledge or reveal.

        Raises:
            ProtocolError: the question is not allowed now, or says something that is not true.
        """
        with self._step():
            asked = asked_digest(task, number, contributors, body)
            if asked not in self._answers:
                self._answers[asked] = self._move(task, number, contributors, body)
            return self._answers[asked]

    def begin(self, number: int, ring: Names, announcement: bytes) -> None:
        """Take a round's announcement.

        Raises:
            OutsideTheRing: this site is not in the ring. The site goes on.
            ProtocolError: the announcement is not allowed now, or not what the members signed.
        """
        with self._step():
            asked = asked_digest("train", number, ring, announcement)
            if asked != self._announced:
                self._begin(number, ring, announcement)
                self._announced = asked
        if self._site not in ring:
            raise OutsideTheRing(f"round {number}: {self._site} is not in the ring; it does not contribute")

    def protect(self, number: int, values: IntVector) -> bytes:
        """Return this site's masked values; the same bytes again for the same values.

        Args:
            values: int64[d] (or int32[d]); entries beyond the job's limit saturate; without one
                they wrap. Not modified.

        Raises:
            ProtocolError: wrong type or shape, other values than before in this round, or the round was not begun.
        """
        with self._step():
            _, session = self._held()
            check_values(session, values)
            if self._sent is None:
                self._sent = self._contribute(number, values)
            elif number != self._sent.number or tag_values(session, self._tag(number), values) != self._sent.tag:
                raise ProtocolError(f"round {number}: other values than those that {self._site} sent last")
            return self._sent.message

    def open(self, number: int, contributors: Names, total: bytes, beside: bytes = b"") -> IntVector:
        """Return the verified sum of a round, int64[d].

        Args:
            beside: digest of what else this site is told with it, which enters its view too.

        Raises:
            ProtocolError: the total is damaged, or not the sum over the roll that this site acknowledged.
        """
        with self._step():
            asked, opened = absorb(told(number, contributors, total), beside), self._opened
            if opened is not None and asked == opened.asked:
                return open_total(self._held()[1], opened.roll, self._tag(number), total)
            state = self._state
            if not isinstance(state, Acknowledged | Revealed) or state.ring.number != number:
                raise self._refusal("open", number)
            if contributors != state.roll.sites:
                raise ProtocolError(f"round {number}: these are not the contributors that {self._site} acknowledged")
            sums = open_total(self._held()[1], state.roll, self._tag(number), total)
            self._opened, self._view = Opened(asked, state.roll), absorb(self._view, asked)
            self._state = Ready(number + 1, state.dealt if isinstance(state, Revealed) else None)
            return sums

    def close(self) -> None:
        """Forget the keys; every later call raises."""
        with self._lock:
            self._state, self._job, self._sent, self._opened = Ended(), None, None, None
            self._answers.clear()
            self._agreement.close()

    def answer_bytes(self, task: Task) -> int:
        """Return the one length of this site's answer to a task."""
        num_sites = len(self._terms.sites)
        match task:
            case "keys" | "confirm" | "agree":
                return self._agreement.answer_bytes(task)
            case "conclude":
                return offer_bytes(num_sites)
            case "train":
                return contribution_bytes(self._terms)
            case "acknowledge":
                return ED25519_BYTES
            case "reveal":
                return reveal_bytes(num_sites) + offer_bytes(num_sites)
        raise ProtocolError(f"{task}: not a question of secret sharing")

    def announcement_bytes(self, ring: Names) -> int:
        """Return the length of an announcement of these sites."""
        return len(ring) * offer_bytes(len(self._terms.sites))

    def total_bytes(self, contributors: Names) -> int:
        """Return the length of every total."""
        return total_bytes(self._terms)

    @contextmanager
    def _step(self) -> Iterator[None]:
        """Let one thread in at a time; forget everything if a step fails, for whatever reason."""
        with self._lock:
            if isinstance(self._state, Ended):
                raise ProtocolError(f"the job has ended at {self._site}: its keys are forgotten")
            done = False
            try:
                yield
                done = True
            finally:
                if not done:
                    self.close()

    def _move(self, task: Task, number: int, contributors: Names, body: bytes) -> bytes:
        """Answer a question that was not asked before."""
        state = self._state
        match task:
            case "keys" if isinstance(state, SetUp) and number == 0 and not contributors and not body:
                return self._agreement.keys()
            case "confirm" if isinstance(state, SetUp) and number == 0:
                return self._agreement.confirm(contributors, body)
            case "agree" if isinstance(state, SetUp) and number == 0:
                return self._agreement.agree(contributors, body)
            case "conclude" if isinstance(state, SetUp) and number == 0:
                return self._conclude(contributors, body)
            case "acknowledge" if isinstance(state, Begun | Contributed) and number == state.ring.number:
                return self._acknowledge(state, contributors, body)
            case "reveal" if isinstance(state, Acknowledged) and number == state.ring.number:
                return self._reveal(state, contributors, body)
        raise self._refusal(task, number)

    def _conclude(self, contributors: Names, body: bytes) -> bytes:
        """Finish the set-up; offer the first round."""
        agreed = self._agreement.conclude(contributors, body)
        session = Session(agreed.terms, agreed.transcript, agreed.members, agreed.public_keys)
        dealt = deal(agreed, session, 1)
        self._job, self._state = (agreed, session), Ready(1, dealt)
        return dealt.offer.encode()

    def _begin(self, number: int, sites: Names, announcement: bytes) -> None:
        """Check the announcement; open the boxes in it."""
        state = self._state
        if not isinstance(state, Ready) or number != state.number:
            raise self._refusal("begin", number)
        (agreed, session), dealt = self._held(), state.dealt
        ring = read_ring(session, number, sites, announcement, self._view)
        if self._site in sites and (dealt is None or ring.offers[self._site] != dealt.offer):
            raise ProtocolError(f"round {number}: this is not what {self._site} offered")
        holdings = take_shares(agreed, session, ring, dealt)
        self._state = Begun(ring, holdings, dealt.secrets if dealt and self._site in sites else None)
        self._answers.clear()
        self._sent = None

    def _contribute(self, number: int, values: IntVector) -> Sent:
        """Spend the round's secrets on the values."""
        (agreed, session), state = self._held(), self._state
        if not isinstance(state, Begun) or state.secrets is None or number != state.ring.number:
            raise self._refusal("protect", number)
        self._state = Contributed(state.ring, state.holdings)
        masks = state.secrets.spend(session, state.ring, self._site)
        return make_contribution(session, state.ring, self._site, agreed.keys, self._tag(number), masks, values)

    def _acknowledge(self, state: Begun | Contributed, contributors: Names, body: bytes) -> bytes:
        """Check the roll; sign it, and no other one."""
        agreed, session = self._held()
        roll = read_roll(session, state.ring, contributors, body)
        own = roll.entry(self._site)
        if own is not None and (self._sent is None or own != self._sent.entry):
            raise ProtocolError(f"round {state.ring.number}: this is not what {self._site} contributed")
        self._state = Acknowledged(state.ring, state.holdings, roll)
        return acknowledge(session, state.ring, roll, self._site, agreed.keys)

    def _reveal(self, state: Acknowledged, sites: Names, body: bytes) -> bytes:
        """Check that enough sites acknowledged the same roll; give the shares, and offer the next round."""
        (agreed, session), ring, roll = self._held(), state.ring, state.roll
        verify_acknowledgements(session, ring, roll, sites, body)
        dealt = deal(agreed, session, ring.number + 1)
        reveal = make_reveal(session, ring, roll, state.holdings, self._site, agreed.keys)
        self._state = Revealed(ring, roll, dealt)
        return reveal + dealt.offer.encode()

    def _held(self) -> tuple[Agreed, Session]:
        """Return what the set-up ended with."""
        if self._job is None:
            raise ProtocolError(f"{self._site} has not finished the set-up of the job")
        return self._job

    def _tag(self, number: int) -> RoundTag:
        """Return the vector and pads of a round."""
        agreed, _ = self._held()
        return RoundTag(agreed.tag_key, agreed.transcript, number)

    def _refusal(self, what: str, number: int) -> ProtocolError:
        """Return the error for what is not allowed in this state."""
        state = type(self._state).__name__.lower()
        return ProtocolError(f"{what} of round {number} is not allowed now ({state}); {self._site} leaves the job")
