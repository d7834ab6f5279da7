"""The server's side of an encrypted sum: it relays, adds ciphertexts that it cannot read, and holds no key."""

import logging
from collections.abc import Callable
from hashlib import sha256

from almoner.encryption.acknowledgements import Claim
from almoner.encryption.bfv_key import KEY_BYTES
from almoner.encryption.bfv_messages import SEED_BYTES, Encrypted, MessageForm, add, concluded, least_contributors
from almoner.errors import FederationError, ProtocolError
from almoner.protection.certificates import pinned_certificate, public_key
from almoner.protection.message import Kind
from almoner.protection.relay import agree_on_keys
from almoner.protection.scheme import (
    Answers,
    Conversation,
    Question,
    RoundTotal,
    ServerProtection,
    check_num_addends,
)
from almoner.protection.set_up import ED25519_BYTES, JobTerms, PublicKeys, read_set_up, transcript
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
        self._transcript = b""
        self._keys: dict[str, PublicKeys] = {}

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
        self._transcript = transcript(self._terms, tuple(keys.set_up_messages), keys.set_up_messages)
        self._keys = {site: self._public_keys(site, said) for site, said in keys.set_up_messages.items()}
        good = self._signed(keys.answers, lambda site: concluded(self._transcript, site), "conclude: answer")
        return _enough(tuple(good), self._terms.quorum, "conclude")

    def round(self, number: int, sites: tuple[str, ...]) -> Conversation[RoundTotal]:
        """Collect the sites' messages, add those that are well-formed, and have the sites acknowledge the total."""
        lengths = dict.fromkeys(sites, self.message_bytes)
        least = least_contributors(self._terms)
        answers = yield Question("train", number, (), b"", sites, least, lengths)
        addends = self._read(number, answers)
        contributors = _enough(tuple(addends), least, f"round {number}")
        named = [site for site in answers if site not in addends]
        total = self._add(addends)
        del answers, addends
        claim = Claim(number, contributors, sha256(total).digest())
        lengths = dict.fromkeys(sites, ED25519_BYTES)
        said = yield Question("acknowledge", number, contributors, claim.digest, sites, self._terms.quorum, lengths)
        good = self._signed(said, lambda site: claim.stated(self._transcript, site), f"round {number}: acknowledgement")
        _enough(tuple(good), self._terms.quorum, f"round {number}, acknowledge")
        named += [site for site in said if site not in good and site not in named]
        slots = (good.get(site, bytes(ED25519_BYTES)) for site in self._terms.sites)
        return RoundTotal(contributors, b"".join((total, *slots)), named=tuple(named))

    def _read(self, number: int, answers: Answers) -> dict[str, Encrypted]:
        """Return what the well-formed messages hold; log which are not."""
        addends: dict[str, Encrypted] = {}
        for site, message in answers.items():
            try:
                addends[site] = self._form.read_addend(message, f"round {number}: message of {site}")
            except ProtocolError as error:
                logger.warning("left out: %s", error)
        return addends

    def _add(self, addends: dict[str, Encrypted]) -> bytes:
        """Return the total of the sites' messages."""
        count = check_num_addends(len(addends), "add")
        absent = bytes(self._form.num_chunks * SEED_BYTES)
        seeds = [addends[site].seeds[0] if site in addends else absent for site in self._terms.sites]
        return self._form.write(Kind.TOTAL, count, add(list(addends.values())), seeds)

    def _public_keys(self, site: str, message: bytes) -> PublicKeys:
        """Return the keys that a site showed in the set-up."""
        return read_set_up(message, self._terms, site, public_key(pinned_certificate(self._roster, site), site))

    def _signed(self, answers: Answers, stated: Callable[[str], bytes], what: str) -> Answers:
        """Return the answers that are a site's signature of what it must state; log which are not."""
        good: Answers = {}
        for site, signature in answers.items():
            try:
                self._keys[site].verify(signature, stated(site), f"{what} of {site}")
                good[site] = signature
            except ProtocolError as error:
                logger.warning("left out: %s", error)
        return good


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
