"""Sites that share a BFV key, without the set-up, and a server that can be told to lie."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
import tenseal.sealapi as seal
from tests.unit.protection.protection_cases import SITES, TERMS

from almoner.encryption.acknowledgements import Claim
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
from almoner.protection.set_up import ED25519_BYTES, JobKeys, JobTerms

KEY = BfvKey.generate()
JOB_KEYS = {site: JobKeys.generate() for site in SITES}
TAG_KEY = bytes(range(32))
TRANSCRIPT = bytes(32)


def he_terms(dimension: int, **changes: object) -> JobTerms:
    return replace(TERMS, scheme="he", dimension=dimension, **changes)


def agreed(site: str, dimension: int, members: tuple[str, ...] = SITES, **changes: object) -> Agreed:
    terms = he_terms(dimension, **changes)
    public = {name: keys.public for name, keys in JOB_KEYS.items()}
    return Agreed(terms, site, TRANSCRIPT, members, JOB_KEYS[site], public, TAG_KEY, KEY.to_bytes())


def rounds(site: str, dimension: int, number: int = 1, **changes: object) -> BfvRounds:
    """Return a site at the start of a round."""
    made = BfvRounds(agreed(site, dimension, **changes))
    made._number, made._opened = number, number - 1
    return made


def acknowledged(number: int, claimed: tuple[str, ...], total: bytes, signers: Sequence[str] = SITES) -> bytes:
    """Return a total with the signatures of sites that were shown it."""
    claim = Claim(number, claimed, sha256(total).digest())
    signed = {site: JOB_KEYS[site].sign(claim.stated(TRANSCRIPT, site)) for site in signers}
    return total + b"".join(signed.get(site, bytes(ED25519_BYTES)) for site in SITES)


def open_total(site: BfvRounds, number: int, claimed: tuple[str, ...], total: bytes) -> IntVector:
    """Have a site acknowledge a total, as all others do, and open it."""
    site.acknowledge(number, claimed, sha256(total).digest())
    return site.open(number, claimed, acknowledged(number, claimed, total))


def form_of(dimension: int) -> MessageForm:
    return MessageForm(dimension, len(SITES))


def send(values: dict[str, IntVector], number: int = 1) -> dict[str, Encrypted]:
    """Return what each site sends in a round."""
    sent = {}
    for site, vector in values.items():
        sender = rounds(site, vector.size, number)
        sent[site] = form_of(vector.size).read_addend(sender.protect(number, vector), site)
    return sent


def total_of(dimension: int, claimed: Sequence[str], parts: Sequence[Encrypted], count: int | None = None) -> bytes:
    """Return a total, unsigned, of any ciphertexts, said to be of `claimed` sites; as many parts as claims."""
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
