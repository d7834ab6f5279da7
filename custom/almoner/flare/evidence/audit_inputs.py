"""Reads what an evidence pack is made of out of the folders of a server and of sites; writes nothing."""

import io
import zipfile
from pathlib import Path
from typing import Any

from almoner.audit.inputs import KitInputs, ServerInputs, SiteInputs, slim_outcome
from almoner.errors import EvidenceError
from almoner.flare.evidence.held_heads import HEADS_FILE, read_heads
from almoner.flare.results.job_result import RESULT_FILE
from almoner.flare.site.job_folder import is_job_id
from almoner.flare.site.kit_files import read_file, read_mapping
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.provision import names


def read_site_inputs(folder: Path) -> SiteInputs:
    """Read a site's folder, as it lies beside its ledger.

    Raises:
        EvidenceError: a file is missing.
        LedgerError: the ledger cannot be opened.
    """
    kit = folder / "kit"
    with Ledger.open(folder / LEDGER) as ledger:
        site, entries = ledger.site, ledger.entries()
    policy, floor = (read_file(kit / "local" / name) for name in (names.POLICY_FILE, names.FLOOR_FILE))
    return SiteInputs(site, _read_kit(kit, "client"), policy, floor, entries)


def read_server_inputs(folder: Path, job_id: str, redteam: Path | None, threats: Path | None) -> ServerInputs:
    """Read a server's folder.

    Args:
        redteam: a red-team report.
        threats: the threat model.

    Raises:
        EvidenceError: a file is missing, or the server has no such job.
    """
    job = folder / "jobs" / job_id
    if not is_job_id(job_id) or not (job / "data").is_file():
        raise EvidenceError(f"{folder}: has no job {job_id} → `almoner job list` shows what there is")
    heads_file = folder / HEADS_FILE
    heads = {site: head.to_json() for site, head in read_heads(heads_file).items()} if heads_file.exists() else {}
    meta = read_mapping(read_file(job / "meta"), job / "meta")
    workspace = job / "workspace"
    return ServerInputs(
        job_id=job_id,
        kit=_read_kit(folder / "kit", "server"),
        submission=read_file(job / "data"),
        meta=meta,
        outcome=_read_outcome(workspace) if workspace.exists() else None,
        heads=heads,
        redteam=None if redteam is None else read_file(redteam),
        threats=None if threats is None else read_file(threats),
    )


def _read_kit(kit: Path, kind: str) -> KitInputs:
    """Read a kit's public files and its key."""
    startup, attestation = kit / "startup", kit / "local" / names.ATTESTATION_FILE
    return KitInputs(
        manifest=read_file(startup / names.MANIFEST_FILE),
        manifest_signature=read_file(startup / names.MANIFEST_SIGNATURE_FILE),
        certificate=read_file(startup / f"{kind}.crt"),
        roster=read_file(kit / "local" / names.ROSTER_FILE),
        private_key=read_file(startup / f"{kind}.key"),
        attestation=read_file(attestation) if attestation.exists() else None,
    )


def _read_outcome(workspace: Path) -> dict[str, Any] | None:
    """Return what a job left, out of FLARE's zip of its folder; None if it left nothing."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_file(workspace))) as archive:
            if RESULT_FILE not in archive.namelist():
                return None
            return slim_outcome(read_mapping(archive.read(RESULT_FILE), workspace))
    except (zipfile.BadZipFile, OSError, TypeError, ValueError):
        raise EvidenceError(f"{workspace}: not FLARE's zip of a finished job → restore the job store") from None
