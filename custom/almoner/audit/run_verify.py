"""Steps 8 and 9 of verifying a pack: what the server says of the run, matched with what others signed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from almoner.audit import parts as names
from almoner.audit import server_statements as server_says
from almoner.audit import site_statements as site_says
from almoner.audit.attack_report import attacks_claim
from almoner.audit.authority import read_roster
from almoner.audit.ledger_extract import Book, require_equal
from almoner.audit.pack_read import Pack
from almoner.audit.sbom import rerendered, vulnerability_status
from almoner.audit.statements import Statement
from almoner.audit.submission import Submission
from almoner.errors import AlmonerError, EvidenceError
from almoner.privacy.ledger_entries import Reserved
from almoner.privacy.plan import JobPlan
from almoner.privacy.plans import plan_of
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.job import JobSpec
from almoner.schema.receipt import PrivacyEvent
from almoner.schema.statistics import StatisticsSpec

Json = Mapping[str, Any]


def verify_admissions(pack: Pack, submission: Submission, books: Mapping[str, Book]) -> int:
    """Check what each site decided about the submission and reserved for it; return how many sites decided.

    *Guarantee*: a site that charged anything to the job admitted this submission of this submitter, and reserved what
    its spec asks for, step by step.

    Raises:
        EvidenceError: naming the site's part that says otherwise.
    """
    for site, book in books.items():
        decision, job = site_says.admitted_decision(book, pack.job_id), book.replay.jobs.get(pack.job_id)
        if decision is not None:
            _check_decision(decision, submission, names.of_site(site, names.DECISIONS))
            _check_approval(book, decision)
            _check_reserved(book, pack.job_id, submission, decision)
        elif job is not None and job.committed:
            where = names.of_site(site, names.LEDGER)
            raise EvidenceError(f"{where}: job {pack.job_id} was charged, and no decision admits it")
    return sum(
        any(found.get("job_id") == pack.job_id for _, found in book.payloads("decision")) for book in books.values()
    )


def _check_decision(decision: Json, submission: Submission, where: str) -> None:
    """Check that an admission is of this submission."""
    if decision.get("envelope_digest") != submission.envelope_digest:
        raise EvidenceError(f"{where}: admits another submission than {names.SUBMISSION}")
    if decision.get("spec") != submission.envelope["spec"]:
        raise EvidenceError(f"{where}: admits another spec than {names.SUBMISSION} has")
    if decision.get("submitter") != submission.submitter.name:
        said, signed = str(decision.get("submitter"))[:80], submission.submitter.name
        raise EvidenceError(f"{where}: admits a job of {said}; {names.SUBMISSION} is signed by {signed}")


def _check_approval(book: Book, decision: Json) -> None:
    """Check that an approval that a decision rests on is in the ledger, and of this job."""
    if decision.get("approval_digest") and site_says.approval_of(book, decision) is None:
        where = names.of_site(book.site, names.LEDGER)
        raise EvidenceError(f"{where}: the decision rests on an approval that the ledger does not have")


def _check_reserved(book: Book, job_id: str, submission: Submission, decision: Json) -> None:
    """Check that a reservation is what the job's spec asks for, planned anew."""
    where, spec = names.of_site(book.site, names.LEDGER), site_says.job_spec(book, job_id)
    if job_id not in book.replay.jobs or spec is None:
        raise EvidenceError(f"{where}: job {job_id} was admitted, and nothing is reserved for it")
    reserved = book.replay.jobs[job_id].reserved
    if reserved.envelope_digest != submission.envelope_digest:
        raise EvidenceError(f"{where}: the reservation is of another submission than {names.SUBMISSION}")
    try:
        plan = plan_of(spec, len(submission.envelope["sites"]))
    except AlmonerError:
        raise EvidenceError(f"{where}: admits a job that this release cannot plan") from None
    if not reserved.steps and _was_told(book, job_id, spec, plan):
        return
    if [step.step for step in reserved.steps] != [step.key for step in plan.steps]:
        raise EvidenceError(f"{where}: other steps were reserved than the submitted spec asks for")
    for step, planned in zip(reserved.steps, plan.steps, strict=True):
        if step.events != planned.events:
            raise EvidenceError(f"{where}: step {step.step} was reserved with other events than the spec asks for")
    require_equal(decision.get("noise_multiplier"), plan.noise_multiplier, f"{where}: noise_multiplier")


def _was_told(book: Book, job_id: str, spec: AnyJobSpec, plan: JobPlan) -> bool:
    """Say whether a request for statistics can be one that the site had answered: the same numbers cost nothing."""
    if not isinstance(spec, StatisticsSpec) or spec.trust.kind != "local":
        return False
    asked = [step.events for step in plan.steps]
    others = (job for other, job in book.replay.jobs.items() if other != job_id)
    return any(len(job.committed) == len(asked) and _events_of(job.reserved) == asked for job in others)


def _events_of(reserved: Reserved) -> list[tuple[PrivacyEvent, ...]]:
    """Return the events of a reservation, step by step."""
    return [step.events for step in reserved.steps]


def verify_rounds(outcome: Json, submission: Submission, books: Mapping[str, Book], job_id: str) -> None:
    """Check that the rounds are ones that the job can have had, and that contributors charged themselves for them.

    Raises:
        EvidenceError: they are not, or a site that contributed has no part in the pack or never committed the round.
    """
    spec, listed, last = submission.spec(), submission.envelope["sites"], 0
    most = spec.rounds if isinstance(spec, JobSpec) else 1
    for record in outcome["rounds"]:
        number, sites = record["round"], record["contributors"]
        if number <= last:
            raise EvidenceError(f"{names.OUTCOME}: round {number} follows round {last}")
        if number > most:
            raise EvidenceError(f"{names.OUTCOME}: round {number}, the job has {most}")
        if len(set(sites)) != len(sites):
            raise EvidenceError(f"{names.OUTCOME}: round {number} names a site twice")
        for site in sites:
            _check_contributor(site, number, spec, listed, books, job_id)
        last = number


def verify_releases(outcome: Json, submission: Submission, books: Mapping[str, Book], job_id: str) -> None:
    """Check that a training job's released numbers are those whose digests their sites' ledgers hold.

    Raises:
        EvidenceError: a number is not the one that its site released.
    """
    spec = submission.spec()
    asked = spec.releases if isinstance(spec, JobSpec) else ()
    num_rounds = spec.rounds if isinstance(spec, JobSpec) else 0
    for site, numbers in outcome.get("releases", {}).items():
        job = books[site].replay.jobs.get(job_id) if site in books else None
        step = job.position_of.get(asked[0].kind) if job is not None and asked else None
        kept = job.released.get(step) if job is not None and step is not None else None
        if kept is None or kept != release_digest(numbers, num_rounds):
            raise EvidenceError(f"{names.OUTCOME}: {json.dumps(site)[:80]} released other numbers than these")


def release_digest(numbers: str, num_rounds: int) -> str:
    """Return the digest that a ledger holds of released numbers, hexadecimal, after the last round."""
    return hashlib.sha256(f"RELEASE:{num_rounds + 1}:".encode() + bytes.fromhex(numbers)).hexdigest()


def _check_contributor(
    site: str, number: int, spec: AnyJobSpec, listed: list[str], books: Mapping[str, Book], job_id: str
) -> None:
    """Check that a site charged itself for a round."""
    if site not in listed:
        raise EvidenceError(f"{names.OUTCOME}: {json.dumps(site)[:80]} in round {number}, which the job was not for")
    if site not in books:
        raise EvidenceError(f"sites/{site}: missing; {site} contributed to a round")
    job = books[site].replay.jobs.get(job_id)
    steps = {} if job is None else job.position_of
    key = f"train-{number:04d}" if isinstance(spec, JobSpec) else next(iter(steps), "")
    if job is None or steps.get(key) not in job.committed:
        raise EvidenceError(f"{names.OUTCOME}: {site} in round {number}, which its ledger never committed")


def verify_statements(
    pack: Pack,
    submission: Submission,
    books: Mapping[str, Book],
    record: tuple[Json, Json | None],
    statements: Mapping[str, Statement],
) -> None:
    """Check the server's statements against what they can be computed from anew.

    Args:
        record: FLARE's record of the job, and what the job left.

    Raises:
        EvidenceError: naming the statement and the first field that differs.
    """
    roster = read_roster(pack.part(names.ROSTER), names.ROSTER)
    run = server_says.run_claim(pack.job_id, submission, books, pack.parts.get(names.ATTESTATION))
    certificates = server_says.pack_certificates(pack.parts, submission)
    expected = {
        names.ATTACKS: attacks_claim(pack.parts.get(names.REDTEAM), submission),
        names.CERTIFICATES: server_says.certificates_claim(pack.root, certificates),
        names.DPIA: server_says.dpia_claim(submission, roster, books),
        names.VULNERABILITIES: vulnerability_status(),
        names.THREATS: server_says.recounted(statements[names.THREATS].predicate),
        names.SBOM: rerendered(statements[names.SBOM].predicate, names.SBOM),
    }
    for name, claim in expected.items():
        require_equal(statements[name].predicate, claim, name)
    said = statements[names.RUN].predicate
    require_equal(said.get("recomputed"), run, names.RUN)
    stated = said.get("stated")
    own = {key: stated.get(key) for key in server_says.OWN_WORD} if isinstance(stated, dict) else {}
    require_equal(stated, server_says.run_stated(*record, books) | own, f"{names.RUN}.stated")
