"""The first words of each site of a job: its keys for this job, signed with the key of its kit's certificate.

A set-up message is the digest of the job's terms (32 bytes), an X25519 key (32), an Ed25519 key (32) and a signature
by the certificate's key (256) over a label, the digest, the site and both keys. All of them together, with the
list of who is present, make the transcript T, which enters every later signature, key and sealed box of the job:
what belongs to another job, or to the same job among others, verifies nowhere.
"""

import math
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from almoner.errors import ProtocolError
from almoner.protection.hidden import Hidden
from almoner.protection.parties import Parties
from almoner.protection.scheme import VALUE_BOUND, check_dimension
from almoner.protection.signing import SIGNATURE_BYTES, sign, verify_with
from almoner.schema.base import canonical_json

DIGEST_BYTES = 32
KEY_BYTES = 32
ED25519_BYTES = 64
SET_UP_BYTES = DIGEST_BYTES + 2 * KEY_BYTES + SIGNATURE_BYTES
SIGNED_BYTES = SET_UP_BYTES - SIGNATURE_BYTES
"""What comes before the signature."""

SET_UP_LABEL = b"almoner-set-up-keys-1"
_TRANSCRIPT_LABEL = b"almoner-transcript-1"
_FIELD_PRIME = 2**255 - 19
_PROBE = X25519PrivateKey.from_private_bytes(bytes([1]) * KEY_BYTES)
"""Any private key finds points of low order; nothing is derived from this one."""


def statement(label: bytes, transcript: bytes, number: int, site: str, *parts: bytes) -> bytes:
    """Return the 32 bytes that are signed, or that bind a key, for one purpose.

    Args:
        label: one for each kind of message.
        transcript: T, or the digest of the terms before there is a T.
        number: the round, 0 at set-up.
        site: who says it.
        parts: what is said; each is hashed with its length.
    """
    fields = (label, transcript, number.to_bytes(8, "big"), site.encode(), *parts)
    said = b"".join(len(field).to_bytes(8, "big") + field for field in fields)
    return sha256(b"almoner-statement-1" + said).digest()


def names(sites: tuple[str, ...]) -> bytes:
    """Encode a list of sites so that no other list has the same bytes."""
    return canonical_json(list(sites))


def check_subset(chosen: tuple[str, ...], among: tuple[str, ...], least: int, what: str) -> None:
    """Check a list of sites that the server names.

    Raises:
        ProtocolError: a site is unknown, named twice or out of order, or there are fewer than `least`.
    """
    if tuple(site for site in among if site in set(chosen)) != chosen:
        raise ProtocolError(f"{what}: not sites of the job in its order, each once")
    if len(chosen) < least:
        raise ProtocolError(f"{what}: {len(chosen)} sites, at least {least} are needed")


class Terms(Protocol):
    """What all sites of a job must hold alike; what their keys are signed for."""

    def digest(self) -> bytes:
        """Return the SHA-256 of the terms, 32 bytes."""


@dataclass(frozen=True)
class JobTerms:
    """What all sites of a job must hold alike before they agree on keys; all of it public.

    Args:
        envelope_digest: SHA-256 of the job's envelope in hexadecimal.
        job_id: FLARE's.
        sites: all sites of the job in roster order.
        num_colluding_sites: c.
        declared: the public size of each site's data set, in the same order: what all divide sums by.
        min_sites: the job's own lower limit.
        dimension: d, entries of a vector.
        limit: largest absolute value of an entry, in grid steps; 0 where entries are modulo p (secret sharing alone).
        step: distance of two grid points.
        nonce: of the envelope.

    Raises:
        ProtocolError: no protection can keep these terms.
    """

    envelope_digest: str
    job_id: str
    scheme: Literal["he", "secagg"]
    sites: tuple[str, ...]
    declared: tuple[int, ...]
    num_colluding_sites: int
    min_sites: int
    dimension: int
    limit: int
    step: float
    nonce: str

    def __post_init__(self) -> None:
        self._parties()
        check_dimension(self.dimension)
        if len(set(self.sites)) != len(self.sites):
            raise ProtocolError("job terms: a site is named twice")
        if len(self.declared) != len(self.sites) or min(self.declared) < 1:
            raise ProtocolError("job terms: not one positive size for each site")
        if not 1 <= self.min_sites <= len(self.sites):
            raise ProtocolError(f"job terms: min_sites {self.min_sites} of {len(self.sites)} sites")
        least = 0 if self.scheme == "secagg" else 1
        if not least <= self.limit <= VALUE_BOUND or not 0 < self.step < math.inf:
            raise ProtocolError(f"job terms: limit {self.limit} or step {self.step} is out of range")

    def _parties(self) -> Parties:
        return Parties(len(self.sites), self.num_colluding_sites)

    @property
    def threshold(self) -> int:
        """t: fewer sites open nothing."""
        return self._parties().threshold

    @property
    def quorum(self) -> int:
        """How many sites every step needs: t, or `min_sites` if that is more."""
        return max(self.threshold, self.min_sites)

    def index(self, site: str) -> int:
        """Return a site's number among the sites of the job, from 1."""
        return self.sites.index(site) + 1

    def digest(self) -> bytes:
        """Return the SHA-256 of the terms."""
        fields = {
            "envelope": self.envelope_digest,
            "job": self.job_id,
            "scheme": self.scheme,
            "sites": list(self.sites),
            "declared": list(self.declared),
            "num_colluding_sites": self.num_colluding_sites,
            "threshold": self.threshold,
            "min_sites": self.min_sites,
            "dimension": self.dimension,
            "limit": self.limit,
            "step": float(self.step).hex(),
            "nonce": self.nonce,
        }
        return sha256(canonical_json({"almoner": "job-terms-v1", **fields})).digest()


@dataclass(frozen=True)
class PublicKeys:
    """A site's keys for one job.

    *Guarantee*: the X25519 key has its one encoding and is not of low order. An Ed25519 key under which anything
    verifies is not looked for: its owner could give the private key away as well.

    Args:
        exchange: X25519, 32 bytes.
        signing: Ed25519, 32 bytes.

    Raises:
        ProtocolError: a key is none that an honest site draws.
    """

    exchange: bytes
    signing: bytes

    def __post_init__(self) -> None:
        if len(self.signing) != KEY_BYTES:
            raise ProtocolError("the Ed25519 key has a wrong length")
        check_exchange_key(self.exchange)

    def verify(self, signature: bytes, stated: bytes, what: str) -> None:
        """Check an Ed25519 signature.

        Args:
            stated: what `statement` returned.
            what: what is signed and by whom, for the error.

        Raises:
            ProtocolError: the keys' owner did not sign it.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.signing).verify(signature, stated)
        except (InvalidSignature, ValueError):
            raise ProtocolError(f"{what}: the signature does not verify") from None


class JobKeys(Hidden):
    """A site's private keys for one job, in memory alone.

    Args:
        exchange: what secrets with other sites are made with.
        signing: what statements are signed with.
    """

    def __init__(self, exchange: X25519PrivateKey, signing: Ed25519PrivateKey) -> None:
        self.exchange = exchange
        self.secrets: dict[bytes, bytes] = {}  # by the peer's key: every box of a job derives from one exchange
        self._signing = signing
        public = exchange.public_key().public_bytes_raw(), signing.public_key().public_bytes_raw()
        self.public = PublicKeys(*public)

    @classmethod
    def generate(cls) -> "JobKeys":
        """Draw both keys."""
        return cls(X25519PrivateKey.generate(), Ed25519PrivateKey.generate())

    def sign(self, stated: bytes) -> bytes:
        """Sign what `statement` returned; 64 bytes."""
        return self._signing.sign(stated)


def check_exchange_key(key: bytes) -> None:
    """Check that a peer's X25519 key makes a secret.

    Raises:
        ProtocolError: wrong length, a second encoding of a point, or a point of low order (the "secret" is then zero).
    """
    exchange_secret(_PROBE, key)


def exchange_secret(private: X25519PrivateKey, key: bytes) -> bytes:
    """Return the X25519 secret with a peer's key.

    Raises:
        ProtocolError: as `check_exchange_key`.
    """
    if len(key) != KEY_BYTES or int.from_bytes(key, "little") >= _FIELD_PRIME:
        raise ProtocolError("the X25519 key is not encoded as it must be")
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:
        raise ProtocolError("the X25519 key is of low order") from None


def make_set_up(terms: Terms, site: str, keys: JobKeys, private_key_pem: bytes) -> bytes:
    """Return a site's set-up message.

    Args:
        private_key_pem: the key of the site's certificate.

    Raises:
        ProtocolError: the key is not RSA of 2048 bits.
    """
    public = keys.public
    signature = sign(private_key_pem, _stated(terms, site, public))
    if len(signature) != SIGNATURE_BYTES:
        raise ProtocolError("the kit's key is not an RSA key of 2048 bits")
    return terms.digest() + public.exchange + public.signing + signature


def read_set_up(message: bytes, terms: Terms, site: str, certificate_key: rsa.RSAPublicKey) -> PublicKeys:
    """Return the keys in a site's set-up message.

    Args:
        certificate_key: of the certificate that the roster pins for the site.

    Raises:
        ProtocolError: the message is malformed, of another job or other terms, or not signed by the site.
    """
    if len(message) != SET_UP_BYTES:
        raise ProtocolError(f"set-up of {site}: {len(message)} bytes, expected {SET_UP_BYTES}")
    if message[:DIGEST_BYTES] != terms.digest():
        raise ProtocolError(f"set-up of {site}: it is about other terms, or another job")
    keys = message[DIGEST_BYTES:SIGNED_BYTES]
    try:
        public = PublicKeys(keys[:KEY_BYTES], keys[KEY_BYTES:])
        verify_with(certificate_key, message[SIGNED_BYTES:], _stated(terms, site, public))
    except ProtocolError as error:
        raise ProtocolError(f"set-up of {site}: {error}") from None
    except InvalidSignature:
        raise ProtocolError(f"set-up of {site}: not signed with its certificate's key") from None
    return public


def transcript(terms: Terms, present: tuple[str, ...], messages: dict[str, bytes]) -> bytes:
    """Return T: the digest of the terms, of who is present, and of all their set-up messages.

    Args:
        present: P, in roster order.
        messages: the set-up message of each.
    """
    return statement(_TRANSCRIPT_LABEL, terms.digest(), 0, "", names(present), *(messages[site] for site in present))


def _stated(terms: Terms, site: str, public: PublicKeys) -> bytes:
    """Return what a set-up message's signature is over."""
    return statement(SET_UP_LABEL, terms.digest(), 0, site, public.exchange, public.signing)
