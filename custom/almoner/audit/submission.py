"""The submitted job as the server stored it: FLARE's zip of the signed folder, read and checked without FLARE.

FLARE signs each file of each folder with the submitter's key, RSA-PSS with the longest salt that fits, and puts the
signatures and the submitter's certificate into the folder.
"""

import base64
import io
import lzma
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from almoner.audit import parts as names
from almoner.audit.authority import Party, Root, subject_text
from almoner.audit.strict_json import parse_json
from almoner.errors import EvidenceError
from almoner.schema.base import canonical_json, digest
from almoner.schema.envelope import AnyJob, AnyJobSpec

MAX_FILES, MAX_BYTES = 64, 4_000_000
_SIGNATURES, _CERTIFICATE = ".__nvfl_sig.json", ".__nvfl_submitter.crt"
ENVELOPE_FILE = "app/config/almoner_job.json"
"""The envelope, in a job's folder."""

_PADDING = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)
_DECODING_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
_ZIP_ERRORS = (*_DECODING_ERRORS, LookupError, OSError, OverflowError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Submission:
    """A job as somebody submitted it.

    Args:
        envelope: the job's envelope, as read.
        submitter: who signed every file.
        certificate_pem: the submitter's certificate.
    """

    envelope: dict[str, Any]
    submitter: Party
    certificate_pem: bytes

    @property
    def envelope_digest(self) -> str:
        """The digest by which sites name the submission."""
        return digest(self.envelope)

    def spec(self) -> AnyJobSpec:
        """Return the spec of the job.

        Raises:
            EvidenceError: no job can have had it.
        """
        try:
            return AnyJob.model_validate_json(canonical_json(self.envelope["spec"])).root
        except ValidationError:
            raise EvidenceError(f"{names.SUBMISSION}: its spec is not that of a job of this release") from None

    def claim(self) -> dict[str, Any]:
        """Return who submitted what, for a run manifest."""
        certificate = self.submitter.certificate
        return {
            "submitter": self.submitter.name,
            "submitter_organisation": subject_text(certificate, NameOID.ORGANIZATION_NAME),
            "submitter_role": subject_text(certificate, NameOID.UNSTRUCTURED_NAME),
            "envelope_digest": self.envelope_digest,
            "spec": self.envelope["spec"],
            "sites": self.envelope["sites"],
            "almoner_version": self.envelope["almoner_version"],
        }


def read_submission(data: bytes, root: Root, where: str) -> Submission:
    """Read a submission out of FLARE's zip; see `submission_of`.

    Raises:
        EvidenceError: it cannot be read, or a file is not signed.
    """
    return submission_of(_unzip(data, where), root, where)


def submission_of(files: Mapping[str, bytes], root: Root, where: str) -> Submission:
    """Read a submission out of its files.

    *Guarantee*: one certificate, issued by the root, signed every file of it.

    Args:
        files: by path, which begins with the job's folder.

    Raises:
        EvidenceError: it is not a submission, or a file is not signed.
    """
    signed = [path for path in files if PurePosixPath(path).name not in (_SIGNATURES, _CERTIFICATE)]
    certificates = {files.get(_beside(path, _CERTIFICATE), b"") for path in signed}
    if len(certificates) != 1:
        raise EvidenceError(f"{where}: not signed by one submitter")
    pem = certificates.pop()
    party = root.party(pem, None, f"{where}: the submitter's certificate")
    for path in signed:
        _verify_file(path, files, party.key, where)
    place = PurePosixPath(ENVELOPE_FILE)
    envelopes = [path for path in signed if PurePosixPath(*PurePosixPath(path).parts[1:]) == place]
    if len(envelopes) != 1:
        raise EvidenceError(f"{where}: has no {ENVELOPE_FILE}")
    envelope = parse_json(files[envelopes[0]], where)
    sites = envelope.get("sites")
    named = isinstance(sites, list) and all(isinstance(site, str) for site in sites)
    if not named or not isinstance(envelope.get("spec"), dict) or "almoner_version" not in envelope:
        raise EvidenceError(f"{where}: {ENVELOPE_FILE} is not an envelope of a job")
    return Submission(envelope, party, pem)


def _beside(path: str, name: str) -> str:
    """Return the path of a file in the folder of another."""
    return str(PurePosixPath(path).parent / name)


def _verify_file(path: str, files: Mapping[str, bytes], key: rsa.RSAPublicKey, where: str) -> None:
    """Check the signature of one file."""
    signatures = parse_json(files.get(_beside(path, _SIGNATURES), b""), f"{where}: {_SIGNATURES}")
    try:
        signature = base64.b64decode(str(signatures.get(PurePosixPath(path).name, "")))
        key.verify(signature, files[path], _PADDING, hashes.SHA256())
    except (InvalidSignature, ValueError):
        raise EvidenceError(f"{where}: {PurePosixPath(path).name} is not signed by its submitter") from None


def _unzip(data: bytes, where: str) -> dict[str, bytes]:
    """Return the files of a zip by path."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > MAX_FILES or sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise EvidenceError(f"{where}: larger than any job of this platform")
            if len({entry.filename for entry in entries}) != len(entries):
                raise EvidenceError(f"{where}: a file stands in it twice")
            return {entry.filename: archive.read(entry) for entry in entries}
    except _ZIP_ERRORS:
        raise EvidenceError(f"{where}: not a readable zip") from None
