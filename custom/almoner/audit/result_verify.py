"""Step 12 of verifying a pack: what the job left, as the sites signed for it."""

from collections.abc import Mapping
from typing import Any

from almoner.audit import parts as names
from almoner.audit.pack_read import Pack
from almoner.audit.submission import Submission
from almoner.errors import EvidenceError, ProtocolError
from almoner.protection.parties import quorum
from almoner.protection.vouchers import Vouched, body_digest, voucher_statement, vouches
from almoner.schema.job import JobSpec
from almoner.schema.psi import PsiSpec

_CHECKED: tuple[Vouched, ...] = ("model", "release")
_UNCHECKED = {"statistics": "the statistics", "psi": "the size of the intersection"}
"""What jobs of a kind leave of which a pack holds a digest alone."""


def verify_result(pack: Pack, submission: Submission, outcome: Mapping[str, Any] | None) -> int:
    """Check the sites' signatures over the model and their own releases; return how many there are.

    *Guarantee*: those that are counted verify, and are of sites that the job names and that have a part in the pack.
    Statistics and alignments are in a pack as digests that only the server made; see `result_gaps`.

    Raises:
        EvidenceError: a site signed for something else than the result says, or is none of the job's.
    """
    if outcome is None:
        return 0
    _refuse_strangers(submission, outcome)
    count = 0
    for kind in _CHECKED:
        signed = _signers(pack, submission, outcome, kind)
        came = outcome.get("vouchers", {}).get(kind, {}).keys() & pack.sites.keys()
        if others := sorted(came - signed):
            raise EvidenceError(f"{names.OUTCOME}: not the {kind} for which {others[0]} signed")
        count += len(signed)
    return count


def result_gaps(pack: Pack, submission: Submission, outcome: Mapping[str, Any]) -> list[str]:
    """Return what the sites' signatures leave open about what the job left.

    Of a model: that fewer signed for it than the job wants, since one of so few may be the server's.

    Raises:
        EvidenceError: too few sites take part for a model to have come of the job.
    """
    spec = submission.spec()
    if isinstance(spec, PsiSpec) and not spec.releases:
        return []
    if not isinstance(spec, JobSpec):
        said = f"{_UNCHECKED[spec.kind]}: the pack holds a digest that the server made, and no site's signature over it"
        return [f"{said} was checked; `almoner job result` checks them"]
    if not outcome.get("model_sha256"):
        return []
    try:
        least = quorum(spec, len(submission.envelope["sites"]))
    except ProtocolError as error:
        raise EvidenceError(f"{names.OUTCOME}: a model, of a job that cannot have run: {error}") from None
    signed = len(_signers(pack, submission, outcome, "model"))
    if signed >= least:
        return []
    unseen = sorted(outcome.get("vouchers", {}).get("model", {}).keys() - pack.sites.keys())
    why = f" (not checked, having no part in this pack: {', '.join(unseen)})" if unseen else ""
    return [f"{signed} of at least {least} sites signed for the model{why}; else it is the server's word"]


def _refuse_strangers(submission: Submission, outcome: Mapping[str, Any]) -> None:
    """Refuse a signature, of whatever kind, in the name of a site that the job does not have."""
    named = {site for own in outcome.get("vouchers", {}).values() for site in own}
    if strangers := sorted(named - set(submission.envelope["sites"])):
        raise EvidenceError(f"{names.OUTCOME}: a signature of {strangers[0][:80]!a}, which the job does not name")


def _signers(pack: Pack, submission: Submission, outcome: Mapping[str, Any], kind: Vouched) -> set[str]:
    """Return the sites of the job that signed for a kind of result as it is, of those whose part is in the pack."""
    vouchers = outcome.get("vouchers", {}).get(kind, {})
    said = _said(outcome, kind, vouchers)

    def signed(site: str) -> bool:
        statement = voucher_statement(site, submission.envelope_digest, pack.job_id, kind, said.get(site, ""))
        return vouches(pack.sites[site].key, vouchers[site], statement)

    return set(filter(signed, vouchers.keys() & pack.sites.keys() & set(submission.envelope["sites"])))


def _said(outcome: Mapping[str, Any], kind: Vouched, vouchers: Mapping[str, str]) -> dict[str, str]:
    """Return, by site, the digest of what the result says that the site gave."""
    if kind == "model":
        return dict.fromkeys(vouchers, outcome.get("model_sha256", ""))
    try:
        return {site: body_digest(bytes.fromhex(own)) for site, own in outcome.get("releases", {}).items()}
    except (AttributeError, TypeError, ValueError):
        raise EvidenceError(f"{names.OUTCOME}: releases that are none") from None
