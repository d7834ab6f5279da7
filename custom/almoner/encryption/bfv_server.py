"""The server's side of an encrypted sum: it relays, adds ciphertexts that it cannot read, and holds no key."""

import logging

from almoner.encryption.bfv_key import KEY_BYTES
from almoner.encryption.bfv_messages import SEED_BYTES, Encrypted, MessageForm, add, concluded, least_contributors
from almoner.errors import FederationError, ProtocolError
from almoner.protection.certificates import pinned_certificate, public_key
from almoner.protection.message import Kind
from almoner.protection.relay import SiteKeys, agree_on_keys
from almoner.protection.scheme import Conversation, Question, RoundTotal, ServerProtection, check_num_addends
from almoner.protection.set_up import ED25519_BYTES, JobTerms, read_set_up, transcript
from almoner.schema.consortium import Roster

logger = logging.getLogger(__name__)


class BfvServer(ServerProtection):
    """Adds what sites encrypted under the key that they share.

    *Guarantee*: sums of up to 50 addends are exact. What a server learns, honest or not, is in `bfv_site`.

    Args:
        terms: of the job, the same at every site.
        roster: the consortium's.
    """

    def __init__(self, terms: JobTerms, roster: Roster) -> None:
        self._terms, self._roster = terms, roster
        self._form = MessageForm(terms.dimension, len(terms.sites))

    @property
    def message_bytes(self) -> int:
        """Length of every site's message."""
        return self._form.addend_bytes

    @property
    def total_bytes(self) -> int:
        """Length of every total."""
        return self._form.total_bytes

    def set_up(self, sites: tuple[str, ...]) -> Conversation[tuple[str, ...]]:
        """Have the sites agree on the job's key; end with those that did."""
        keys = yield from agree_on_keys(self._terms, sites, self._roster, KEY_BYTES, ED25519_BYTES)
        members = tuple(site for site in keys.members if self._has_concluded(keys, site))
        return _enough(members, self._terms.quorum, "conclude")

    def round(self, number: int, sites: tuple[str, ...]) -> Conversation[RoundTotal]:
        """Collect the sites' messages and add those that are well-formed."""
        lengths = dict.fromkeys(sites, self.message_bytes)
        least = least_contributors(self._terms)
        answers = yield Question("train", number, (), b"", sites, least, lengths)
        addends: dict[str, Encrypted] = {}
        for site, message in answers.items():
            try:
                addends[site] = self._form.read_addend(message, f"round {number}: message of {site}")
            except ProtocolError as error:
                logger.warning("left out: %s", error)
        contributors = _enough(tuple(addends), least, f"round {number}")
        named = tuple(site for site in answers if site not in addends)
        return RoundTotal(contributors, self._add(addends), named=named)

    def _add(self, addends: dict[str, Encrypted]) -> bytes:
        """Return the total of the sites' messages."""
        count = check_num_addends(len(addends), "add")
        absent = bytes(self._form.num_chunks * SEED_BYTES)
        seeds = [addends[site].seeds[0] if site in addends else absent for site in self._terms.sites]
        return self._form.write(Kind.TOTAL, count, add(list(addends.values())), seeds)

    def _has_concluded(self, keys: SiteKeys, site: str) -> bool:
        """Return whether a site's last answer says that it holds the job's key."""
        messages = keys.set_up_messages
        certificate_key = public_key(pinned_certificate(self._roster, site), site)
        stated = concluded(transcript(self._terms, tuple(messages), messages), site)
        try:
            public = read_set_up(messages[site], self._terms, site, certificate_key)
            public.verify(keys.answers[site], stated, f"conclude: answer of {site}")
        except ProtocolError as error:
            logger.warning("left out: %s", error)
            return False
        return True


def _enough(sites: tuple[str, ...], least: int, what: str) -> tuple[str, ...]:
    """Return the sites if there are as many as a step needs.

    Raises:
        FederationError: there are not.
    """
    if len(sites) < least:
        raise FederationError(
            f"{what}: {len(sites)} of at least {least} sites answered as they should; the job ends here"
        )
    return sites
