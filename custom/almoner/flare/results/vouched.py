"""Checks a downloaded result against what the sites signed: neither model nor numbers are the server's word.

What the server still decides: whether there is a result, which rounds and scores it lists, and, by the signatures that
it leaves out, that a result is refused here.

Mitigates: T-162.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from almoner.audit.authority import Root
from almoner.audit.submission import MAX_BYTES, MAX_FILES, Submission, submission_of
from almoner.errors import EvidenceError, FederationError
from almoner.flare.job.protections import quorum
from almoner.flare.results.job_result import JobResult, read_result
from almoner.flare.results.origin import Origin
from almoner.flare.results.statistics_result import StatisticsResult
from almoner.flare.site.site_files import ROOT_CA
from almoner.protection.vouchers import Vouched, body_digest, voucher_statement, vouches
from almoner.schema.base import canonical_json
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec

_JOB_FOLDER = "job"
"""Where FLARE puts the submitted job in a download."""


@dataclass(frozen=True)
class VouchedResult:
    """A result, and the sites that signed for all that is in it.

    Args:
        envelope: the job, as its submitter signed it.
        submitter: who that was.
        sites: those whose signatures count, in the job's order; empty if there is nothing to sign for.
    """

    result: JobResult
    envelope: JobEnvelope
    submitter: str
    sites: tuple[str, ...]


@dataclass(frozen=True)
class _Claim:
    """One result of a kind.

    Args:
        site: whose own it is; "" for what all sites hold alike.
        of: whose numbers are in a total.
        need: how many must have signed it.
    """

    kind: Vouched
    values: Any
    site: str = ""
    of: tuple[str, ...] = ()
    need: int = 1


def read_vouched(download: Path, root_pem: bytes, job_id: str, origin: Origin) -> VouchedResult:
    """Read a downloaded job's result.

    *Guarantee*: the job is the one that was asked for. Its sites, by certificates that the root issued and that have
    not ended, signed the model, the totals and their own numbers, for this job and this submission; the model and
    totals at least as many as `quorum` says. A sum is of at least min_sites.

    Args:
        root_pem: the consortium's root certificate, from the user's own kit.
        job_id: the job that was asked for.
        origin: which submission it must be: what the server shows beside the result can be another's.

    Raises:
        FederationError: there is no result, or the sites did not sign what it says.
    """
    result = read_result(download)
    try:
        submission = submission_of(_files(download / _JOB_FOLDER), Root(root_pem), "the submitted job")
        origin.check(submission)
        envelope = _envelope(submission)
        _check_said(result, envelope)
        check = _Signatures(result, _keys(result, envelope, Root(root_pem)), submission.envelope_digest, job_id)
        found = {site for claim in _claims(result, envelope) for site in check.voices(claim)}
    except (EvidenceError, ValueError, OverflowError, OSError) as error:
        raise FederationError(f"{download}: {error} → do not use this result, and ask the operator") from None
    sites = tuple(site for site in envelope.sites if site in found)
    return VouchedResult(result, envelope, submission.submitter.name, sites)


def root_certificate(kit: Path) -> bytes:
    """Return the root certificate in a user's kit.

    Raises:
        FederationError: it has none.
    """
    path = kit / ROOT_CA
    try:
        return path.read_bytes()
    except OSError:
        raise FederationError(f"{path}: cannot be read → give the folder of a user's startup kit") from None


def _envelope(submission: Submission) -> JobEnvelope:
    """Return what was submitted."""
    try:
        return JobEnvelope.model_validate_json(canonical_json(submission.envelope))
    except ValidationError:
        raise EvidenceError("the submitted job is none of this release") from None


def _files(folder: Path) -> dict[str, bytes]:
    """Read the submitted job, whose files FLARE unpacked."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    if len(paths) > MAX_FILES or sum(path.stat().st_size for path in paths) > MAX_BYTES:
        raise EvidenceError("the submitted job is larger than any")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _keys(result: JobResult, envelope: JobEnvelope, root: Root) -> dict[str, rsa.RSAPublicKey]:
    """Return the keys of the job's sites whose certificates came along; refuse one that has ended."""
    parties = {
        site: root.party(pem.encode(), site, f"the certificate of {site}")
        for site, pem in result.certificates.items()
        if site in envelope.sites
    }
    now = datetime.now(UTC)
    for site, party in parties.items():
        if not party.certificate.not_valid_before_utc <= now <= party.certificate.not_valid_after_utc:
            raise EvidenceError(f"the certificate of {site} is not valid today")
    return {site: party.key for site, party in parties.items()}


def _check_said(result: JobResult, envelope: JobEnvelope) -> None:
    """Check what the server repeats of the submitted job, since numbers are read by it.

    Raises:
        EvidenceError: it is of another job, or of fewer sites than the job wants.
    """
    spec, asked, aligned = envelope.spec, result.statistics, result.alignment
    same = result.job == spec.name and set(result.releases) <= set(_releasing(envelope))
    if asked is not None:
        same = same and asked.spec == spec and asked.sites == envelope.sites
    if aligned is not None:
        epsilons = [release.epsilon for release in envelope.psi.releases]
        said = [] if aligned.noisy_size is None else [aligned.epsilon]
        same = same and (aligned.sites, aligned.leader, said) == (envelope.sites, envelope.psi.leader, epsilons)
    if not same:
        raise EvidenceError("the result is of another job than was submitted")
    if asked is not None:
        _check_sums(asked)


def _releasing(envelope: JobEnvelope) -> tuple[str, ...]:
    """Return the sites that release numbers of their own."""
    return envelope.sites if isinstance(envelope.spec, JobSpec) and envelope.spec.releases else ()


def _check_sums(told: StatisticsResult) -> None:
    """Check that statistics are what their trust model leaves: each site's own numbers, or one total over enough sites.

    Raises:
        EvidenceError: one site's numbers in the place of all sites' total, or too few sites.
    """
    local = told.spec.trust.kind == "local"
    of = tuple(told.by_site) if local else told.contributors
    if (bool(told.by_site), bool(told.total)) != (local, not local) or not set(of) <= set(told.sites):
        raise EvidenceError("the result is of another trust model than the job's, or of other sites")
    if len(set(of)) < told.spec.min_sites:
        raise EvidenceError(f"the numbers are of {len(set(of))} sites, the job wants {told.spec.min_sites}")


def _claims(result: JobResult, envelope: JobEnvelope) -> Iterator[_Claim]:
    """Yield everything in a result that sites sign for."""
    if result.model is not None:
        yield _Claim("model", np.asarray(result.model, "<f8"), need=quorum(envelope))
    for site, own in result.releases.items():
        yield _Claim("release", np.frombuffer(bytes.fromhex(own), np.uint8), site)
    if (told := result.statistics) is not None:
        for site, cells in told.by_site.items():
            yield _Claim("statistics", np.asarray(cells, "<i8"), site)
        if told.total:
            yield _Claim("total", np.asarray(told.total, "<i8"), of=told.contributors, need=quorum(envelope))
    if result.alignment is not None and result.alignment.noisy_size is not None:
        yield _Claim("psi_size", np.asarray([result.alignment.noisy_size], "<i8"), result.alignment.leader)


@dataclass(frozen=True)
class _Signatures:
    """What the sites of one job signed."""

    result: JobResult
    keys: dict[str, rsa.RSAPublicKey]
    envelope_digest: str
    job_id: str

    def voices(self, claim: _Claim) -> set[str]:
        """Return the sites that signed for a result.

        Raises:
            EvidenceError: too few did.
        """
        own, digest = self.result.vouchers.get(claim.kind, {}), body_digest(claim.values.tobytes())
        found = {
            site
            for site in own.keys() & self.keys.keys()
            if claim.site in ("", site) and self._signed(site, own[site], claim, digest)
        }
        if len(found) < claim.need:
            whose = f" of {claim.site}" if claim.site else ""
            raise EvidenceError(f"{claim.kind}{whose}: {len(found)} of at least {claim.need} sites signed for it")
        return found

    def _signed(self, site: str, voucher: str, claim: _Claim, digest: str) -> bool:
        """Tell whether a site signed for a result."""
        statement = voucher_statement(site, self.envelope_digest, self.job_id, claim.kind, digest, claim.of)
        return vouches(self.keys[site], voucher, statement)
