"""How the sites of a job agree on keys: the server's side, which relays and is not trusted.

An answer that is malformed or not signed as it must be counts as none, so that one site cannot stop the others;
what a site would refuse is not sent to it. That is a service to the sites and no safeguard: they check all of it.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from almoner.errors import FederationError, ProtocolError
from almoner.protection.certificates import pinned_certificate, public_key
from almoner.protection.meeting import AGREEMENT_BYTES, Meeting, meet, read_agreement, verify_confirmation
from almoner.protection.scheme import Answers, Conversation, Question, Task
from almoner.protection.set_up import DIGEST_BYTES, KEY_BYTES, SET_UP_BYTES, SIGNED_BYTES, JobTerms, read_set_up
from almoner.schema.consortium import Roster

logger = logging.getLogger(__name__)


class SiteKeys(NamedTuple):
    """What the server holds after the agreement; all of it public.

    Args:
        members: who answered "conclude", in roster order.
        agreed: who was asked to conclude, in roster order: the members as the sites know them.
        set_up_messages: of every site that was present, in roster order.
        answers: of the members to "conclude".
    """

    members: tuple[str, ...]
    agreed: tuple[str, ...]
    set_up_messages: dict[str, bytes]
    answers: dict[str, bytes]


def agree_on_keys(
    terms: JobTerms, sites: tuple[str, ...], roster: Roster, dealt_bytes: int, conclude_bytes: int
) -> Conversation[SiteKeys]:
    """Lead the sites through the agreement.

    Args:
        sites: who takes part, in roster order.
        dealt_bytes: length of the secret that the first site deals; 0 for none.
        conclude_bytes: length of the answers to "conclude".

    Raises:
        FederationError: fewer than t or `min_sites` answered as they should, or the dealer did not.
        ProtocolError: the roster does not pin a proper certificate for each of the sites.
    """
    certificate_keys = {site: public_key(pinned_certificate(roster, site), site) for site in sites}
    shown = yield _question(terms, "keys", {}, dict.fromkeys(sites, SET_UP_BYTES))
    shown = _keep(terms, shown, lambda site, said: read_set_up(said, terms, site, certificate_keys[site]), "keys")
    shown = _enough(terms, _without_twins(shown), "keys")
    meeting = meet(terms, tuple(shown), shown, certificate_keys, dealt_bytes)

    lengths = {site: meeting.confirmation_bytes(site) for site in meeting.present}
    confirmed = yield _question(terms, "confirm", shown, lengths)
    confirmed = _keep(terms, confirmed, lambda site, said: verify_confirmation(meeting, site, said), "confirm")
    if meeting.dealer is not None and meeting.dealer not in confirmed:
        raise FederationError(f"confirm: {meeting.dealer} did not deal the job's secret; the job ends here")

    agreed = yield _question(terms, "agree", confirmed, dict.fromkeys(confirmed, AGREEMENT_BYTES))
    agreed = _keep(terms, agreed, lambda site, said: read_agreement(meeting, site, said), "agree")
    agreed = _enough(terms, _most_told_alike(meeting, agreed), "agree")

    answers = yield _question(terms, "conclude", agreed, dict.fromkeys(agreed, conclude_bytes))
    answers = _enough(terms, answers, "conclude")
    return SiteKeys(tuple(answers), tuple(agreed), shown, answers)


def _question(terms: JobTerms, task: Task, parts: dict[str, bytes], lengths: dict[str, int]) -> Question:
    """Return a question to all sites of `lengths`, whose body is the parts of sites."""
    return Question(task, 0, tuple(parts), b"".join(parts.values()), tuple(lengths), terms.quorum, lengths)


def _keep(terms: JobTerms, answers: Answers, check: Callable[[str, bytes], object], what: str) -> Answers:
    """Return the answers that pass a check; log whose do not.

    Raises:
        FederationError: too few do.
    """
    good = {}
    for site, said in answers.items():
        try:
            check(site, said)
            good[site] = said
        except ProtocolError as error:
            logger.warning("answer of %s dropped: %s", site, error)
    return _enough(terms, good, what)


def _enough(terms: JobTerms, answers: Answers, what: str) -> Answers:
    """Return the answers if there are as many as every step needs.

    Raises:
        FederationError: there are not.
    """
    if len(answers) < terms.quorum:
        need = terms.quorum
        raise FederationError(f"{what}: {len(answers)} of at least {need} sites answered; the job ends here")
    return answers


def _without_twins(shown: Answers) -> Answers:
    """Leave out sites that show a key which another has shown before them."""
    seen: set[bytes] = set()
    kept = {}
    for site, said in shown.items():
        keys = {said[DIGEST_BYTES : DIGEST_BYTES + KEY_BYTES], said[DIGEST_BYTES + KEY_BYTES : SIGNED_BYTES]}
        if len(keys) < 2 or keys & seen:
            logger.warning("answer of %s dropped: it shows a key twice", site)
            continue
        seen |= keys
        kept[site] = said
    return kept


def _most_told_alike(meeting: Meeting, agreed: Answers) -> Answers:
    """Return the answers with the digest that most sites signed."""
    digests = {site: read_agreement(meeting, site, said) for site, said in agreed.items()}
    [(digest, _)] = Counter(digests.values()).most_common(1)
    if odd := [site for site in agreed if digests[site] != digest]:
        logger.warning("not told the same as the others: %s", ", ".join(odd))
    return {site: said for site, said in agreed.items() if digests[site] == digest}
