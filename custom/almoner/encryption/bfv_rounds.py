"""The rounds of an encrypted sum at a site that holds the job's key."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from almoner.encryption.acknowledgements import Claim, check_acknowledged
from almoner.encryption.bfv_cipher import BfvCipher, Coefficients, scale_up
from almoner.encryption.bfv_key import BfvKey
from almoner.encryption.bfv_messages import SEED_BYTES, Encrypted, MessageForm, least_contributors
from almoner.encryption.packing import NUM_TAGS, SLOTS, Layout, join_fields, put_fields, split_fields, take_fields
from almoner.encryption.seal_files import Workspace
from almoner.encryption.slot_tags import SlotTags, pads
from almoner.errors import ProtocolError
from almoner.protection.agreement import Agreed
from almoner.protection.hidden import Hidden
from almoner.protection.message import Kind
from almoner.protection.scheme import IntVector, check_values
from almoner.protection.set_up import check_subset

NOT_THE_SUM = "the total is not the verified sum of the sites it names: this site erased the job's key and is out"
"""The one error of `open`, whatever decryption finds wrong with a total that enough sites acknowledged."""


@dataclass(frozen=True, repr=False, eq=False)
class _Sent(Hidden):
    """What this site sent in the current round."""

    tags: IntVector
    message: bytes


class BfvRounds(Hidden):
    """Encrypts and opens with the key that the members of a job share. After an error it must not be used again.

    Args:
        agreed: what the set-up ended with.

    Raises:
        ProtocolError: what was dealt is no key.
    """

    def __init__(self, agreed: Agreed) -> None:
        self._agreed = agreed
        self._key = BfvKey.from_bytes(agreed.dealt)
        self._layout = Layout(agreed.terms.dimension)
        self._form = MessageForm(agreed.terms.dimension, len(agreed.terms.sites))
        self._number = 0
        self._sent: _Sent | None = None
        self._claim: Claim | None = None
        self._opened = 0

    def begin(self, number: int) -> None:
        """Take the number of the next round, or of the current one again.

        Raises:
            ProtocolError: it is another one, or the total of the round before was not opened.
        """
        if number == self._number > 0:
            return
        if not self._opened == self._number == number - 1:
            raise ProtocolError(f"round {number} is asked for in round {self._number}: they run in order, each once")
        self._number, self._sent, self._claim = number, None, None

    def protect(self, number: int, values: IntVector) -> bytes:
        """Return the encrypted values with count and tags; the same bytes for the same values."""
        if not self._opened < number == self._number:
            raise ProtocolError(f"round {number} was not begun, or is over: no values are sent in it")
        check_values(values, self._agreed.terms.dimension)
        tags, pad = self._tags(number), self._pads(number, (self._agreed.site,))
        if self._sent is not None:
            for _ in self._slots(values, tags, pad):
                pass
            if not np.array_equal(tags.values(pad), self._sent.tags):
                raise ProtocolError(f"round {number}: other values were sent in it already")
            return self._sent.message
        if self._claim is not None:
            raise ProtocolError(f"round {number}: its total was acknowledged already: no values are sent in it")
        seeds: list[bytes] = []
        with Workspace() as work:
            cipher = BfvCipher(self._key, work)
            first = _encrypt(cipher, self._slots(values, tags, pad), seeds)
            message = self._form.write(Kind.ADDEND, 1, first, seeds)
        self._sent = _Sent(tags.values(pad), message)
        return message

    def acknowledge(self, number: int, contributors: tuple[str, ...], digest: bytes) -> bytes:
        """Sign what a round comes to, and nothing else in that round.

        Raises:
            ProtocolError: the round was not begun, another claim was signed in it, or this one cannot be true.
        """
        claim, site = Claim(number, contributors, digest), self._agreed.site
        if claim != self._claim:
            if self._claim is not None or not self._opened < number == self._number:
                raise ProtocolError(f"round {number}: another total was acknowledged, or the round was not begun")
            least = least_contributors(self._agreed.terms)
            check_subset(contributors, self._agreed.members, least, f"round {number}: contributors")
            if site in contributors and self._sent is None:
                raise ProtocolError(f"round {number}: {site} is named as a contributor and has sent nothing")
            self._claim = claim
        return self._agreed.keys.sign(claim.stated(self._agreed.transcript, site))

    def open(self, number: int, contributors: tuple[str, ...], total: bytes) -> IntVector:
        """Return the sum of exactly these contributors' values in a round, verified before any of it is used."""
        where, claim = f"total of round {number}", self._claim
        if claim is None or (claim.number, claim.contributors) != (number, contributors):
            raise ProtocolError(f"{where}: this site did not acknowledge one over these sites; it is out")
        encrypted = self._form.read_total(total, len(contributors), where)
        signed, signatures = self._form.split_total(total)
        if sha256(signed).digest() != claim.digest:
            raise ProtocolError(f"{where}: not the one that this site acknowledged; it is out")
        check_acknowledged(claim, self._agreed, signatures)
        self._opened, self._sent = number, None
        with _one_text():
            return self._decrypt(number, contributors, encrypted)

    def _decrypt(self, number: int, contributors: tuple[str, ...], encrypted: Encrypted) -> IntVector:
        """Return the sum; every check is made before an error says that one failed."""
        seeds = [encrypted.seeds[self._agreed.index(site) - 1] for site in contributors]
        sums = np.empty(self._layout.dimension, dtype=np.int64)
        tags, received, sound = self._tags(number), np.zeros(NUM_TAGS, dtype=np.int64), True
        with Workspace() as work:
            cipher = BfvCipher(self._key, work)
            for block in self._layout.blocks():
                slots = _decrypt_block(cipher, block, encrypted.first, seeds)
                for tag, slot in self._tag_slots(block):
                    received[tag], slots[slot] = slots[slot], 0
                fields = split_fields(slots)
                tags.absorb(fields)
                sound &= take_fields(self._layout, block, fields, len(contributors), sums)
        _verify(sound, received, tags.values(self._pads(number, contributors)))
        return sums

    def _slots(self, values: IntVector, tags: SlotTags, pad: IntVector) -> Iterator[IntVector]:
        """Return the slots of this site's values, block by block; the tags take them in."""
        for block in self._layout.blocks():
            fields = put_fields(self._layout, block, values)
            tags.absorb(fields)
            slots = join_fields(fields)
            for tag, slot in self._tag_slots(block):
                slots[slot] = tags.values(pad)[tag]
            yield slots

    def _tag_slots(self, block: range) -> list[tuple[int, int]]:
        """Return which tags a block holds, and at which of its slots."""
        return [(tag, slot - block.start) for tag, slot in enumerate(self._layout.tag_slots) if slot in block]

    def _tags(self, number: int) -> SlotTags:
        """Return a round's tags with nothing taken in."""
        return SlotTags(self._agreed.tag_key, self._agreed.transcript, number)

    def _pads(self, number: int, sites: tuple[str, ...]) -> IntVector:
        """Return the sum of sites' pads in a round."""
        return pads(self._agreed.tag_key, self._agreed.transcript, number, sites)


def _verify(sound: bool, received: IntVector, expected: IntVector) -> None:
    """Check what a total opened to.

    Args:
        sound: whether fields, count and what lies behind them are such as the named sites' sum has.
        received: the tags in the total.
        expected: the tags that it must have.

    Raises:
        ProtocolError: it is not the sum.
    """
    if not (sound and np.array_equal(received, expected)):
        raise ProtocolError("not the sum")


@contextmanager
def _one_text() -> Iterator[None]:
    """Give every error the same text."""
    try:
        yield
    except ProtocolError:
        raise ProtocolError(NOT_THE_SUM) from None


def _encrypt(cipher: BfvCipher, blocks: Iterator[IntVector], seeds: list[bytes]) -> Iterator[Coefficients]:
    """Return c0 of every chunk; the seeds of c1 are put into `seeds`."""
    for slots in blocks:
        for chunk in scale_up(slots).reshape(-1, SLOTS):
            first, seed = cipher.encrypt(chunk)
            seeds.append(seed)
            yield first


def _decrypt_block(cipher: BfvCipher, block: range, first: Coefficients, seeds: list[memoryview]) -> IntVector:
    """Return the slots of a block of a total."""
    chunks = range(block.start // SLOTS, block.stop // SLOTS)
    return np.concatenate(
        [
            cipher.decrypt(first[chunk], [bytes(seed[chunk * SEED_BYTES : (chunk + 1) * SEED_BYTES]) for seed in seeds])
            for chunk in chunks
        ]
    )
