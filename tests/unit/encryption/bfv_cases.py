"""Sites that share a BFV key, without the set-up, and a server that can be told to lie."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tenseal.sealapi as seal
from tests.unit.protection.protection_cases import SITES, TERMS

from almoner.encryption.bfv_cipher import Coefficients, add_modulo
from almoner.encryption.bfv_key import BfvKey
from almoner.encryption.bfv_messages import SEED_BYTES, Encrypted, MessageForm
from almoner.encryption.bfv_parameters import COEFF_MODULUS
from almoner.encryption.bfv_rounds import BfvRounds
from almoner.encryption.packing import SLOTS
from almoner.encryption.seal_files import Workspace
from almoner.encryption.seal_frames import frames
from almoner.protection.agreement import Agreed
from almoner.protection.message import Kind
from almoner.protection.scheme import IntVector
from almoner.protection.set_up import JobKeys, JobTerms

KEY = BfvKey.generate()
TAG_KEY = bytes(range(32))
TRANSCRIPT = bytes(32)


def he_terms(dimension: int, **changes: object) -> JobTerms:
    return replace(TERMS, scheme="he", dimension=dimension, **changes)


def agreed(site: str, dimension: int, members: tuple[str, ...] = SITES, **changes: object) -> Agreed:
    terms = he_terms(dimension, **changes)
    return Agreed(terms, site, TRANSCRIPT, members, JobKeys.generate(), {}, TAG_KEY, KEY.to_bytes())


def rounds(site: str, dimension: int, **changes: object) -> BfvRounds:
    return BfvRounds(agreed(site, dimension, **changes))


def form_of(dimension: int) -> MessageForm:
    return MessageForm(dimension, len(SITES))


def send(values: dict[str, IntVector], number: int = 1) -> dict[str, Encrypted]:
    """Return what each site sends in a round."""
    sent = {}
    for site, vector in values.items():
        sender = rounds(site, vector.size)
        sender.begin(number)
        sent[site] = form_of(vector.size).read_addend(sender.protect(number, vector), site)
    return sent


def total_of(dimension: int, claimed: Sequence[str], parts: Sequence[Encrypted], count: int | None = None) -> bytes:
    """Return a total of any ciphertexts, said to be those of `claimed` sites; as many parts as claims."""
    first = np.zeros_like(parts[0].first)
    for part in parts:
        add_modulo(first, part.first.astype(np.uint64))
    return total_from(dimension, claimed, first, [bytes(part.seeds[0]) for part in parts], count)


def total_from(
    dimension: int, claimed: Sequence[str], first: Coefficients, seeds: Sequence[bytes], count: int | None = None
) -> bytes:
    form = form_of(dimension)
    by_site = dict(zip(claimed, seeds, strict=True))
    absent = bytes(form.num_chunks * SEED_BYTES)
    return form.write(
        Kind.TOTAL, len(claimed) if count is None else count, [first], [by_site.get(site, absent) for site in SITES]
    )


def expand(seed: bytes) -> Coefficients:
    """Return c1, as anybody can."""
    first = np.random.default_rng(0).integers(0, COEFF_MODULUS, SLOTS).tobytes()  # zeros would be compressed
    with Workspace() as work:
        cipher = work.load(seal.Ciphertext(), frames().fresh.wrap(first + seed), "seed")
        body = frames().total.strip(work.save(cipher))
    return np.frombuffer(body, dtype="<u8", offset=8 * SLOTS).astype(np.uint64)
