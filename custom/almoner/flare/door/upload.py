"""Reads a submitted app out of its zip, bounded in every way, and says who signed it.

FLARE signs each folder of the app with the submitter's certificate and zips the result. Nothing is
unpacked before names and sizes are checked; what is unpacked goes into a private temporary folder, for
FLARE's own signature verification, and is removed again.
"""

import io
import lzma
import tempfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nvflare.lighter.tool_consts import NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE
from nvflare.lighter.utils import verify_folder_signature_and_get_signers

from almoner.admission.request import Submitter
from almoner.admission.user_certificates import Trust, verify_user
from almoner.errors import PolicyViolation
from almoner.schema.revocation import Revocations

MAX_FILES = 64
MAX_UNPACKED_BYTES = 4_000_000
_SIGNATURE_FILES = frozenset({NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE})
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises on garbage."""


@dataclass(frozen=True)
class SignedApp:
    """A submitted app: its files by path, signature files left out, and its one verified signer."""

    files: dict[str, bytes]
    signer: Submitter


def _read_zip(data: bytes) -> dict[str, bytes]:
    """Return the zip's files by path, after checking names and declared sizes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = _bounded_entries(archive)
            files: dict[str, bytes] = {}
            for entry in entries:
                path = PurePosixPath(entry.filename)
                if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or str(path) in files:
                    raise PolicyViolation(f"the app has a file with an unusable name ({entry.filename[:80]!r})")
                with archive.open(entry) as stream:
                    files[str(path)] = stream.read(MAX_UNPACKED_BYTES)
            return files
    except _ZIP_ERRORS:
        raise PolicyViolation("the app is not a readable zip") from None


def _bounded_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files of a zip; raise if they are more, or larger, than any job's."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MAX_FILES or sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise PolicyViolation("the app is larger than any job this platform renders")
    return entries


def verify_upload_bounds(content: str | bytes) -> None:
    """Check that what somebody submits is no larger than any job, before the server stores it and FLARE unzips it.

    Args:
        content: the zip, or its path.

    Raises:
        PolicyViolation: it has more files, or larger ones, or is no zip. What a zip declares is all that it can yield.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content) as archive:
            _bounded_entries(archive)
    except _ZIP_ERRORS:
        raise PolicyViolation("the job is not a readable zip") from None


def _unpack(files: dict[str, bytes], folder: Path) -> None:
    """Write the files into an empty folder."""
    try:
        for name, content in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except OSError:
        raise PolicyViolation("the app has files whose names do not fit into one folder") from None


def read_signed_app(data: bytes, root_ca: Path, revoked: Revocations) -> SignedApp:
    """Read an app and verify its signatures against the consortium's root.

    *Guarantee*: on return, all files were signed with certificates of one user that count now; see `verify_user`.

    Args:
        data: the zip, as FLARE deploys it.
        root_ca: the root certificate of this site's kit.
        revoked: what the site's policy and its floor revoke.

    Raises:
        PolicyViolation: the zip is unusable, the app is unsigned, a signature does not verify, or the
            folders were signed by different users.
        CertificateRefused: the signer's certificate does not count.
    """
    files = _read_zip(data)
    if NVFLARE_SIG_FILE not in files:
        raise PolicyViolation("the app is not signed")
    with tempfile.TemporaryDirectory(prefix="almoner-app-") as folder:
        _unpack(files, Path(folder))
        verified, signers = verify_folder_signature_and_get_signers(folder, str(root_ca))
    if not verified:
        raise PolicyViolation("a file of the app was changed after it was signed")
    if len(signers) != 1:
        raise PolicyViolation("the app's folders have different signers")
    trust = Trust(root_ca.read_bytes(), revoked)
    for path, content in files.items():
        if PurePosixPath(path).name == NVFLARE_SUBMITTER_CRT_FILE:
            verify_user(content, "the submitter's certificate", trust, time.time())
    name, org, role = next(iter(signers))
    unsigned = {path: content for path, content in files.items() if PurePosixPath(path).name not in _SIGNATURE_FILES}
    return SignedApp(files=unsigned, signer=Submitter(name=name, org=org, role=role))
