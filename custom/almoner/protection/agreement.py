"""How the sites of a job agree on keys through a server that none of them trusts: the site's side.

Transitions (every other pair of state and question raises `ProtocolError`, and ends the job at this site):

    New        --keys-->      Shown      draws X25519 and Ed25519 keys, signs them with the certificate's key
    Shown      --confirm-->   Confirmed  all set-up messages: signed by pinned certificates, this job, this site in it
    Confirmed  --agree-->     Shared     all confirmations: signed over the same transcript T; the boxes open
    Shared     --conclude-->  Agreed     all digests of members and secrets: signed, and equal to the own
    the last question again, byte for byte: the same answer again; any failure: Ended, nothing is held

*Guarantee*: with at most c colluding sites and a server that does what it likes, at a site that concluded at least
max(t, min_sites) members signed that they hold the same T, members M, tag key and dealt secret as this site, and the
honest ones among them do. Any two honest sites that concluded hold the same, since 2t > n + c. The keys of every
honest member are those that it drew itself. What belongs to another job, transcript, sender or receiver is refused.

Who learns what from the set-up:

- *The server* learns who is present, public keys, signatures, sealed boxes, and a digest of the tag key and of the
  dealt secret, from which neither can be guessed. It can end the job at any site at any time, and leave sites out.
- *A site of P* learns the s_u of every site whose confirmation it is shown, hence the tag key and the dealt secret
  of the whole job, even if it is not among the members in the end. These are secrets towards the server only.
- *The server with one site of P* therefore knows tag key and dealt secret: tags then prove nothing, and HE hides
  nothing. A coalition of the server and c sites still cannot open a box between two other sites, or sign for one.
- A member can make the agreement fail (boxes that do not open, two different s_u), for all or for sites of its
  choice, and is not named: those sites' logs say whose box did not open. That costs the job, no data.

Keys live in this process's memory alone. What starts again holds none; that it is not let into the same job once
more, with new keys, is for the caller to see to (a site's launcher starts no job twice).
"""

from collections.abc import Callable
from secrets import token_bytes
from typing import Literal, TypeVar

from almoner.errors import ProtocolError
from almoner.protection.agreement_states import Agreed, Confirmed, Ended, New, Shared, Shown
from almoner.protection.certificates import site_keys
from almoner.protection.hidden import Hidden
from almoner.protection.meeting import (
    AGREEMENT_BYTES,
    SHARE_BYTES,
    confirmation_bytes,
    make_agreement,
    make_confirmation,
    make_tag_key,
    meet,
    open_dealt,
    open_share,
    read_agreement,
    shared_digest,
    split_body,
    verify_confirmation,
)
from almoner.protection.relay import SiteKeys, agree_on_keys
from almoner.protection.set_up import (
    SET_UP_BYTES,
    JobKeys,
    JobTerms,
    check_subset,
    make_set_up,
    names,
    statement,
)
from almoner.schema.consortium import Roster

__all__ = ["Agreed", "SiteAgreement", "SiteKeys", "agree_on_keys"]

SetUpTask = Literal["keys", "confirm", "agree", "conclude"]
Names = tuple[str, ...]
S = TypeVar("S", bound=Hidden)
N = TypeVar("N", bound=Hidden)


class SiteAgreement(Hidden):
    """One site's part in the agreement of one job; one question at a time.

    Args:
        roster: of the own kit, whose signature was verified.
        root_certificate_pem: of the own kit.
        site: this one.
        private_key_pem: the key of this site's certificate.
        deal: draws the job's secret if this site is to deal it; None where the scheme deals none.
        dealt_bytes: length of that secret; 0 for none.

    Raises:
        ProtocolError: the roster does not pin a proper certificate for every site of the job, or the site is not one.
    """

    def __init__(
        self,
        terms: JobTerms,
        roster: Roster,
        root_certificate_pem: bytes,
        site: str,
        private_key_pem: bytes,
        deal: Callable[[], bytes] | None,
        dealt_bytes: int,
    ) -> None:
        if site not in terms.sites:
            raise ProtocolError(f"agreement: {site} is no site of the job")
        if (deal is None) != (dealt_bytes == 0):
            raise ProtocolError("agreement: a secret without a length, or a length without a secret")
        self._terms, self._site, self._private_key_pem = terms, site, private_key_pem
        self._certificate_keys = site_keys(roster, root_certificate_pem, terms.sites)
        self._deal, self._dealt_bytes = deal, dealt_bytes
        self._state: Hidden = New()
        self._asked = b""

    def close(self) -> None:
        """Forget the keys; every later question raises."""
        self._state = Ended()

    def answer_bytes(self, task: Literal["keys", "confirm", "agree"]) -> int:
        """Return the length of this site's answer; that to "conclude" is the protection's own affair.

        A dealer's confirmation is longer, and who deals is known once "confirm" was asked.
        """
        state = self._state
        is_dealer = isinstance(state, Confirmed) and state.meeting.dealer == self._site
        confirmation = confirmation_bytes(self._terms, self._dealt_bytes, is_dealer)
        return {"keys": SET_UP_BYTES, "confirm": confirmation, "agree": AGREEMENT_BYTES}[task]

    def keys(self) -> bytes:
        """Draw the job's keys; return the set-up message.

        Raises:
            ProtocolError: not the first question.
        """
        return self._step("keys", (), b"", New, Shown, self._show).said

    def confirm(self, contributors: Names, body: bytes) -> bytes:
        """Check everybody's keys; return the confirmation.

        Args:
            contributors: P, who is present, in roster order.
            body: their set-up messages.

        Raises:
            ProtocolError: anything is not as it must be.
        """
        return self._step("confirm", contributors, body, Shown, Confirmed, self._confirm).said

    def agree(self, contributors: Names, body: bytes) -> bytes:
        """Open the boxes of all who confirmed; return the signed digest of what is shared.

        Args:
            contributors: M, who confirmed, in roster order.
            body: their confirmations.

        Raises:
            ProtocolError: anything is not as it must be.
        """
        return self._step("agree", contributors, body, Confirmed, Shared, self._agree).said

    def conclude(self, contributors: Names, body: bytes) -> Agreed:
        """Check that all who agreed share the same; return what is held from now on.

        Args:
            contributors: M', who agreed, in roster order.
            body: their agreements.

        Raises:
            ProtocolError: anything is not as it must be.
        """
        return self._step("conclude", contributors, body, Shared, Agreed, self._conclude)

    def _step(
        self,
        task: SetUpTask,
        contributors: Names,
        body: bytes,
        start: type[S],
        end: type[N],
        move: Callable[[S, Names, bytes], N],
    ) -> N:
        """Take one transition; whatever is raised on the way leaves the state Ended."""
        asked = statement(b"question", b"", 0, task, names(contributors), body)
        state = self._state
        if isinstance(state, end) and asked == self._asked:
            return state
        self._state = Ended()
        if not isinstance(state, start):
            raise ProtocolError(f"agreement: {task} is not asked now, or not like this; this site leaves the job")
        following = move(state, contributors, body)
        self._state, self._asked = following, asked
        return following

    def _show(self, state: New, contributors: Names, body: bytes) -> Shown:
        """Draw and sign keys."""
        keys = JobKeys.generate()
        return Shown(keys, make_set_up(self._terms, self._site, keys, self._private_key_pem))

    def _confirm(self, state: Shown, present: Names, body: bytes) -> Confirmed:
        """Check P and its messages; seal the own share."""
        self._check_list(present, self._terms.sites, "who is present")
        messages = split_body(body, dict.fromkeys(present, SET_UP_BYTES), "set-up messages")
        self._check_own(messages, state.said)
        meeting = meet(self._terms, present, messages, self._certificate_keys, self._dealt_bytes)
        share, dealt = token_bytes(SHARE_BYTES), b""
        if meeting.dealer == self._site and self._deal is not None:
            dealt = self._deal()
            if len(dealt) != self._dealt_bytes:
                raise ProtocolError(f"agreement: the secret has {len(dealt)} bytes: report this")
        said = make_confirmation(meeting, self._site, state.keys, share, dealt)
        return Confirmed(state.keys, meeting, share, dealt, said)

    def _agree(self, state: Confirmed, members: Names, body: bytes) -> Shared:
        """Check M and its confirmations; open the boxes."""
        meeting = state.meeting
        self._check_list(members, meeting.present, "who confirmed")
        if meeting.dealer is not None and meeting.dealer not in members:
            raise ProtocolError(f"agreement: {meeting.dealer}, which deals the job's secret, did not confirm")
        lengths = {site: meeting.confirmation_bytes(site) for site in members}
        messages = split_body(body, lengths, "confirmations")
        self._check_own(messages, state.said)
        for site in members:
            verify_confirmation(meeting, site, messages[site])
        shares = {
            site: state.share
            if site == self._site
            else open_share(meeting, site, messages[site], self._site, state.keys)
            for site in members
        }
        dealt, dealer = state.dealt, meeting.dealer
        if dealer is not None and dealer != self._site:
            dealt = open_dealt(meeting, messages[dealer], shares[dealer])
        tag_key = make_tag_key(meeting, members, shares)
        digest = shared_digest(meeting, members, tag_key, dealt)
        said = make_agreement(meeting, self._site, state.keys, digest)
        return Shared(state.keys, meeting, members, tag_key, dealt, digest, said)

    def _conclude(self, state: Shared, members: Names, body: bytes) -> Agreed:
        """Check M' and its digests."""
        meeting = state.meeting
        self._check_list(members, state.members, "who agreed")
        messages = split_body(body, dict.fromkeys(members, AGREEMENT_BYTES), "agreements")
        self._check_own(messages, state.said)
        for site in members:
            if read_agreement(meeting, site, messages[site]) != state.digest:
                raise ProtocolError(f"agreement: {site} was told something else than {self._site}")
        keys, public = state.keys, meeting.public_keys
        return Agreed(self._terms, self._site, meeting.transcript, members, keys, public, state.tag_key, state.dealt)

    def _check_list(self, chosen: Names, among: Names, what: str) -> None:
        """Check a list of sites that the server names: this one is in it, and it is long enough."""
        check_subset(chosen, among, self._terms.quorum, what)
        if self._site not in chosen:
            raise ProtocolError(f"{what}: {self._site} is left out")

    def _check_own(self, messages: dict[str, bytes], said: bytes) -> None:
        """Check that the server shows others what this site said."""
        if messages[self._site] != said:
            raise ProtocolError(f"agreement: this is not what {self._site} said")
