"""What a pack is made of, as plain values; `flare/evidence/audit_inputs.py` reads them out of folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from almoner.audit.strict_json import parse_json
from almoner.errors import EvidenceError
from almoner.privacy.ledger_entries import Entry
from almoner.protection.vouchers import body_digest
from almoner.schema.base import digest


@dataclass(frozen=True)
class KitInputs:
    """The public files of a startup kit, and its key.

    Args:
        manifest, manifest_signature: what the root signed.
        certificate: PEM.
        roster: the consortium's roster, JSON.
        private_key: PEM; it signs the statements and goes nowhere else.
        attestation: which attestation is asked for; None if none is.
    """

    manifest: bytes
    manifest_signature: bytes
    certificate: bytes
    roster: bytes
    private_key: bytes
    attestation: bytes | None = None


@dataclass(frozen=True)
class SiteInputs:
    """What a site brings.

    Args:
        policy: `almoner_policy.yaml` of its kit.
        floor: `almoner_floor.yaml` of its kit, the consortium's policy.
        entries: all entries of its ledger.
    """

    site: str
    kit: KitInputs
    policy: bytes
    floor: bytes
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class ServerInputs:
    """What the server brings about one job.

    Args:
        submission: FLARE's zip of the submitted folder.
        meta: FLARE's record of the job.
        outcome: what the job left, with digests in place of model and statistics; None if it did not finish.
        heads: the newest ledger head that the server holds of each site, plain JSON.
        redteam: a red-team report, JSON; None if there is none.
        threats: `threat_model/threats.yaml`; None if it is not at hand.
    """

    job_id: str
    kit: KitInputs
    submission: bytes
    meta: dict[str, Any]
    outcome: dict[str, Any] | None
    heads: Mapping[str, dict[str, Any]]
    redteam: bytes | None
    threats: bytes | None


class RoundOutcome(BaseModel):
    """One round of a training job, as the server says it."""

    model_config = ConfigDict(extra="allow", strict=True)
    round: int
    contributors: list[str]
    commitments_root: str


class Outcome(BaseModel):
    """What a job left, of which these fields must be as they should."""

    model_config = ConfigDict(extra="allow", strict=True)
    rounds: list[RoundOutcome]
    heads: dict[str, dict[str, Any]]
    cosignatures: dict[str, str]
    releases: dict[str, str] = {}
    vouchers: dict[str, dict[str, str]] = {}
    model_sha256: str = ""


def read_outcome(data: bytes, where: str) -> dict[str, Any]:
    """Read what `slim_outcome` made.

    Raises:
        EvidenceError: it is not what a job leaves.
    """
    value = parse_json(data, where)
    try:
        Outcome.model_validate(value)
    except ValidationError:
        raise EvidenceError(f"{where}: not what a job leaves") from None
    return value


def slim_outcome(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's result with digests in place of what need not be in a pack: model, statistics, alignment.

    That of the model is the one that sites vouch for. Certificates of sites are elsewhere in a pack.
    """
    large, model = ("statistics", "alignment"), result.get("model")
    slim = {key: value for key, value in result.items() if key not in (*large, "model", "certificates")}
    slim |= {f"{key}_sha256": "" if result.get(key) is None else digest([result[key]]) for key in large}
    return slim | {"model_sha256": "" if model is None else body_digest(np.asarray(model, "<f8").tobytes())}
