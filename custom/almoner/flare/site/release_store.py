"""The releases that a site has made: whoever asks the same again gets the same noised numbers, for nothing.

Kept beside the ledger, by the digest of the request without its name and of the release version that the operator's
last commitment drew at random. Nothing here depends on the data: a file that was touched and not committed to again is
answered from the store all the same, and data that was committed to again, changed or not, is another release. A stored
file counts only if it is the one of this request, and the ledger holds the digest of its numbers as what that job
released.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from almoner.data.atomic import write_atomically
from almoner.data.commitment import recorded_release_version
from almoner.errors import LedgerError
from almoner.flare.site.site_files import SiteFiles
from almoner.privacy.ledger import Ledger
from almoner.privacy.ledger_entries import JobId
from almoner.privacy.statistics_plan import STATISTICS_STEP
from almoner.schema.base import Digest, Document, canonical_json, digest
from almoner.schema.documents import load_document
from almoner.schema.statistics import StatisticsSpec

FOLDER = "releases"


class StoredRelease(Document):
    """One release: which job made it, and its noised integers."""

    key: Digest
    job_id: JobId
    cells: tuple[int, ...]

    def to_array(self) -> NDArray[np.int64]:
        """Return the noised integers, int64[D]."""
        return np.array(self.cells, dtype=np.int64)


def cells_bytes(cells: NDArray[np.int64]) -> bytes:
    """Return noised integers as they leave: little-endian, 8 bytes each."""
    return cells.astype("<i8").tobytes()


def release_key(site: SiteFiles, spec: StatisticsSpec) -> str | None:
    """Return what a request is kept by until the operator commits again; None before a commitment drew a version.

    *Guarantee*: it depends on the request and on the operator's acts, not on the data.

    Raises:
        DocumentError: the file of commitments is damaged.
    """
    version = recorded_release_version(site.ledger_folder, spec.dataset)
    asked = spec.model_dump(mode="json", exclude={"name"})
    return digest({"request": asked, "site": site.policy.site, "version": version}) if version else None


def find_release(site: SiteFiles, ledger: Ledger, spec: StatisticsSpec, key: str | None) -> StoredRelease | None:
    """Return the release that is kept by a key, None if there is none.

    *Guarantee*: what is returned has left before, by the ledger; nothing is read of the data.

    Args:
        key: the request's `release_key`.

    Raises:
        LedgerError: it is of another request, or the ledger does not know it: the file was put there by somebody else.
        DocumentError: the file is damaged.
    """
    path = site.ledger_folder / FOLDER / f"{key}.json"
    if key is None or not path.exists():
        return None
    stored = load_document(path, StoredRelease)
    if stored.key != key or len(stored.cells) != spec.num_cells:
        raise LedgerError(f"{path}: holds the release of another request → delete it; the next answer is charged")
    ledger.release(stored.job_id, STATISTICS_STEP, hashlib.sha256(cells_bytes(stored.to_array())).hexdigest())
    return stored


def keep_release(site: SiteFiles, key: str | None, job_id: str, cells: NDArray[np.int64]) -> None:
    """Keep a release whose digest the ledger holds; without a key, nothing is kept.

    Args:
        key: the request's `release_key` from before its step was committed. Had the operator committed since, numbers
            of either data would be kept by a version that nobody looks up any more.
    """
    if key is not None:
        stored = StoredRelease(schema_version=1, key=key, job_id=job_id, cells=tuple(cells.tolist()))
        write_atomically(site.ledger_folder / FOLDER / f"{key}.json", canonical_json(stored) + b"\n")
