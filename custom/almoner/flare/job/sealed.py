"""A result that cannot leave: only our filter chain opens it.

FLARE would send whatever an executor returns. A `SealedResult` holds its content in an object that FLARE's
serialiser does not know, so that with a filter missing the message fails to be sent instead of leaving in
clear.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from nvflare.apis.shareable import Shareable

from almoner.flare.job.wire import PAYLOAD_KEY, Reply, ReplyKind

_SEAL = "almoner_sealed"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a step produced, and the charge that must be in the ledger before it may leave.

    It has slots and no `__dict__`: FLARE's serialiser registers any class with a `__dict__` by itself. Its text
    leaves the body out, since FLARE logs what it cannot send.

    Args:
        step: the step of the reservation that was committed for it; "" where no data was touched.
        body: bytes ready to leave, or the int64[d] update that the protection has still to be put on.
        committed: set by the budget filter alone.
        of_job: whose step it was, where an earlier job's result is given again; "" for this job's own.
        head: of the ledger that holds the result's commit and digest, signed; set by the budget filter alone.
        of_sites: whose numbers are in a total; the voucher says it.
        voucher: the site's signature over a result of the job; set by the budget filter alone.
    """

    kind: ReplyKind
    round: int
    step: str
    body: bytes | NDArray[np.int64] = field(repr=False)
    committed: bool = False
    head: bytes = b""
    of_job: str = ""
    of_sites: tuple[str, ...] = ()
    voucher: bytes = b""


class SealedResult(Shareable):  # type: ignore[misc]
    """The Shareable that carries a sealed content between executor and filters."""

    def __init__(self, sealed: Sealed) -> None:
        super().__init__()
        self[_SEAL] = sealed


def unseal(result: object) -> Sealed | None:
    """Return the sealed content of a filter's input, or None if there is none."""
    if type(result) is not SealedResult or set(result) - {_SEAL, "__headers__"}:
        return None
    sealed = result.get(_SEAL)
    return sealed if isinstance(sealed, Sealed) and isinstance(sealed.kind, ReplyKind) else None


def reply_shareable(reply: Reply, encoded: bytes) -> Shareable:
    """Return the plain Shareable that leaves: one key, one immutable value."""
    shareable = Shareable()
    shareable[PAYLOAD_KEY] = encoded
    return shareable
