"""Which site is in which group: drawn by all sites of a study together, as pure functions that sites and server share.

commitment   epoch (4) ‖ H(secret) (32) ‖ RSA signature (256)      by each site, before any secret is known
list         L = H(all commitments)                                what a disclosure is about
disclosure   secret (32) ‖ RSA signature (256) over L and secret   by each site, for one L ever
groups       sites ordered by H(seed, site) and cut into m parts; seed = H(L, all secrets)

*Guarantee*: honest sites that reach a result reach the same one: each has the disclosures of all over its own list, an
honest site signs one list only, and a commitment opens to one secret. With one honest site, nobody can tell the
result before every secret is committed to. Who discloses last can withhold, and choose between this result and none.

All of it is bound to the study, its sites and their certificates, the number of groups and the epoch, and to no job:
the same draw serves every job of the study. Certificates sign, since it outlives the keys of a job.
"""

from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa

from almoner.errors import ProtocolError
from almoner.protection.set_up import DIGEST_BYTES, statement
from almoner.protection.signing import SIGNATURE_BYTES, sign, verify_with
from almoner.schema.base import canonical_json

SECRET_BYTES = 32
EPOCH_BYTES = 4
COMMITMENT_BYTES = EPOCH_BYTES + DIGEST_BYTES + SIGNATURE_BYTES
DISCLOSURE_BYTES = SECRET_BYTES + SIGNATURE_BYTES
_SECRET_LABEL = b"almoner-draw-secret-1"
_COMMIT_LABEL = b"almoner-draw-commitment-1"
_LIST_LABEL = b"almoner-draw-list-1"
_DISCLOSE_LABEL = b"almoner-draw-disclosure-1"
_SEED_LABEL = b"almoner-draw-seed-1"

Groups = tuple[tuple[str, ...], ...]
"""The sites of each group, in roster order."""

CertificateKeys = dict[str, rsa.RSAPublicKey]


@dataclass(frozen=True)
class DrawTerms:
    """What is drawn; all sites of a study must hold it alike.

    Args:
        sites: all sites of the study, in roster order.
        certificates: SHA-256 of the certificate of each, hexadecimal.
        group_sizes: how many sites each group has.
        epoch: 1, and one more each time that the sites' data officers approved a new draw.
    """

    study: str
    sites: tuple[str, ...]
    certificates: tuple[str, ...]
    group_sizes: tuple[int, ...]
    epoch: int

    def __post_init__(self) -> None:
        if sum(self.group_sizes) != len(self.sites) or len(self.certificates) != len(self.sites):
            raise ProtocolError("draw: the groups are not of all sites: report this")

    def digest(self) -> bytes:
        """Return what every statement of the draw is bound to, but for the epoch."""
        fields = [self.study, list(self.sites), list(self.certificates), list(self.group_sizes)]
        return sha256(canonical_json(["almoner-draw-1", *fields])).digest()

    def stated(self, label: bytes, site: str, *parts: bytes) -> bytes:
        """Return the bytes that stand for a statement of this draw."""
        return statement(label, self.digest(), self.epoch, site, *parts)


def commit(terms: DrawTerms, site: str, secret: bytes, private_key_pem: bytes) -> bytes:
    """Return a site's signed commitment to its secret; it hides the secret, which has 256 bits of entropy.

    Raises:
        ProtocolError: the site's key is not RSA of 2048 bits.
    """
    commitment = terms.stated(_SECRET_LABEL, site, secret)
    signature = _sign(private_key_pem, terms.stated(_COMMIT_LABEL, site, commitment))
    return terms.epoch.to_bytes(EPOCH_BYTES, "big") + commitment + signature


def epoch_of(commitment: bytes) -> int:
    """Return the epoch that a commitment names."""
    return int.from_bytes(commitment[:EPOCH_BYTES], "big")


def verify_commitment(terms: DrawTerms, site: str, said: bytes, key: rsa.RSAPublicKey) -> None:
    """Check a commitment.

    Raises:
        ProtocolError: it is of another draw or epoch, or not signed by the site.
    """
    if len(said) != COMMITMENT_BYTES or epoch_of(said) != terms.epoch:
        raise ProtocolError(f"draw: the commitment of {site} is not one of epoch {terms.epoch}")
    stated = terms.stated(_COMMIT_LABEL, site, _committed(said))
    _verify(key, said[-SIGNATURE_BYTES:], stated, f"the commitment of {site}")


def list_digest(terms: DrawTerms, commitments: dict[str, bytes]) -> bytes:
    """Return L, of the commitments of all sites in roster order; signatures differ each time, and are left out."""
    return terms.stated(_LIST_LABEL, "", *(_committed(commitments[site]) for site in terms.sites))


def disclose(terms: DrawTerms, site: str, secret: bytes, listed: bytes, private_key_pem: bytes) -> bytes:
    """Return a site's signed secret.

    Args:
        listed: L.

    Raises:
        ProtocolError: as `commit`.
    """
    return secret + _sign(private_key_pem, terms.stated(_DISCLOSE_LABEL, site, listed, secret))


def verify_disclosure(
    terms: DrawTerms, site: str, said: bytes, commitments: dict[str, bytes], key: rsa.RSAPublicKey
) -> None:
    """Check a disclosure.

    Args:
        commitments: of all sites, as they are held here.

    Raises:
        ProtocolError: it is not what the site committed to, or the site saw another list of commitments.
    """
    secret, signature = said[:SECRET_BYTES], said[SECRET_BYTES:]
    if len(said) != DISCLOSURE_BYTES or terms.stated(_SECRET_LABEL, site, secret) != _committed(commitments[site]):
        raise ProtocolError(f"draw: {site} disclosed what it did not commit to")
    stated = terms.stated(_DISCLOSE_LABEL, site, list_digest(terms, commitments), secret)
    _verify(key, signature, stated, f"the disclosure of {site}, over this list of commitments,")


def assign(terms: DrawTerms, commitments: dict[str, bytes], disclosures: dict[str, bytes]) -> Groups:
    """Return the groups; each way to fill them is as likely as another.

    Args:
        commitments, disclosures: of all sites, verified.
    """
    secrets = (disclosures[site][:SECRET_BYTES] for site in terms.sites)
    seed = terms.stated(_SEED_LABEL, "", list_digest(terms, commitments), *secrets)
    drawn = sorted(terms.sites, key=lambda site: sha256(seed + site.encode()).digest())
    ends = [sum(terms.group_sizes[: place + 1]) for place in range(len(terms.group_sizes))]
    parts = (set(drawn[end - size : end]) for end, size in zip(ends, terms.group_sizes, strict=True))
    return tuple(tuple(site for site in terms.sites if site in part) for part in parts)


def draw_approval_digest(terms: DrawTerms) -> str:
    """Return what a data officer signs to approve a new draw; it is the digest of no job."""
    return sha256(canonical_json(["almoner-draw-approval-1", terms.digest().hex(), terms.epoch])).hexdigest()


def groups_digest(terms: DrawTerms, groups: Groups) -> bytes:
    """Return the SHA-256 that stands for a result."""
    return sha256(canonical_json([terms.digest().hex(), terms.epoch, [list(group) for group in groups]])).digest()


def pack(sites: tuple[str, ...], parts: dict[str, bytes], size: int) -> bytes:
    """Return one slot a site: its part, or zeros."""
    return b"".join(parts.get(site, bytes(size)) for site in sites)


def unpack(sites: tuple[str, ...], body: bytes, size: int) -> dict[str, bytes]:
    """Return the parts in a body, without empty slots.

    Raises:
        ProtocolError: wrong length.
    """
    if len(body) != size * len(sites):
        raise ProtocolError(f"draw: {len(body)} bytes for {len(sites)} sites: cut or padded")
    slots = {site: body[place * size : (place + 1) * size] for place, site in enumerate(sites)}
    return {site: slot for site, slot in slots.items() if slot != bytes(size)}


def _committed(said: bytes) -> bytes:
    """Return the hash in a commitment."""
    return said[EPOCH_BYTES : EPOCH_BYTES + DIGEST_BYTES]


def _sign(private_key_pem: bytes, stated: bytes) -> bytes:
    """Sign with the certificate's key."""
    signature = sign(private_key_pem, stated)
    if len(signature) != SIGNATURE_BYTES:
        raise ProtocolError("the kit's key is not an RSA key of 2048 bits")
    return signature


def _verify(key: rsa.RSAPublicKey, signature: bytes, stated: bytes, what: str) -> None:
    """Check a signature."""
    try:
        verify_with(key, signature, stated)
    except InvalidSignature:
        raise ProtocolError(f"draw: {what} is not signed with the site's certificate's key") from None
