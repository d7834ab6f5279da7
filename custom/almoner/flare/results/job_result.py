"""What a finished job leaves for its submitter: one JSON file in the job's folder on the server."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from almoner.errors import FederationError, ProtocolError
from almoner.flare.results.alignment_result import AlignmentResult
from almoner.flare.results.statistics_result import StatisticsResult
from almoner.protection.scheme import RoundTotal

logger = logging.getLogger(__name__)

RESULT_FILE = "almoner_result.json"


class RoundRecord(BaseModel):
    """One round: whose updates are in its total.

    Args:
        commitments_root: Merkle root of the contributors' signed commitments to what they sent, hexadecimal, which
            they checked before they took the sum; "" where the protection has none.
        named: sites that broke the protocol in a way that the server can tell; the server's log says how.
        report: where a robust rule made the total: the rule, and of each site or group how it counts and with
            which score, and the seed of buckets. Scores are made of noised updates, in secret sharing of groups' sums.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    round: int
    contributors: tuple[str, ...]
    commitments_root: str = ""
    named: tuple[str, ...] = ()
    report: dict[str, Any] | None = None

    @staticmethod
    def of(number: int, total: RoundTotal) -> "RoundRecord":
        """Return the record of a round that came to its total."""
        return RoundRecord(
            round=number,
            contributors=total.contributors,
            commitments_root=total.commitments_root,
            named=total.named,
            report=total.report,
        )


class JobResult(BaseModel):
    """What a job of any kind leaves.

    Of training rounds, noised releases (hexadecimal, by site), and the weights if all sites let them go.
    Beside them, by site, the ledger heads at the job's start and the signatures of who holds them; and what the sites
    signed for these results, by kind, with their certificates: see `vouched`.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    job: str
    rounds: list[RoundRecord] = []
    releases: dict[str, str] = {}
    model: list[float] | None = None
    statistics: StatisticsResult | None = None
    alignment: AlignmentResult | None = None
    heads: dict[str, dict[str, Any]] = {}
    cosignatures: dict[str, str] = {}
    vouchers: dict[str, dict[str, str]] = {}
    certificates: dict[str, str] = {}

    def has(self, site: str) -> bool:
        """Tell whether a site contributed to any round."""
        return any(site in record.contributors for record in self.rounds)

    @staticmethod
    def weights_of(body: bytes, dimension: int) -> list[float]:
        """Decode a MODEL reply.

        Raises:
            ProtocolError: not `dimension` finite numbers.
        """
        weights = np.frombuffer(body, dtype="<f8") if len(body) == 8 * dimension else np.array([np.nan])
        if not np.isfinite(weights).all():
            raise ProtocolError("the model that was sent is not a vector of finite numbers of the job's dimension")
        return [float(weight) for weight in weights]


def agreed_body(given: dict[str, bytes], least: int) -> bytes | None:
    """Return what at least so many sites gave alike, to the last bit; None if there is nothing.

    Args:
        given: replies by site, each of the right length.
    """
    body, count = Counter(given.values()).most_common(1)[0] if given else (b"", 0)
    odd = [site for site, said in given.items() if said != body]
    if odd:
        logger.warning("another result than the others' came from %s", ", ".join(odd))
    if count < least:
        logger.warning("%d sites gave the same result, of at least %d; there is none", count, least)
        return None
    return body


def write_result(folder: Path, result: JobResult) -> None:
    """Write the result into the job's folder, whence FLARE's download takes it."""
    (folder / RESULT_FILE).write_text(result.model_dump_json(indent=2))


def read_result(download: Path) -> JobResult:
    """Read the result out of a downloaded job.

    Raises:
        FederationError: the job left no result, since it did not finish.
    """
    found = sorted(download.rglob(RESULT_FILE))
    if not found:
        raise FederationError(f"{download}: the job left no result → see `almoner job list` for how it ended")
    try:
        return JobResult.model_validate_json(found[0].read_bytes())
    except (ValidationError, ValueError, OSError, RecursionError):
        raise FederationError(f"{found[0]}: not a result of this release") from None
