"""Step 12 of verifying a pack: what the job left, as the sites signed for it."""

from collections.abc import Mapping
from typing import Any

from almoner.audit import parts as names
from almoner.audit.pack_read import Pack
from almoner.audit.submission import Submission
from almoner.errors import EvidenceError
from almoner.protection.vouchers import Vouched, body_digest, voucher_statement, vouches


def verify_result(pack: Pack, submission: Submission, outcome: Mapping[str, Any] | None) -> int:
    """Check the sites' signatures over the model and their own releases; return how many there are.

    Statistics and alignments are in a pack as digests that only the server made.

    Raises:
        EvidenceError: a site signed for something else than the result says.
    """
    vouchers, count = dict((outcome or {}).get("vouchers", {})), 0
    for kind, digests in _said(outcome or {}, vouchers):
        for site, voucher in vouchers.get(kind, {}).items():
            if site not in pack.sites:
                continue
            statement = voucher_statement(site, submission.envelope_digest, pack.job_id, kind, digests.get(site, ""))
            if not vouches(pack.sites[site].key, voucher, statement):
                raise EvidenceError(f"{names.OUTCOME}: not the {kind} for which {site} signed")
            count += 1
    return count


def model_gap(outcome: Mapping[str, Any], min_sites: int) -> list[str]:
    """Return, of a model for which fewer sites signed than the job wants, how many did: one may be the server's."""
    signed = len(outcome.get("vouchers", {}).get("model", {}))
    if not outcome.get("model_sha256") or signed >= min_sites:
        return []
    return [f"{signed} of at least {min_sites} sites signed for the model; else it is the server's word"]


def _said(outcome: Mapping[str, Any], vouchers: Mapping[str, Any]) -> list[tuple[Vouched, dict[str, str]]]:
    """Return, by kind and site, the digest of what the result says that the site gave."""
    model = dict.fromkeys(vouchers.get("model", {}), outcome.get("model_sha256", ""))
    try:
        releases = {site: body_digest(bytes.fromhex(own)) for site, own in outcome.get("releases", {}).items()}
    except (AttributeError, TypeError, ValueError):
        raise EvidenceError(f"{names.OUTCOME}: releases that are none") from None
    return [("model", model), ("release", releases)]
