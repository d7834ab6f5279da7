"""Writes an exported job folder; all of it or nothing."""

import shutil
from pathlib import Path

from almoner.errors import DocumentError
from almoner.flare.render import new_envelope, render_job
from almoner.schema.declarations import Declarations
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.psi import PsiSpec


def job_sites(spec: AnyJobSpec, declarations: Declarations) -> tuple[str, ...]:
    """Return the sites that a job goes to: those of its study that have its data set; of an alignment, those it names.

    Raises:
        DocumentError: there are fewer than the job's min_sites.
    """
    study = declarations.consortium.sites_of_study(spec.study)
    sites = tuple(declarations.nominal_records(spec.dataset, study))
    if isinstance(spec, PsiSpec):
        sites = tuple(site for site in sites if site in spec.sites)
    if len(sites) < spec.min_sites:
        raise DocumentError(
            f"job {spec.name}: study {spec.study} has {len(sites)} sites with data set {spec.dataset}, "
            f"the job wants min_sites={spec.min_sites} → correct study or dataset, or lower min_sites"
        )
    return sites


def export_job(spec: AnyJobSpec, declarations: Declarations, out: Path) -> Path:
    """Put a spec into a fresh envelope and write its FLARE job folder.

    Returns:
        The folder, named after the job and the envelope's nonce.

    Raises:
        DocumentError: too few sites, or the folder cannot be written.
    """
    envelope = new_envelope(spec, job_sites(spec, declarations))
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
