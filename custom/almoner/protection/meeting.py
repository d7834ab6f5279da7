"""The messages of the agreement on keys, as pure functions that sites and server share.

confirmation   Ed25519 signature (64) ‖ one slot (48) a site of the job with a box of s_u ‖ dealt secret (HE's dealer
               alone: AES-GCM under a key made from the dealer's s_u). Zeros for the sender itself and absent sites.
agreement      digest (32) of who is in and what is shared ‖ Ed25519 signature (64)

s_u is 32 random bytes of site u. The tag key K_tag is made from the s_u of all who are in; the server sees none of
them. Because AES-GCM does not commit to its key, what a box held counts only once all have signed one digest of it.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from almoner.errors import ProtocolError
from almoner.protection.boxes import BOX_OVERHEAD, Address, BoxKey, box_key, derive
from almoner.protection.set_up import (
    DIGEST_BYTES,
    ED25519_BYTES,
    JobKeys,
    JobTerms,
    PublicKeys,
    names,
    read_set_up,
    statement,
    transcript,
)

SHARE_BYTES = 32
SLOT_BYTES = SHARE_BYTES + BOX_OVERHEAD
AGREEMENT_BYTES = DIGEST_BYTES + ED25519_BYTES
_SHARE_LABEL = b"almoner-set-up-share-1"
_CONFIRM_LABEL = b"almoner-set-up-confirm-1"
_DEALT_LABEL = b"almoner-set-up-dealt-1"
_TAG_KEY_LABEL = b"almoner-tag-key-1"
_SHARED_LABEL = b"almoner-set-up-shared-1"
_AGREE_LABEL = b"almoner-set-up-agree-1"


@dataclass(frozen=True)
class Meeting:
    """What stands once everybody present has shown its keys; all of it public.

    Args:
        present: P, in roster order.
        public_keys: of each site of P.
        transcript: T.
        dealt_bytes: length of the secret that the first site of P deals; 0 for none.
    """

    terms: JobTerms
    present: tuple[str, ...]
    public_keys: dict[str, PublicKeys]
    transcript: bytes
    dealt_bytes: int

    @property
    def dealer(self) -> str | None:
        """The site that deals the job's secret."""
        return self.present[0] if self.dealt_bytes else None

    def confirmation_bytes(self, site: str) -> int:
        """Return the length of a site's confirmation."""
        return confirmation_bytes(self.terms, self.dealt_bytes, site == self.dealer)


def confirmation_bytes(terms: JobTerms, dealt_bytes: int, is_dealer: bool) -> int:
    """Return the length of a confirmation."""
    payload = dealt_bytes + BOX_OVERHEAD if is_dealer and dealt_bytes else 0
    return ED25519_BYTES + SLOT_BYTES * len(terms.sites) + payload


def meet(
    terms: JobTerms,
    present: tuple[str, ...],
    messages: dict[str, bytes],
    certificate_keys: dict[str, rsa.RSAPublicKey],
    dealt_bytes: int,
) -> Meeting:
    """Read all set-up messages.

    Raises:
        ProtocolError: one is malformed, not its site's, of another job, or two show one key.
    """
    keys = {site: read_set_up(messages[site], terms, site, certificate_keys[site]) for site in present}
    shown = [key for public in keys.values() for key in (public.exchange, public.signing)]
    if len(set(shown)) != len(shown):
        raise ProtocolError("set-up: one key is shown twice")
    return Meeting(terms, present, keys, transcript(terms, present, messages), dealt_bytes)


def split_body(body: bytes, lengths: dict[str, int], what: str) -> dict[str, bytes]:
    """Cut a body into the parts of sites.

    Args:
        lengths: of each site's part, in order.

    Raises:
        ProtocolError: the body has another length.
    """
    if len(body) != sum(lengths.values()):
        raise ProtocolError(f"{what}: {len(body)} bytes, expected {sum(lengths.values())}")
    parts, start = {}, 0
    for site, length in lengths.items():
        parts[site] = body[start : start + length]
        start += length
    return parts


def make_confirmation(meeting: Meeting, site: str, keys: JobKeys, share: bytes, dealt: bytes) -> bytes:
    """Return a site's confirmation; once a job, since it seals boxes.

    Args:
        share: s_u.
        dealt: the job's secret if this site deals it, else b"".
    """
    content = b""
    for peer in meeting.terms.sites:
        if peer == site or peer not in meeting.public_keys:
            content += bytes(SLOT_BYTES)
        else:
            content += _slot_key(meeting, keys, peer, site, peer).seal(share)
    if site == meeting.dealer:
        content += _dealt_key(meeting, share).seal(dealt)
    return keys.sign(_confirmed(meeting, site, content)) + content


def verify_confirmation(meeting: Meeting, site: str, message: bytes) -> None:
    """Check a confirmation's length, and its signature under this very transcript.

    Raises:
        ProtocolError: it does not fit.
    """
    if len(message) != meeting.confirmation_bytes(site):
        raise ProtocolError(f"confirmation of {site}: {len(message)} bytes")
    content = message[ED25519_BYTES:]
    stated = _confirmed(meeting, site, content)
    meeting.public_keys[site].verify(message[:ED25519_BYTES], stated, f"confirmation of {site}")


def open_share(meeting: Meeting, sender: str, message: bytes, receiver: str, keys: JobKeys) -> bytes:
    """Return the sender's s_u out of its verified confirmation.

    Raises:
        ProtocolError: the box does not open.
    """
    start = ED25519_BYTES + SLOT_BYTES * (meeting.terms.index(receiver) - 1)
    return _slot_key(meeting, keys, sender, sender, receiver).unseal(message[start : start + SLOT_BYTES])


def open_dealt(meeting: Meeting, message: bytes, share: bytes) -> bytes:
    """Return the dealt secret out of the dealer's verified confirmation.

    Args:
        share: the dealer's s_u.

    Raises:
        ProtocolError: it does not open.
    """
    start = ED25519_BYTES + SLOT_BYTES * len(meeting.terms.sites)
    return _dealt_key(meeting, share).unseal(message[start:])


def make_tag_key(meeting: Meeting, members: tuple[str, ...], shares: dict[str, bytes]) -> bytes:
    """Return K_tag, 32 bytes from the s_u of all members; unknown to the server unless a member tells it."""
    secret = b"".join(shares[site] for site in members)
    return derive(secret, _TAG_KEY_LABEL, meeting.transcript, 0, "", names(members))


def shared_digest(meeting: Meeting, members: tuple[str, ...], tag_key: bytes, dealt: bytes) -> bytes:
    """Return the digest of who is in and what they share, the same at every site that was told the same.

    It is over both secrets at once, and K_tag cannot be guessed, so it confirms no guess of the dealt secret.
    """
    return statement(_SHARED_LABEL, meeting.transcript, 0, "", names(members), tag_key, dealt)


def make_agreement(meeting: Meeting, site: str, keys: JobKeys, digest: bytes) -> bytes:
    """Return a site's signed word on the digest."""
    return digest + keys.sign(statement(_AGREE_LABEL, meeting.transcript, 0, site, digest))


def read_agreement(meeting: Meeting, site: str, message: bytes) -> bytes:
    """Return the digest that a site signed.

    Raises:
        ProtocolError: malformed, or not signed by it for this job.
    """
    if len(message) != AGREEMENT_BYTES:
        raise ProtocolError(f"agreement of {site}: {len(message)} bytes")
    digest, signature = message[:DIGEST_BYTES], message[DIGEST_BYTES:]
    stated = statement(_AGREE_LABEL, meeting.transcript, 0, site, digest)
    meeting.public_keys[site].verify(signature, stated, f"agreement of {site}")
    return digest


def _slot_key(meeting: Meeting, keys: JobKeys, peer: str, sender: str, receiver: str) -> BoxKey:
    """Return the key of the box with the sender's s_u."""
    address = Address(_SHARE_LABEL, 0, sender, receiver)
    return box_key(keys, meeting.public_keys[peer], meeting.transcript, address)


def _dealt_key(meeting: Meeting, share: bytes) -> BoxKey:
    """Return the key under which the dealer's secret goes to all who have its s_u."""
    dealer = meeting.present[0]
    raw = derive(share, _DEALT_LABEL, meeting.transcript, 0, dealer)
    return BoxKey(raw, meeting.transcript, Address(_DEALT_LABEL, 0, dealer, "all"))


def _confirmed(meeting: Meeting, site: str, content: bytes) -> bytes:
    """Return what a confirmation's signature is over."""
    return statement(_CONFIRM_LABEL, meeting.transcript, 0, site, content)
