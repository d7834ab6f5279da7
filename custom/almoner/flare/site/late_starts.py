"""A job is started soon after its admission or not at all; what waits for longer is given back, and its folder deleted.

The rules about a job's validity, its submitter's certificate and the policy are asked at its admission alone.
"""

import time
from pathlib import Path

from almoner.errors import LedgerError
from almoner.flare.site.job_folder import remove_job
from almoner.privacy.ledger import Ledger

START_SECONDS = 600.0
"""After so long a reservation that was never started is given back, and its folder deleted: another site refused the
job, it was aborted, or the server never started it. FLARE starts a job within seconds of its deployment."""


def is_late(reserved_unix_seconds: float) -> bool:
    """Tell whether a job that was admitted then may start no more, by the site's clock."""
    return reserved_unix_seconds < time.time() - START_SECONDS


def withdraw_waiting(ledger: Ledger, job_id: str, folder: Path, home: Path) -> bool:
    """Give a job's reservation back and delete its folder, if it was never started.

    Args:
        folder: the job's folder.
        home: the site's folder; see `remove_job`.

    Returns:
        Whether the job waited, and is settled now.
    """
    waited = ledger.withdraw(job_id, "the job was never started")
    if waited:
        remove_job(folder, home)
    return waited


def refuse_late_start(ledger: Ledger, job_id: str, folder: Path, home: Path) -> None:
    """Check that a job which waits to be started was admitted a moment ago; withdraw it otherwise.

    Mitigates: T-03.

    Args:
        folder, home: as `withdraw_waiting`.

    Raises:
        LedgerError: the job has no reservation, or had one that waited for too long.
    """
    if is_late(ledger.reserved_unix_seconds(job_id)) and withdraw_waiting(ledger, job_id, folder, home):
        raise LedgerError(f"job {job_id} waited for more than {START_SECONDS:.0f} s to be started → submit it again")
