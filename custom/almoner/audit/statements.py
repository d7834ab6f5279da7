"""in-toto statements in DSSE envelopes, signed with the keys of the kits.

An envelope has exactly one signature and exactly one spelling (canonical JSON), so that no byte of it is without
meaning. Signatures are those of `protection.signing`: RSA-PSS with 32 bytes of salt, over DSSE's encoding, which no
other statement of this package and no signature of FLARE's begins with.

Reference: in-toto Attestation Framework, Statement v1; DSSE v1.0.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as DsseError
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature, Signer

from almoner.audit.authority import Party
from almoner.audit.strict_json import parse_json
from almoner.errors import EvidenceError
from almoner.protection.signing import sign, verify_with
from almoner.schema.base import canonical_json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
SUFFIX = ".dsse.json"
"""How the names of parts end that are envelopes."""


@dataclass(frozen=True)
class Statement:
    """What somebody states about files.

    Args:
        subjects: SHA-256 by name of the part that the statement is about; at least one.
        predicate_type: what kind of statement, a URI.
        predicate: what is stated, plain JSON.
    """

    subjects: Mapping[str, str]
    predicate_type: str
    predicate: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return the payload."""
        listed = [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(self.subjects.items())]
        fields = {"predicateType": self.predicate_type, "predicate": self.predicate}
        return canonical_json({"_type": STATEMENT_TYPE, "subject": listed, **fields})

    @classmethod
    def from_bytes(cls, payload: bytes, where: str) -> "Statement":
        """Read a payload.

        Raises:
            EvidenceError: it is no statement, or not in its one spelling.
        """
        value = parse_json(payload, where)
        try:
            subjects = {str(subject["name"]): str(subject["digest"]["sha256"]) for subject in value["subject"]}
            statement = cls(subjects, value["predicateType"], value["predicate"])
            if subjects and isinstance(statement.predicate, dict) and statement.to_bytes() == payload:
                return statement
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        raise EvidenceError(f"{where}: not an in-toto statement in canonical JSON")


class KitSigner(Signer):
    """Signs envelopes with a kit's key."""

    def __init__(self, party: Party, private_key_pem: bytes) -> None:
        self._party, self._private_key_pem = party, private_key_pem

    @property
    def party(self) -> Party:
        """Who signs."""
        return self._party

    @property
    def public_key(self) -> Key:
        """The key that verifies."""
        return KitKey(self._party)

    def sign(self, payload: bytes) -> Signature:
        """Sign DSSE's encoding of an envelope."""
        return Signature(self._party.key_id, sign(self._private_key_pem, payload).hex())

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: object = None) -> NoReturn:
        """Keys come from kits alone."""
        raise NotImplementedError


class KitKey(Key):
    """A party's key, as envelopes are verified with it."""

    def __init__(self, party: Party) -> None:
        super().__init__(party.key_id, "rsa", "rsassa-pss-sha256", {})
        self._key = party.key

    @classmethod
    def from_dict(cls, keyid: str, key_dict: dict[str, Any]) -> NoReturn:
        """Keys come from certificates alone."""
        raise NotImplementedError

    def to_dict(self) -> NoReturn:
        """Keys are shown as certificates alone."""
        raise NotImplementedError

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        """Check a signature; raises UnverifiedSignatureError."""
        try:
            verify_with(self._key, bytes.fromhex(signature.signature), data)
        except (InvalidSignature, ValueError):
            raise UnverifiedSignatureError(f"not signed by {self.keyid}") from None


def sign_statement(statement: Statement, signer: KitSigner) -> bytes:
    """Return a statement's envelope."""
    envelope = Envelope(statement.to_bytes(), PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return canonical_json(envelope.to_dict())


def open_statement(data: bytes, party: Party, where: str) -> Statement:
    """Return an envelope's statement.

    *Guarantee*: the party signed it, nobody else did, and there is no other byte in the envelope.

    Raises:
        EvidenceError: naming the part.
    """
    try:
        envelope = Envelope.from_dict(json.loads(data))
        canonical = canonical_json(envelope.to_dict()) == data and envelope.payload_type == PAYLOAD_TYPE
    except (DsseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        canonical = False
    if not canonical:
        raise EvidenceError(f"{where}: not a DSSE envelope of an in-toto statement")
    if set(envelope.signatures) != {party.key_id}:
        raise EvidenceError(f"{where}: not signed by {party.name} alone")
    try:
        envelope.verify([KitKey(party)], 1)
    except DsseError:
        raise EvidenceError(f"{where}: the signature of {party.name} does not verify") from None
    return Statement.from_bytes(envelope.payload, where)


def digests_of(parts: Mapping[str, bytes], *names: str) -> dict[str, str]:
    """Return the SHA-256 of some parts by name, as a statement's subjects."""
    return {name: hashlib.sha256(parts[name]).hexdigest() for name in names}


def require_subjects(statement: Statement, parts: Mapping[str, bytes], where: str) -> None:
    """Check that a statement is about the parts as they are.

    Raises:
        EvidenceError: a part is missing, or is not the one that was signed.
    """
    for name, digest in statement.subjects.items():
        if name not in parts:
            raise EvidenceError(f"{name}: missing; {where} is about it")
        if hashlib.sha256(parts[name]).hexdigest() != digest:
            raise EvidenceError(f"{name}: not the one that {where} was signed for")
