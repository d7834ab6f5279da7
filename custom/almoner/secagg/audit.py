"""What anybody can check of a job's contributions from its messages: without a key, and without seeing a value.

An audit follows the messages of a job without groups: the set-up messages, each round's announcement, contributions
and roll, and what the round came to. All of these the server holds; none of them tells a value.

*Guarantee*, if it raises nothing: every contribution that is counted was shown, and is, byte for byte, what its site
committed to and signed for this very ring, under a key that the certificate in the roster signed; and the round's root
is over these alone.

What it cannot tell: whether the sum is that of the contributions. That proves the tag, to the sites, which hold its key
(`tag.py`). Nor whether values are honest: nobody sees them.
"""

from almoner.errors import ProtocolError
from almoner.protection.certificates import site_keys
from almoner.protection.meeting import Meeting, meet, split_body
from almoner.protection.scheme import Answers, Question, RoundTotal
from almoner.protection.set_up import SET_UP_BYTES, JobTerms, check_subset
from almoner.schema.consortium import Roster
from almoner.secagg.contribution import Contribution, Roll, read_contribution, read_roll
from almoner.secagg.offers import Ring, read_ring
from almoner.secagg.session import Session
from almoner.secagg.view import FIRST_VIEW, absorb, told


class Audit:
    """Follows one job.

    Args:
        terms: of the job.
        roster: whose certificates signed the set-up.
        root_certificate_pem: which issued them.

    Raises:
        ProtocolError: the roster does not pin a proper certificate for every site.
    """

    def __init__(self, terms: JobTerms, roster: Roster, root_certificate_pem: bytes) -> None:
        self._terms, self._view = terms, FIRST_VIEW
        self._certificate_keys = site_keys(roster, root_certificate_pem, terms.sites)
        self._meeting: Meeting | None = None
        self._session: Session | None = None
        self._ring: Ring | None = None
        self._roll: Roll | None = None
        self._shown: Answers = {}

    def follow(self, question: Question, answers: Answers) -> None:
        """Take one question of the server, and the answers of the sites as the server shows them.

        Raises:
            ProtocolError: a key, or a contribution that is counted, is not what its site signed, or was not shown.
        """
        match question.task:
            case "confirm":
                self._meeting = self._met(question.contributors, question.body)
            case "conclude":
                self._session = self._agreed(question.contributors)
            case "train":
                self._ring = read_ring(self.session, question.number, question.contributors, question.body, self._view)
                self._shown = answers
            case "acknowledge":
                self._roll = self._checked(question.contributors, question.body)

    def end_round(self, number: int, total: RoundTotal) -> None:
        """Take what a round came to.

        Raises:
            ProtocolError: its contributors or its root are not those of the roll.
        """
        roll = self._roll
        signed = None if roll is None else (self.ring.number, roll.sites, roll.root.hex())
        if signed != (number, total.contributors, total.commitments_root):
            raise ProtocolError(f"audit: round {number}: its contributors or root are not those that sites signed")
        self._view = absorb(self._view, absorb(told(number, total.contributors, total.body)))
        self._ring = self._roll = None

    def contribution(self, site: str, message: bytes) -> Contribution:
        """Return a contribution to the current round, masked as it is.

        Raises:
            ProtocolError: it is damaged, or not what the site committed to and signed for this round.
        """
        return read_contribution(message, self.session, self.ring, site)

    @property
    def session(self) -> Session:
        """What the sites agreed on.

        Raises:
            ProtocolError: they have not yet.
        """
        if self._session is None:
            raise ProtocolError("audit: the set-up was not followed to its end")
        return self._session

    @property
    def ring(self) -> Ring:
        """The current round's.

        Raises:
            ProtocolError: there is none.
        """
        if self._ring is None:
            raise ProtocolError("audit: no round was announced")
        return self._ring

    def _met(self, present: tuple[str, ...], body: bytes) -> Meeting:
        """Read the set-up messages of all who were present."""
        check_subset(present, self._terms.sites, self._terms.quorum, "audit: who was present")
        messages = split_body(body, dict.fromkeys(present, SET_UP_BYTES), "audit: set-up messages")
        return meet(self._terms, present, messages, self._certificate_keys, dealt_bytes=0)

    def _agreed(self, members: tuple[str, ...]) -> Session:
        """Return what the members agreed on."""
        if self._meeting is None:
            raise ProtocolError("audit: no set-up message was shown")
        check_subset(members, self._meeting.present, self._terms.quorum, "audit: the members")
        return Session(self._terms, self._meeting.transcript, members, self._meeting.public_keys)

    def _checked(self, sites: tuple[str, ...], body: bytes) -> Roll:
        """Return the roll, whose every entry is of the contribution that was shown."""
        number, roll = self.ring.number, read_roll(self.session, self.ring, sites, body)
        for site in sites:
            if site not in self._shown:
                raise ProtocolError(f"audit: round {number}: the contribution of {site} is counted, and was not shown")
            if self.contribution(site, self._shown[site]).entry != roll.entry(site):
                raise ProtocolError(f"audit: round {number}: another contribution of {site} is counted than was shown")
        return roll
