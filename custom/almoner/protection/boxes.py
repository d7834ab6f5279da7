"""Sealed boxes from one site to another, which the server carries and cannot open.

The key of a box is HKDF-SHA256 of the X25519 secret of sender and receiver, salted with the transcript T; what it is
for (label, round, sender, receiver) enters the derivation and AES-256-GCM's associated data. So every box has a key
of its own, and the nonce is all zeros: *a key seals one box only*. A resend is the same bytes, never a box anew.

*Guarantee*: a box opens only with the key of its address in its job; moved to another sender, receiver, round, kind
of message or job, it is refused.

AES-GCM does not commit to its key: who *made* a box could have made it open under two keys, to two contents. Where
that matters, what is inside is bound by a commitment or a digest that all sign. For a box made honestly, nobody
finds a second key that opens it.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from almoner.errors import ProtocolError
from almoner.protection.hidden import Hidden
from almoner.protection.set_up import KEY_BYTES, JobKeys, PublicKeys, exchange_secret, statement

BOX_OVERHEAD = 16
"""By how much a box is longer than what is in it."""

_NONCE = bytes(12)


@dataclass(frozen=True)
class Address:
    """What a box is, and between whom.

    Args:
        label: the kind of message.
        number: the round, 0 at set-up.
    """

    label: bytes
    number: int
    sender: str
    receiver: str

    def bound(self, transcript: bytes) -> bytes:
        """Return the 32 bytes that stand for this address in a job."""
        return statement(self.label, transcript, self.number, self.sender, self.receiver.encode())


class BoxKey(Hidden):
    """The key of exactly one box.

    Args:
        raw: 32 bytes.
        transcript: T.
        address: of the box.
    """

    def __init__(self, raw: bytes, transcript: bytes, address: Address) -> None:
        self.raw = raw
        self._bound = address.bound(transcript)
        self._where = f"box of {address.sender} for {address.receiver}"

    def seal(self, content: bytes) -> bytes:
        """Return the box; for one content only."""
        return AESGCM(self.raw).encrypt(_NONCE, content, self._bound)

    def unseal(self, box: bytes) -> bytes:
        """Return what is in the box.

        Raises:
            ProtocolError: it was not sealed with this key for this address, or was changed.
        """
        try:
            return AESGCM(self.raw).decrypt(_NONCE, box, self._bound)
        except InvalidTag:
            raise ProtocolError(f"{self._where}: it does not open") from None


def shared_secret(private: X25519PrivateKey, peer: bytes, what: str) -> bytes:
    """Return the X25519 secret with a peer.

    Args:
        peer: the peer's public key, 32 bytes.
        what: whose key it is, for the error.

    Raises:
        ProtocolError: the key is malformed or of low order.
    """
    try:
        return exchange_secret(private, peer)
    except ProtocolError as error:
        raise ProtocolError(f"{what}: {error}") from None


def derive(secret: bytes, label: bytes, transcript: bytes, number: int, site: str, *parts: bytes) -> bytes:
    """Return a key of 32 bytes for one purpose: HKDF-SHA256, salted with T.

    Args:
        secret: high-entropy bytes.
        label, transcript, number, site, parts: the purpose, as for `statement`.

    Reference: RFC 5869.
    """
    info = statement(label, transcript, number, site, *parts)
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=transcript, info=info).derive(secret)


def box_key(keys: JobKeys, peer: PublicKeys, transcript: bytes, address: Address) -> BoxKey:
    """Return the key of a box between the owner of `keys` and a peer; both get the same.

    Raises:
        ProtocolError: the peer's key makes no secret.
    """
    if peer.exchange not in keys.secrets:
        keys.secrets[peer.exchange] = shared_secret(keys.exchange, peer.exchange, f"key for {address.receiver}")
    secret = keys.secrets[peer.exchange]
    receiver = address.receiver.encode()
    raw = derive(secret, address.label, transcript, address.number, address.sender, receiver)
    return BoxKey(raw, transcript, address)
