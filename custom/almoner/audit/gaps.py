"""What a pack that verifies does not show, one line each: a reader is told, and need not find out."""

from collections.abc import Mapping
from datetime import datetime

from almoner.audit import parts as names
from almoner.audit import site_statements as site_says
from almoner.audit.attack_report import attack_gaps
from almoner.audit.attestation_claim import attestation_gap
from almoner.audit.authority import read_roster
from almoner.audit.inputs import read_outcome
from almoner.audit.ledger_extract import Book
from almoner.audit.log_verify import headless, uncosigned
from almoner.audit.pack_read import Pack
from almoner.audit.result_verify import result_gaps
from almoner.audit.sbom import package_of
from almoner.audit.statements import Statement
from almoner.audit.submission import Submission, read_submission
from almoner.errors import DocumentError
from almoner.schema.base import digest
from almoner.schema.documents import parse_document
from almoner.schema.policy import ConsortiumPolicy, SitePolicy


def pack_gaps(pack: Pack, books: Mapping[str, Book], statements: Mapping[str, Statement]) -> list[str]:
    """Return what a pack does not show.

    Args:
        statements: all of the pack, checked.
    """
    gaps = _policy_gaps(pack, books) + _approval_gaps(pack, books)
    if pack.server is None:
        return [*gaps, "a pack of one site: nothing about the run, the log or the other sites"]
    submission = read_submission(pack.part(names.SUBMISSION), pack.root, names.SUBMISSION)
    packages = _packages(books, pack.job_id)
    return [
        *_key_gaps(pack),
        *gaps,
        *_site_gaps(pack, submission, books),
        *attack_gaps(pack.parts.get(names.REDTEAM), submission, packages),
        attestation_gap(pack.parts.get(names.ATTESTATION)),
        *_code_gaps(packages, package_of(statements[names.SBOM].predicate)),
        "known vulnerabilities of the components were not checked; the statement says how to",
        "threat coverage and the list of components are the server's word; compare them with the release that ran",
        "no proof shows that the log has no further entries of the job, only that those in the pack are in it",
        *_expired(pack, statements[names.CERTIFICATES]),
    ]


def _key_gaps(pack: Pack) -> list[str]:
    """Return what the rosters leave open."""
    contents = {pack.part(names.ROSTER)} | {pack.part(names.of_site(site, names.SITE_ROSTER)) for site in pack.sites}
    rosters, gaps = [*pack.rosters.values(), read_roster(pack.part(names.ROSTER), names.ROSTER)], []
    if any(roster.keys == "central" for roster in rosters):
        gaps.append("keys were made centrally: the operator can sign as every site (claim: semi-honest server)")
    if len(contents) > 1:
        gaps.append("the kits of server and sites have different rosters: some were not renewed with the others")
    return gaps


def _policy_gaps(pack: Pack, books: Mapping[str, Book]) -> list[str]:
    """Return the sites that admitted the job by another policy than the one that is in the pack."""
    others = []
    for site, book in books.items():
        decision = site_says.admitted_decision(book, pack.job_id)
        policy, floor = (pack.part(names.of_site(site, name)) for name in (names.POLICY, names.FLOOR))
        if decision and decision.get("policy_digest") != policy_digest(policy, floor):
            others.append(site)
    return (
        [f"{', '.join(others)}: the policy in the pack is not the one by which the job was admitted"] if others else []
    )


def policy_digest(policy: bytes, floor: bytes) -> str:
    """Return the digest by which decisions name a policy, with what its floor revokes; "" if it cannot be read."""
    try:
        own, least = policy.decode(), floor.decode()
        return digest(
            parse_document(own, SitePolicy, names.POLICY).under(parse_document(least, ConsortiumPolicy, names.FLOOR))
        )
    except (DocumentError, UnicodeDecodeError):
        return ""


def _site_gaps(pack: Pack, submission: Submission, books: Mapping[str, Book]) -> list[str]:
    """Return which sites are not in the pack, and what is missing of those that are."""
    outcome = read_outcome(pack.parts[names.OUTCOME], names.OUTCOME) if names.OUTCOME in pack.parts else None
    listed = submission.envelope["sites"]
    gaps = [f"{site} was named in the job and has no part in this pack" for site in listed if site not in books]
    if outcome is None:
        gaps.append("the job left no result: it was refused, or did not finish")
    elif silent := uncosigned(outcome, books):
        gaps.append(f"{', '.join(silent)}: no signature over the others' ledger heads, which the server showed")
    if outcome is not None:
        gaps += result_gaps(pack, submission, outcome)
    if unseen := headless(pack, outcome, books):
        gaps.append(
            f"{', '.join(unseen)}: no signed ledger head is shown; an older copy of the ledger would look so too"
        )
    return gaps


def _approval_gaps(pack: Pack, books: Mapping[str, Book]) -> list[str]:
    """Return the sites whose decision rests on an officer's approval, of which the pack has no signature."""
    decisions = {site: site_says.admitted_decision(book, pack.job_id) for site, book in books.items()}
    sites = sorted(site for site, found in decisions.items() if found and found.get("approval_digest"))
    finding = "that a data officer approved is the site's word; the signed approval is not in the pack"
    return [f"{', '.join(sites)}: {finding}"] if sites else []


def _packages(books: Mapping[str, Book], job_id: str) -> dict[str, str]:
    """Return the digest of the package by which each site admitted a job."""
    decisions = {site: site_says.admitted_decision(book, job_id) for site, book in books.items()}
    packages = {site: found.get("package") for site, found in decisions.items() if found is not None}
    return {site: str(one.get("digest")) if isinstance(one, dict) else "" for site, one in packages.items()}


def _code_gaps(packages: Mapping[str, str], packed: str) -> list[str]:
    """Return which sites ran another build than the server, or than each other."""
    gaps = []
    if len(set(packages.values())) > 1:
        gaps.append("the sites admitted the job by different builds of the package")
    if others := sorted(site for site, package in packages.items() if package != packed):
        gaps.append(f"the components are of another build of the package than {', '.join(others)} ran")
    return gaps


def _expired(pack: Pack, certificates: Statement) -> list[str]:
    """Return the certificates that were not valid when the pack says that it was made."""
    made = datetime.fromisoformat(pack.index.made)
    rows = [{"name": "the root", **certificates.predicate["root"]}, *certificates.predicate["issued"]]
    return [
        f"the certificate of {row['name']} ended on {row['not_after'][:10]}, before the pack was made"
        for row in rows
        if datetime.fromisoformat(row["not_after"]) < made
    ]
