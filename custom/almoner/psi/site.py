"""An alignment at one site: how it finds which of its rows all other sites have, through a server it does not trust.

Transitions (every other pair of state and question raises `ProtocolError`, and ends the job at this site):

    New        --keys-->      Shown      draws keys for the job, signs them with the certificate's key
    Shown      --meet-->      Met        all set-up messages: signed by pinned certificates, this job, this site's own
    Met        --blind-->     Blinded    takes the identifiers; salts, fills up to the cap, shuffles, blinds, seals
    Blinded    --exchange-->  Exchanged  opens the other side's list and blinds it once more; a member seals it
    Exchanged  --compare-->   Aligned    the leader alone: compares, and seals marks for each member
    Exchanged  --learn-->     Aligned    members alone: opens its marks
    any failure: Ended, nothing is held. Who asks a question again gets the answer from the caller, which keeps it.

Every comparison is between the leader and one member, with keys, salt, fillings and order of its own. An identifier is
in common if the leader finds it at every member.

Who learns what, if all follow the protocol:

- *The server* learns who takes part, public keys, and when. It carries boxes whose lengths are functions of the terms.
- *A member* learns which of its entries all sites have in common. Nothing about who has the others.
- *The leader* learns which of its entries each member has, also where they are not in common to all; it keeps only
  what is. With two sites that is the same thing.
- All learn the number of what is in common. No ε covers any of this; see `SizeRelease` for the server.

What the others can do at worst: a site may put any guesses into its list, at most `cap` of them, and learns which are
in. A leader that lies can mark what it likes, a member that lies can have the leader mark wrong rows; nothing here
proves that a result is right. A site that stops half-way may have learned its part when others have not. Server and a
site together know what that site knows.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from almoner.errors import ProtocolError
from almoner.protection.certificates import site_keys
from almoner.protection.hidden import Hidden
from almoner.protection.meeting import split_body
from almoner.protection.set_up import JobKeys, make_set_up
from almoner.psi.compare import compare, marked
from almoner.psi.padding import SiteList, pad, site_list
from almoner.psi.points import BlindingKey, split_points
from almoner.psi.session import LEADER_LIST, LEADER_LIST_AGAIN, MARKS, MEMBER_LIST, meet
from almoner.psi.states import Aligned, Alignment, Blinded, Comparison, Ended, Exchanged, Met, New, Shown
from almoner.psi.terms import PsiTerms
from almoner.schema.consortium import Roster

S = TypeVar("S", bound=Hidden)


class SiteAlignment(Hidden):
    """One site's part in one alignment; one question at a time.

    Args:
        roster: of the own kit, whose signature was verified.
        root_certificate_pem: of the own kit.
        site: this one.
        private_key_pem: the key of this site's certificate.

    Raises:
        ProtocolError: the roster does not pin a proper certificate for every site of the job, or the site is not one.
    """

    def __init__(
        self, terms: PsiTerms, roster: Roster, root_certificate_pem: bytes, site: str, private_key_pem: bytes
    ) -> None:
        if site not in terms.sites:
            raise ProtocolError(f"alignment: {site} is no site of the job")
        self._terms, self._site, self._private_key_pem = terms, site, private_key_pem
        self._certificate_keys = site_keys(roster, root_certificate_pem, terms.sites)
        self._state: Hidden = New()

    @property
    def leads(self) -> bool:
        """Whether this site is the leader."""
        return self._site == self._terms.leader

    @property
    def alignment(self) -> Alignment:
        """What this site keeps.

        Raises:
            ProtocolError: it is not known yet, or the job has failed here.
        """
        if not isinstance(self._state, Aligned):
            raise ProtocolError("alignment: there is no result")
        return self._state.alignment

    def close(self) -> None:
        """Forget everything; every later question raises."""
        self._state = Ended()

    def keys(self) -> bytes:
        """Draw the job's keys; return the set-up message.

        Raises:
            ProtocolError: not the first question.
        """
        return self._step("keys", New, self._show)

    def meet(self, body: bytes) -> None:
        """Check everybody's keys; no data is needed.

        Args:
            body: the set-up messages of all sites in roster order.

        Raises:
            ProtocolError: anything is not as it must be.
        """
        self._step("meet", Shown, lambda state: self._meet(state, body))

    def blind(self, identifiers: Sequence[bytes | None]) -> bytes:
        """Return this site's list: the leader a box for each member, a member one for the leader.

        Args:
            identifiers: of each row of the site's file, see `almoner.psi.normalise`; None for a row without one.

        Raises:
            ProtocolError: the keys were not checked before.
        """
        return self._step("blind", Met, lambda state: self._blind(state, identifiers))

    def exchange(self, body: bytes) -> bytes:
        """Blind the other side's list once more; return a member's box for the leader, nothing at the leader.

        Args:
            body: the leader's boxes for the members, then the members' for the leader, both in roster order.

        Raises:
            ProtocolError: a box does not open, or no list of points of the right length is in it.
        """
        return self._step("exchange", Blinded, lambda state: self._exchange(state, body))

    def compare(self, body: bytes) -> bytes:
        """Find what all sites have in common; return a box with marks for each member. The leader's question.

        Args:
            body: the members' boxes in roster order.

        Raises:
            ProtocolError: as `exchange`; or this is not the leader.
        """
        self._check_role(leads=True)
        return self._step("compare", Exchanged, lambda state: self._compare(state, body))

    def learn(self, body: bytes) -> None:
        """Take the leader's marks. The members' question.

        Args:
            body: the marks for all members in roster order.

        Raises:
            ProtocolError: the box does not open, or has not one mark for each entry; or this is the leader.
        """
        self._check_role(leads=False)
        self._step("learn", Exchanged, lambda state: self._learn(state, body))

    def _check_role(self, leads: bool) -> None:
        """Refuse the other role's question."""
        if self.leads is not leads:
            self.close()
            raise ProtocolError(f"alignment: this is no question for {self._site}; it leaves the job")

    def _step(self, name: str, start: type[S], move: Callable[[S], tuple[Hidden, bytes]]) -> bytes:
        """Take one transition and return what is said; whatever is raised on the way leaves the state Ended."""
        state, self._state = self._state, Ended()
        if not isinstance(state, start):
            raise ProtocolError(f"alignment: {name} is not asked now; this site leaves the job")
        self._state, said = move(state)
        return said

    def _show(self, state: New) -> tuple[Shown, bytes]:
        """Draw and sign keys."""
        keys = JobKeys.generate()
        said = make_set_up(self._terms, self._site, keys, self._private_key_pem)
        return Shown(keys, said), said

    def _meet(self, state: Shown, body: bytes) -> tuple[Met, bytes]:
        """Check the messages."""
        return Met(meet(self._terms, self._site, state.keys, state.said, body, self._certificate_keys)), b""

    def _blind(self, state: Met, identifiers: Sequence[bytes | None]) -> tuple[Blinded, bytes]:
        """Make the list ready for each other site, and seal it."""
        own = site_list(identifiers, self._terms.cap)
        session, label = state.session, LEADER_LIST if self.leads else MEMBER_LIST
        peers = self._terms.members if self.leads else (self._terms.leader,)
        comparisons, said = {}, b""
        for peer in peers:
            salt = session.salt(peer if self.leads else self._site)
            made = comparisons[peer] = Comparison(pad(own, self._terms.cap, salt, self._site), BlindingKey())
            said += session.seal(label, peer, made.key.blind(made.padded.entries))
        return Blinded(session, own, comparisons), said

    def _exchange(self, state: Blinded, body: bytes) -> tuple[Exchanged, bytes]:
        """Open what is for this site, and blind it once more."""
        members, length = self._terms.members, self._terms.list_box_bytes
        if len(body) != 2 * len(members) * length:
            raise ProtocolError(f"lists: {len(body)} bytes, expected {2 * len(members) * length}")
        half = len(members) * length
        boxes = split_body(body[half:] if self.leads else body[:half], dict.fromkeys(members, length), "lists")
        theirs, said = {}, b""
        if self.leads:
            for member in members:
                again = self._again(state, member, state.session.unseal(MEMBER_LIST, member, boxes[member]))
                theirs[member] = split_points(again, self._terms.cap, f"list of {member}")
        else:
            leader = self._terms.leader
            again = self._again(state, leader, state.session.unseal(LEADER_LIST, leader, boxes[self._site]))
            said = state.session.seal(LEADER_LIST_AGAIN, leader, again)
        padded = {peer: made.padded for peer, made in state.comparisons.items()}
        return Exchanged(state.session, state.own, padded, theirs), said

    def _again(self, state: Blinded, peer: str, points: bytes) -> bytes:
        """Check another site's list, and blind it once more."""
        what = f"list of {peer}"
        return state.comparisons[peer].key.blind_again(split_points(points, self._terms.cap, what), what)

    def _compare(self, state: Exchanged, body: bytes) -> tuple[Aligned, bytes]:
        """Compare with every member; mark what all have."""
        members, cap = self._terms.members, self._terms.cap
        boxes = split_body(body, dict.fromkeys(members, self._terms.list_box_bytes), "lists blinded by both")
        mine = {}
        for member in members:
            opened = state.session.unseal(LEADER_LIST_AGAIN, member, boxes[member])
            mine[member] = split_points(opened, cap, f"own list from {member}")
        common, marks = compare(state.padded, mine, state.theirs)
        said = b"".join(state.session.seal(MARKS, member, marks[member]) for member in members)
        return Aligned(_alignment(state.own, common)), said

    def _learn(self, state: Exchanged, body: bytes) -> tuple[Aligned, bytes]:
        """Read the marks."""
        lengths = dict.fromkeys(self._terms.members, self._terms.marks_box_bytes)
        box, leader = split_body(body, lengths, "marks")[self._site], self._terms.leader
        common = marked(state.padded[leader], state.session.unseal(MARKS, leader, box))
        return Aligned(_alignment(state.own, common)), b""


def _alignment(own: SiteList, common: frozenset[bytes]) -> Alignment:
    """Return which rows have the identifiers in common."""
    return Alignment(tuple(sorted(row for value in common for row in own.rows[value])), len(common), own)
