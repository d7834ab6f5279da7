"""Verifies a pack offline, with the root certificate and this package alone.

    1-4   the archive, the certificates, the index, the digests: `pack_read`
    5     each site's statements are signed by it, and are about its ledger as it is in the pack
    6     each ledger's chain holds, every transition is legal, the site signed every decision in it
    7     every charge and every ε is computed anew from the events, and is what the site signed, commit by commit
    8     one certificate, issued by the root, signed every file of the submitted job; its holder and spec are those
          that sites admitted, what was reserved is what that spec asks for, and who contributed was charged
    9     the server's statements are signed by it, and are what can be computed of the other parts anew
    10    ledger heads that sites signed are in the ledgers; sites cosigned those that they were shown
    11    the log's head is signed by the server and cosigned by every site of the pack; what happened is in the log,
          and no entry of the job that the pack shows contradicts it
    12    sites that signed for the model or their releases signed what the result says

*Guarantee*: when `verify_pack` returns, all of this holds. What nobody but the server says (FLARE's record, where the
run took place, installed packages, threat coverage, red-team figures) is signed by it, and no more than that;
`Verdict.gaps` lists what is absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from almoner.audit import parts as names
from almoner.audit import server_statements as server_says
from almoner.audit import site_statements as site_says
from almoner.audit.authority import Party
from almoner.audit.gaps import pack_gaps
from almoner.audit.inputs import read_outcome
from almoner.audit.ledger_extract import (
    Book,
    ledger_claims,
    read_entries,
    replay_entries,
    require_equal,
    verify_decisions,
)
from almoner.audit.log_verify import verify_heads, verify_log
from almoner.audit.pack_read import Pack, open_pack
from almoner.audit.result_verify import verify_result
from almoner.audit.run_verify import verify_admissions, verify_releases, verify_rounds, verify_statements
from almoner.audit.sbom import SBOM_TYPE
from almoner.audit.statements import Statement, require_subjects
from almoner.audit.strict_json import parse_json, printable
from almoner.audit.submission import Submission, read_submission
from almoner.errors import EvidenceError

_SERVER_TYPES = {
    names.RUN: server_says.RUN_TYPE,
    names.CERTIFICATES: server_says.CERTIFICATES_TYPE,
    names.SBOM: SBOM_TYPE,
    names.VULNERABILITIES: server_says.VULNERABILITIES_TYPE,
    names.THREATS: server_says.THREATS_TYPE,
    names.ATTACKS: server_says.ATTACKS_TYPE,
    names.DPIA: server_says.DPIA_TYPE,
}


@dataclass(frozen=True)
class Verdict:
    """What a pack was found to say.

    Args:
        pack: the pack.
        books: each site's ledger, checked.
        statements: every statement by the name of its part; of a site's, the figures are those that were recomputed.
        checks: what was checked, with counts, one line each.
        gaps: what the pack does not show, one line each.
    """

    pack: Pack
    books: Mapping[str, Book]
    statements: Mapping[str, Statement]
    checks: tuple[str, ...]
    gaps: tuple[str, ...]

    def accounts(self) -> list[dict[str, Any]]:
        """Return each site's accounts, with the ε that was recomputed."""
        rows = []
        for site, book in self.books.items():
            rows += [{"site": site, **account} for account in ledger_claims(book, recompute=True)["accounts"]]
        return rows


def verify_pack(data: bytes, root_pem: bytes) -> Verdict:
    """Verify a pack.

    Args:
        data: the file.
        root_pem: the consortium's root certificate, from a source of one's own.

    Raises:
        EvidenceError: naming the first part that is wrong.
    """
    pack = open_pack(data, root_pem)
    statements: dict[str, Statement] = {}
    books = {site: _verify_site(pack, site, party, statements) for site, party in pack.sites.items()}
    num_commits = sum(1 for book in books.values() for _ in book.commits())
    checks = [
        f"{len(pack.parts)} parts are those that {pack.index.packer} signed for on {pack.index.made}",
        f"root certificate SHA-256 {pack.root.fingerprint}: compare it with what the operator published",
        f"{len(books)} ledgers hold together, {sum(len(book.entries) for book in books.values())} entries",
        f"{num_commits} commits: every charge and ε recomputed from the events, as the sites signed them",
    ]
    if pack.server is not None:
        checks += _verify_server(pack, pack.server, books, statements)
    gaps = pack_gaps(pack, books, statements)
    return Verdict(pack, books, statements, tuple(map(printable, checks)), tuple(map(printable, gaps)))


def _verify_site(pack: Pack, site: str, party: Party, statements: dict[str, Statement]) -> Book:
    """Do steps 5 to 7 for one site."""
    ledger = names.of_site(site, names.LEDGER)
    types = (site_says.LEDGER_TYPE, site_says.DECISIONS_TYPE, site_says.RECEIPTS_TYPE, site_says.PRIVACY_TYPE)
    found = {
        name: pack.statement(names.of_site(site, name), kind, party)
        for name, kind in zip(names.SITE_STATEMENTS, types, strict=True)
    }
    for name, statement in found.items():
        where = names.of_site(site, name)
        require_subjects(statement, pack.parts, where)
        if ledger not in statement.subjects:
            raise EvidenceError(f"{where}: not about {ledger}")
    book = replay_entries(read_entries(pack.part(ledger), ledger), site, ledger)
    verify_decisions(book, party, ledger)
    expected = {
        names.LEDGER_STATEMENT: ledger_claims(book, recompute=True),
        names.DECISIONS: site_says.decisions_claim(book),
        names.RECEIPTS: site_says.receipts_claim(book, pack.job_id),
        names.PRIVACY: site_says.privacy_claim(book, pack.job_id, pack.rosters[site].keys),
    }
    for name, claim in expected.items():
        where = names.of_site(site, name)
        tolerance = site_says.PLD_TOLERANCE if name == names.PRIVACY else 1e-9
        predicate = {key: value for key, value in found[name].predicate.items() if key != "stated"}
        whole = {"site": site, "job_id": pack.job_id, "recomputed": claim}
        require_equal(predicate, whole, where, tolerance)
        stated = site_says.privacy_stated(book, pack.job_id, claim) if name == names.PRIVACY else {}
        require_equal(found[name].predicate.get("stated"), stated, f"{where}.stated")
        statements[where] = replace(found[name], predicate={**whole, "stated": stated})
    return book


def _verify_server(pack: Pack, server: Party, books: Mapping[str, Book], statements: dict[str, Statement]) -> list[str]:
    """Do steps 8 to 11; return what was checked."""
    submission = read_submission(pack.part(names.SUBMISSION), pack.root, names.SUBMISSION)
    for name, kind in _SERVER_TYPES.items():
        statements[name] = pack.statement(name, kind, server)
        require_subjects(statements[name], pack.parts, name)
        if names.SUBMISSION not in statements[name].subjects:
            raise EvidenceError(f"{name}: not about {names.SUBMISSION}")
    num_decided = verify_admissions(pack, submission, books)
    outcome = read_outcome(pack.parts[names.OUTCOME], names.OUTCOME) if names.OUTCOME in pack.parts else None
    meta = _read_meta(pack, submission)
    num_heads, num_signed = verify_heads(pack, outcome, books), verify_result(pack, submission, outcome)
    if outcome is not None:
        verify_rounds(outcome, submission, books, pack.job_id)
        verify_releases(outcome, submission, books, pack.job_id)
    verify_statements(pack, submission, books, (meta, outcome), statements)
    num_logged, num_cosigned = verify_log(pack, server, submission, outcome, books)
    return [
        f"{submission.submitter.name} signed the submitted job; {num_decided} of {len(books)} sites decided about it",
        "what was reserved for it is what its spec asks for, planned anew; contributors of rounds charged themselves",
        f"{len(_SERVER_TYPES)} statements of the server; the run is what the sites' signed decisions say",
        f"{num_heads} ledger heads that sites signed are in their ledgers",
        f"{num_signed} signatures of sites are over the model and the releases that the job left",
        f"{num_logged} entries of the job are in the log, whose head {num_cosigned} sites cosigned",
    ]


def _read_meta(pack: Pack, submission: Submission) -> dict[str, Any]:
    """Return FLARE's record of the job; refuse that of another job or submitter."""
    meta, submitter = parse_json(pack.part(names.META), names.META), submission.submitter.name
    if meta.get("job_id") != pack.job_id:
        raise EvidenceError(f"{names.META}: FLARE's record of another job than {pack.job_id}")
    if meta.get("submitter_name", submitter) != submitter:
        raise EvidenceError(f"{names.META}: FLARE's record of a job of somebody else than {submitter}")
    return meta


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict for scripts."""
    return {
        "job_id": verdict.pack.job_id,
        "kind": verdict.pack.index.kind,
        "packer": verdict.pack.index.packer,
        "made": verdict.pack.index.made,
        "root_sha256": verdict.pack.root.fingerprint,
        "checks": list(verdict.checks),
        "gaps": list(verdict.gaps),
        "accounts": verdict.accounts(),
    }
