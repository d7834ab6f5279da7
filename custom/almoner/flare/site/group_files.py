"""Where a site keeps how its studies' groups were drawn: `ledger/groups/<study>.json`, and an entry in its ledger.

The file has mode 600 and lies outside FLARE's workspace; it is whole or not there. The ledger says that there was a
draw, and for which list the site disclosed, so that a file that is lost, or an older one that was put back, is found:
no site draws twice unasked, or discloses for two lists.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from almoner.admission.approvals import DAY_SECONDS, sign_approval, verify_approval
from almoner.admission.user_certificates import load_certificate, subject_of
from almoner.data.atomic import write_atomically
from almoner.errors import LedgerError, PolicyViolation, ProtocolError
from almoner.flare.site.approval_files import Officer
from almoner.flare.site.site_files import SiteFiles
from almoner.privacy.ledger import Ledger
from almoner.protection.draw import DrawTerms, draw_approval_digest
from almoner.protection.draw_site import DrawRecord, DrawStore, fresh_record
from almoner.protection.groups import group_sizes
from almoner.schema.approval import Approval, SignedApproval
from almoner.schema.base import canonical_json
from almoner.schema.consortium import Roster
from almoner.schema.documents import load_document
from almoner.schema.policy import ManualApproval

GROUPS = "groups"
_OFFICERS = ManualApproval(roles=("org_admin",), max_days=1)
"""Who approves a new draw where the site's policy names nobody for jobs."""


def draw_terms(roster: Roster, study: str, sites: tuple[str, ...], sizes: tuple[int, ...]) -> DrawTerms:
    """Return what is drawn among some sites of a roster, of epoch 1.

    Raises:
        ProtocolError: a site is not in the roster.
    """
    pinned = {entry.site: entry.certificate_sha256 for entry in roster.sites}
    if missing := [site for site in sites if site not in pinned]:
        raise ProtocolError(f"{', '.join(missing)}: not in the roster")
    return DrawTerms(study, sites, tuple(pinned[site] for site in sites), sizes, 1)


def read_records(site: SiteFiles) -> dict[str, DrawRecord]:
    """Return what a site keeps, by study.

    Raises:
        DocumentError: a file is damaged.
    """
    paths = sorted((site.ledger_folder / GROUPS).glob("*.json"))
    return {path.stem: load_document(path, DrawRecord) for path in paths}


def stored_groups(ledger_folder: Path, study: str) -> dict[str, int]:
    """Return the number of groups that is fixed for a study at a site, from its commitment on; nothing before.

    Only the study's own file is read: a damaged one stops the jobs of its study, and no others.

    Raises:
        DocumentError: the file is damaged.
    """
    path = _path(ledger_folder, study)
    return {study: len(load_document(path, DrawRecord).group_sizes)} if path.exists() else {}


def _path(ledger_folder: Path, study: str) -> Path:
    """Return where a study's record lies."""
    return ledger_folder / GROUPS / f"{study}.json"


class DrawFiles(DrawStore):
    """A site's record of one study.

    *Guarantee*: what `change` returned is on the disk and in the ledger. A record counts only if it is the one that
    the ledger names last for the study; if it is not the first, only with the data officer's signed approval.
    """

    def __init__(self, site: SiteFiles, study: str) -> None:
        self._site, self._study = site, study
        self._path = _path(site.ledger_folder, study)
        self._folder = self._path.parent

    def change(self, step: Callable[[DrawRecord | None], DrawRecord]) -> DrawRecord:
        """Replace the record; see `DrawStore`."""
        with self._alone(), self._site.ledger() as ledger:
            held = self._checked(ledger)
            made = step(held)
            if made != held:
                write_atomically(self._path, canonical_json(made) + b"\n")
            if held is None or made.listed != held.listed:
                self._note(ledger, made)
            return made

    def redraw(self, terms: DrawTerms, epoch: int | None, officer: Officer) -> DrawRecord:
        """Open a new epoch with the data officer's signature.

        Args:
            terms: of any epoch.
            epoch: which; one more than the last one of the same sites unless given.

        Raises:
            PolicyViolation: the officer is not one whom the policy admits, or there was such an epoch.
            LedgerError: there was no draw of the study here: the first one needs no approval.
        """
        with self._alone(), self._site.ledger() as ledger:
            noted = self._noted(ledger)
            if not noted:
                raise LedgerError(
                    f"study {self._study}: never drawn here → submit the job: the first draw needs nothing"
                )
            members = [list(terms.sites), list(terms.certificates)]
            last = max((entry["epoch"] for entry in noted if entry["members"] == members), default=0)
            wanted = last + 1 if epoch is None else epoch
            if wanted <= last:
                raise PolicyViolation(f"study {self._study}: epoch {wanted} was drawn before → {last + 1} or more")
            terms = replace(terms, epoch=wanted)
            paper = self._sign(terms, officer)
            made = fresh_record(terms, self._site.policy.site, self._site.private_key())
            made = made.model_copy(update={"approval": paper})
            write_atomically(self._path, canonical_json(made) + b"\n")
            self._note(ledger, made)
            return made

    def _checked(self, ledger: Ledger) -> DrawRecord | None:
        """Return the record, or None if there was never one."""
        held = load_document(self._path, DrawRecord) if self._path.exists() else None
        noted = self._noted(ledger)
        if held is None and not noted:
            return None
        last = noted[-1] if noted else {"commitment": "", "listed": ""}
        if (
            held is None
            or last["commitment"] not in ("", self._commitment(held))
            or last["listed"] not in ("", held.listed)
        ):
            raise LedgerError(
                f"{self._path}: lost, or not what the ledger names last → restore it, or have the data officer "
                "approve a new draw (almoner site redraw)"
            )
        if not last["commitment"] or last["listed"] != held.listed:
            self._note(ledger, held)  # the process ended between file and ledger: nothing had left then
        if len({entry["commitment"] for entry in noted}) > 1:
            times = [entry["unix_seconds"] for entry in noted if entry["commitment"] == self._commitment(held)]
            self._verify(held.terms, held.approval, min(times, default=time.time()))
        return held

    def _sign(self, terms: DrawTerms, officer: Officer) -> SignedApproval:
        """Have the officer sign, and check it as every job will."""
        now = int(time.time())
        name = subject_of(load_certificate(officer.certificate, "the officer's certificate"))[0]
        approval = Approval(
            statement="almoner-approval-2",
            site=self._site.policy.site,
            job_digest=draw_approval_digest(terms),
            submitter=name,
            workload_digest="",
            verdict="approved",
            officer=name,
            signed_unix_seconds=now,
            expires_unix_seconds=now + DAY_SECONDS,
        )
        paper = sign_approval(approval, officer.key, officer.certificate)
        self._verify(terms, paper, now)
        return paper

    def _verify(self, terms: DrawTerms, paper: SignedApproval | None, unix_seconds: float) -> None:
        """Check the signature under a new draw, as of when the ledger noted the draw: a paper can be dated back."""
        if paper is None:
            raise PolicyViolation(f"study {self._study}: its new draw was not approved → almoner site redraw")
        rule = self._site.policy.require.manual_approval or _OFFICERS
        site, about = self._site.policy.site, draw_approval_digest(terms)
        verify_approval(paper, rule, site, about, self._site.trust, unix_seconds)
        if paper.approval.verdict != "approved":
            raise PolicyViolation(f"study {self._study}: its new draw was denied → almoner site redraw")

    def _noted(self, ledger: Ledger) -> list[dict[str, Any]]:
        """Return what the ledger says of the study's draws, and since when, oldest first."""
        entries = (
            json.loads(entry.payload) | {"unix_seconds": datetime.fromisoformat(entry.time).timestamp()}
            for entry in ledger.entries()
            if entry.kind == "groups"
        )
        return [entry for entry in entries if entry["study"] == self._study]

    def _note(self, ledger: Ledger, record: DrawRecord) -> None:
        """Write into the ledger that there is a draw; the secret is not in it."""
        members = [list(record.sites), list(record.certificates)]
        fields = {"study": self._study, "epoch": record.epoch, "groups": len(record.group_sizes), "members": members}
        ledger.record("groups", {**fields, "commitment": self._commitment(record), "listed": record.listed})

    def _commitment(self, record: DrawRecord) -> str:
        """Return the digest of the own commitment, which tells one record from another."""
        return sha256(bytes.fromhex(record.commitments[self._site.policy.site])).hexdigest()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the study: jobs of one study run in processes of their own."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / f".{self._study}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def redraw_groups(site: SiteFiles, study: str, num_groups: int, epoch: int | None, officer: Officer) -> DrawRecord:
    """Approve a new draw of a study's groups at one site; it takes the same at every site of the study.

    Args:
        num_groups: m of the new draw.
        epoch: see `DrawFiles.redraw`.

    Raises:
        PolicyViolation: the study has too few sites, or as `DrawFiles.redraw`.
        LedgerError: as `DrawFiles.redraw`.
    """
    sites = site.roster.studies.get(study, ())
    if not 1 <= num_groups <= len(sites):
        raise PolicyViolation(
            f"study {study} has {len(sites)} sites, which do not make {num_groups} groups → correct study or --groups"
        )
    terms = draw_terms(site.roster, study, sites, group_sizes(len(sites), num_groups))
    return DrawFiles(site, study).redraw(terms, epoch, officer)
