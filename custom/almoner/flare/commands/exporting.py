"""Writes an exported job folder; all of it or nothing."""

import shutil
from pathlib import Path

from almoner.admission.approvals import DAY_SECONDS
from almoner.errors import DocumentError
from almoner.flare.door.render import DEFAULT_LIFETIME_SECONDS, new_envelope, render_job
from almoner.schema.declarations import Declarations, job_sites
from almoner.schema.envelope import AnyJobSpec, JobEnvelope


def fresh_envelope(spec: AnyJobSpec, declarations: Declarations) -> JobEnvelope:
    """Put a spec into an envelope for the sites that it goes to, good for a week, or less where one of them wants less.

    Raises:
        DocumentError: there are fewer sites than the job's min_sites.
    """
    sites = job_sites(spec, declarations)
    most = min(declarations.policies[site].limits.validity_days for site in sites) * DAY_SECONDS
    return new_envelope(spec, sites, min(most, DEFAULT_LIFETIME_SECONDS))


def export_job(spec: AnyJobSpec, declarations: Declarations, out: Path) -> Path:
    """Put a spec into a fresh envelope and write its FLARE job folder.

    Returns:
        The folder, named after the job and the envelope's nonce.

    Raises:
        DocumentError: too few sites, or the folder cannot be written.
    """
    envelope = fresh_envelope(spec, declarations)
    folder = out / f"{spec.name}-{envelope.nonce[:8]}"
    try:
        for name, content in render_job(envelope).items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DocumentError(f"{folder}: cannot be written: {error.strerror}") from None
    return folder
