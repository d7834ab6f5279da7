"""A site's side of an encrypted sum: the key of one job, shared by its members, never by the server.

Each message holds, for each 8,192 entries, one BFV ciphertext under fresh randomness, and in spare slots the count 1
and two tags (`slot_tags`). A site opens one total a round: the one whose sites and digest it acknowledged, and that at
least max(t, min_sites) members acknowledged with it. The sites named must be members of the job in order, at least
max(min_sites, c + 2). It uses the decryption only if the count is their number, no field exceeds what they can sum to,
and both tags are those of this round and these sites. What decryption finds wrong has one text. Any failure erases
the key, and ends the job at this site. Rounds are opened in their order, none left out: honest sites that open a
round have opened the same totals up to it.

Who learns what:

- *The server, honest or lying, with no site on its side*: who takes part in the job and in each round, when, and
  lengths that depend on public numbers; nothing of values, sums or key from the messages of the rounds. It chooses
  neither c1 nor, without being caught (2^-87), anything else that is opened. Where it disturbs the noise of totals to
  see whether they still open, it gets one "no" a job: at most log2(rounds + 1) bits about key and noise. Without the
  tags some twenty forged totals give it the whole key (and two would, if it chose c1 too).
- *Whoever is given the final model* (with consent of the sites, the server too) knows the starting weights and so the
  sum of all steps: after one round exactly the sum of U, later the sum of the rounds' means. All honest sites hold
  the same model. That is what the step "acknowledge" is for: if sites opened totals over different U, their models
  together would give every single site's update.
- *A site of the job*: the sum of each round, exact, and whose values are in it; with its own values the sum of the
  others. It holds the key, so it could read any single message that came its way; only the server gets them.
- *A coalition of c sites without the server*: the sums, and so the sum of at least two other sites.
- *The server with one site*: everything, each site's single, still noised updates; tags and acknowledgements hide
  nothing then. A policy that does not accept this demands `secagg`.

The key is erased when the job ends: no reference is kept. Python cannot overwrite every copy in freed memory.

Reference: key recovery from BFV by forged ciphertexts: Chenal and Tang, ePrint 2014/535.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from almoner.encryption.bfv_key import KEY_BYTES, BfvKey
from almoner.encryption.bfv_messages import MessageForm, concluded
from almoner.encryption.bfv_rounds import BfvRounds
from almoner.errors import ProtocolError
from almoner.protection.agreement import SiteAgreement
from almoner.protection.hidden import Hidden
from almoner.protection.scheme import IntVector, SiteProtection, Task
from almoner.protection.set_up import ED25519_BYTES, JobTerms
from almoner.schema.consortium import Roster

Names = tuple[str, ...]


class BfvSite(Hidden, SiteProtection):
    """One site of a job under homomorphic encryption; one call at a time, others wait.

    *Guarantee*: as in the module's text; sums of up to 50 addends are exact.

    Args:
        terms: of the job, from its envelope.
        roster: of the own kit, whose signature was verified.
        root_certificate_pem: of the own kit.
        site: this one.
        private_key_pem: the key of this site's certificate.

    Raises:
        ProtocolError: as for `SiteAgreement`.
    """

    def __init__(
        self, terms: JobTerms, roster: Roster, root_certificate_pem: bytes, site: str, private_key_pem: bytes
    ) -> None:
        self._agreement = SiteAgreement(
            terms, roster, root_certificate_pem, site, private_key_pem, _draw_key, dealt_bytes=KEY_BYTES
        )
        self._form = MessageForm(terms.dimension, len(terms.sites))
        self._rounds: BfvRounds | None = None
        self._ended = False
        self._lock = threading.RLock()

    def answer(self, task: Task, number: int, contributors: Names, body: bytes) -> bytes:
        """Answer a question of the set-up, or acknowledge a round's total."""
        with self._or_end():
            if task == "acknowledge":
                return self._running().acknowledge(number, contributors, body)
            if number != 0:
                raise ProtocolError(f"{task} is asked in round {number}: it belongs to the set-up")
            match task:
                case "keys":
                    return self._agreement.keys()
                case "confirm":
                    return self._agreement.confirm(contributors, body)
                case "agree":
                    return self._agreement.agree(contributors, body)
                case "conclude":
                    return self._conclude(contributors, body)
            raise ProtocolError(f"{task} is asked: homomorphic encryption has no such question")

    def begin(self, number: int, ring: Names, announcement: bytes) -> None:
        """Take the number of a round; there is nothing to announce."""
        with self._or_end():
            if ring or announcement:
                raise ProtocolError(f"round {number}: something is announced, which homomorphic encryption never does")
            self._running().begin(number)

    def protect(self, number: int, values: IntVector) -> bytes:
        """Return this site's values, encrypted, with count and tags."""
        with self._or_end():
            return self._running().protect(number, values)

    def open(self, number: int, contributors: Names, total: bytes) -> IntVector:
        """Return the sum of exactly these contributors' values, as acknowledged; the same total may be opened again."""
        with self._or_end():
            return self._running().open(number, contributors, total)

    def close(self) -> None:
        """Erase the key."""
        with self._lock:
            self._ended = True
            self._rounds = None
            self._agreement.close()

    def answer_bytes(self, task: Task) -> int:
        """Return the length of an answer; that of the dealer's "confirm" is known once it was asked."""
        if task == "train":
            return self._form.addend_bytes
        if task in ("conclude", "acknowledge"):
            return ED25519_BYTES
        if task in ("keys", "confirm", "agree"):
            return self._agreement.answer_bytes(task)
        raise ProtocolError(f"homomorphic encryption has no question {task}")

    def announcement_bytes(self, ring: Names) -> int:
        """Return 0: nothing is announced."""
        return 0

    def total_bytes(self, contributors: Names) -> int:
        """Return the length of every total."""
        return self._form.total_bytes

    def _conclude(self, contributors: Names, body: bytes) -> bytes:
        """Take the job's key."""
        agreed = self._agreement.conclude(contributors, body)
        if self._rounds is None:
            self._rounds = BfvRounds(agreed)
        return agreed.keys.sign(concluded(agreed.transcript, agreed.site))

    def _running(self) -> BfvRounds:
        """Return the rounds."""
        if self._rounds is None:
            raise ProtocolError("the sites have not agreed on a key yet: no round can run")
        return self._rounds

    @contextmanager
    def _or_end(self) -> Iterator[None]:
        """Erase the key if anything is raised inside; refuse if it is erased already."""
        with self._lock:
            if self._ended:
                raise ProtocolError("this site erased the job's key: it takes no further part in the job")
            done = False
            try:
                yield
                done = True
            finally:
                if not done:
                    self.close()


def _draw_key() -> bytes:
    """Return a new key for the job, if this site is the one that draws it."""
    return BfvKey.generate().to_bytes()
