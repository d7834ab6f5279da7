"""The releases that a site has made: whoever asks the same of the same data gets the same noised numbers, for nothing.

Kept beside the ledger, by the digest of the request without its name and of the commitment to the data. A stored file
counts only if the ledger holds its digest as what that job released.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from almoner.data.atomic import write_atomically
from almoner.flare.dataset_commitments import current_commitments
from almoner.flare.site_files import SiteFiles
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
    """Return what a request and the data as it is are kept by; None where the data has no commitment that holds."""
    commitment = current_commitments(site.config, site.folder).get(spec.dataset, "")
    asked = spec.model_dump(mode="json", exclude={"name"})
    return digest({"request": asked, "site": site.policy.site, "commitment": commitment}) if commitment else None


def find_release(site: SiteFiles, ledger: Ledger, spec: StatisticsSpec) -> StoredRelease | None:
    """Return the release that the same request had before on the same data, None if there was none.

    *Guarantee*: what is returned has left before, by the ledger; nothing is read of the data.

    Raises:
        LedgerError: the ledger does not know the stored release: the file was put there by somebody else.
        DocumentError: the file is damaged.
    """
    key = release_key(site, spec)
    path = site.ledger_folder / FOLDER / f"{key}.json"
    if key is None or not path.exists():
        return None
    stored = load_document(path, StoredRelease)
    ledger.release(stored.job_id, STATISTICS_STEP, hashlib.sha256(cells_bytes(stored.to_array())).hexdigest())
    return stored


def keep_release(site: SiteFiles, spec: StatisticsSpec, job_id: str, cells: NDArray[np.int64]) -> None:
    """Keep a release whose digest the ledger holds; where the data has no commitment, nothing is kept."""
    key = release_key(site, spec)
    if key is not None:
        stored = StoredRelease(schema_version=1, key=key, job_id=job_id, cells=tuple(cells.tolist()))
        write_atomically(site.ledger_folder / FOLDER / f"{key}.json", canonical_json(stored) + b"\n")
