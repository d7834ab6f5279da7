"""What a ledger entry holds, and how entries are chained.

An entry is (seq, time, kind, payload, previous, hash): the payload is canonical JSON, `previous` is the
hash of the entry before (zeros for the first), and `hash` is taken over all the others.
"""

import json
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import Field, StringConstraints, ValidationError, model_validator

from almoner.errors import LedgerError
from almoner.schema.base import Digest, Model, Name, NeighboringRelation, PlainText, canonical_json, digest
from almoner.schema.policy import Account
from almoner.schema.receipt import PrivacyEvent, PrivacyReceipt

DOMAIN = "almoner-ledger-1"
FIRST_PREVIOUS = "0" * 64
RECORD_KINDS = ("decision", "policy", "approval", "remark", "heads", "disjoint", "groups")
"""Kinds that `Ledger.record` takes: facts that change no account."""
MAX_RECORD_BYTES = 65_536
MAX_STEPS = 10_001

JobId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
"""FLARE's id of a job: a UUID in canonical form."""

M = TypeVar("M", bound=Model)

Charge = Annotated[float, Field(ge=0, le=1000)]


class Created(Model):
    """The first entry: whose ledger this is."""

    site: Name
    ledger_version: Literal[1, 2]


class Migrated(Model):
    """A change of the file's version; no account changes with it."""

    from_version: Literal[1]
    to_version: Literal[2]


class AccountOpened(Model):
    """An account, and the order that its filter keeps for life."""

    account: Account
    order: Annotated[int, Field(ge=2)]


class ReservedStep(Model):
    """One step of a reservation with its charge at the account's order."""

    step: Name
    events: Annotated[tuple[PrivacyEvent, ...], Field(min_length=1)]
    charge: Charge


class Reserved(Model):
    """The worst case of an admitted job, set aside before anything runs."""

    job_id: JobId
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    envelope_digest: Digest
    tree_digest: Digest
    population: Name
    privacy_unit: Name
    neighboring_relation: NeighboringRelation
    steps: Annotated[tuple[ReservedStep, ...], Field(max_length=MAX_STEPS)]

    @model_validator(mode="after")
    def _steps_are_distinct(self) -> "Reserved":
        if len({step.step for step in self.steps}) != len(self.steps):
            raise ValueError("steps: a step is named twice")
        return self

    @property
    def charge(self) -> float:
        """The charge of all steps; exact, since each is a multiple of 2^-40."""
        return math.fsum(step.charge for step in self.steps)


class Started(Model):
    """The one start of a reserved job."""

    job_id: JobId
    tree_digest: Digest


class Committed(Model):
    """A step that may touch data from now on, and what it is charged."""

    receipt: PrivacyReceipt
    charge: Charge


class Released(Model):
    """What left for a committed step, by digest; a step releases one result, however often it is sent."""

    job_id: JobId
    step: Name
    digest: Digest


class Abandoned(Model):
    """The end of a job whose process died: all of its reservation stays charged."""

    job_id: JobId
    reason: PlainText


class Reconciled(Model):
    """The settlement of an abandoned job: what was reserved and never committed goes back."""

    job_id: JobId
    reason: PlainText
    refund: Charge


class Settled(Model):
    """The end of a job: what was reserved and never committed goes back."""

    job_id: JobId
    reason: PlainText
    refund: Charge


STATE_KINDS: dict[str, type[Model]] = {
    "created": Created,
    "migrated": Migrated,
    "account-opened": AccountOpened,
    "reserved": Reserved,
    "started": Started,
    "committed": Committed,
    "released": Released,
    "abandoned": Abandoned,
    "reconciled": Reconciled,
    "settled": Settled,
}
KIND_OF = {model: kind for kind, model in STATE_KINDS.items()}


@dataclass(frozen=True)
class Entry:
    """One row of the ledger; `payload` is the canonical JSON as text."""

    seq: int
    time: str
    kind: str
    payload: str
    previous: str
    hash: str

    def expected_hash(self) -> str:
        """Return the hash that the other columns demand."""
        return digest([DOMAIN, self.seq, self.time, self.kind, self.payload, self.previous])


def parse_payload(entry: Entry) -> Model | dict[str, Any]:
    """Parse an entry's payload: a model for kinds that change state, a mapping for recorded facts.

    Raises:
        LedgerError: when the kind is unknown, or the payload does not fit it or is not canonical.
    """
    model = STATE_KINDS.get(entry.kind)
    if model is None and entry.kind not in RECORD_KINDS:
        raise LedgerError("its kind is unknown")
    try:
        value = json.loads(entry.payload) if model is None else model.model_validate_json(entry.payload)
        canonical = canonical_json(value).decode()
    except (ValueError, RecursionError):
        raise LedgerError("its payload does not fit its kind") from None
    if model is None and not isinstance(value, dict):
        raise LedgerError("its payload is not a mapping")
    if canonical != entry.payload:
        raise LedgerError("its payload is not canonical JSON")
    return cast(Model | dict[str, Any], value)


def validated(model: type[M], fields: dict[str, Any]) -> M:
    """Build a payload from values of unknown quality.

    Raises:
        LedgerError: naming the first field that does not fit.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LedgerError(f"{KIND_OF[model]}: {where}: {first['msg']} → correct the caller's value") from None


def recorded(kind: str, payload: Model | dict[str, Any]) -> str:
    """Return the canonical JSON of a fact to record.

    Raises:
        LedgerError: when the kind is not allowed, or the payload is not a JSON mapping of bounded size.
    """
    if kind not in RECORD_KINDS:
        raise LedgerError(f"record: kind {kind!r} is not allowed → one of {', '.join(RECORD_KINDS)}")
    try:
        text = canonical_json(payload).decode()
    except (TypeError, ValueError, RecursionError):
        raise LedgerError(
            f"record: the payload of a {kind} is not plain JSON → give text, numbers, lists, mappings"
        ) from None
    if not text.startswith("{") or len(text) > MAX_RECORD_BYTES:
        raise LedgerError(f"record: the payload of a {kind} must be a mapping of at most {MAX_RECORD_BYTES} bytes")
    return text
