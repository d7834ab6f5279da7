"""A site as a witness of the server's log: it takes and cosigns heads that extend the last one it took, and no others.

    first head of a log    the site's own entries are in it → kept
    later head             extends the kept one, own entries are in it → kept
    any other              refused; both signed heads stay in the file: together they convict the server

What is kept at a job's start is not signed yet (`accept`); what is cosigned (`cosign`) is kept first.

*Guarantee*: of one log, a site never keeps or cosigns two heads of which neither extends the other, also after a crash
and with several jobs at once: a head is in the file before its cosignature leaves. So a log whose heads several sites
cosign has one history.

What is left: before the first head a server may have shown anything, and what it never logged nobody misses
but the site whose entry it was; each site therefore looks for its own. A site that lost the file begins anew.

Mitigates: T-140, T-141.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from almoner.audit.hash_tree import verify_consistency
from almoner.audit.log_entries import Fact, missing_facts
from almoner.audit.tree_heads import ProvenEntry, SignedTreeHead
from almoner.data.atomic import write_atomically
from almoner.errors import EvidenceError
from almoner.protection.signing import sign
from almoner.schema.base import Document


class _Kept(Document):
    """The file of a witness."""

    schema_version: Literal[1] = 1
    newest: SignedTreeHead | None = None
    refused: tuple[SignedTreeHead, ...] = ()


@dataclass(frozen=True)
class Shown:
    """A head, and what is to prove it.

    Args:
        signed: the head, as the server gave it.
        server_key: of the server's certificate, which the site's root issued.
        consistency: that the new tree begins with the one held; empty if none is held.
        own: entries of a job with their proofs.
        job_id: the job.
    """

    signed: SignedTreeHead
    server_key: rsa.RSAPublicKey
    consistency: tuple[bytes, ...]
    own: tuple[ProvenEntry, ...]
    job_id: str


@dataclass(frozen=True)
class Witness:
    """One site's memory of the server's log. Safe to use from several processes.

    Args:
        path: the file that holds it; there is none before the first head.
        site: the site's name.
    """

    path: Path
    site: str

    def newest(self) -> SignedTreeHead | None:
        """Return the head that this site keeps."""
        return self._load().newest

    def accept(self, shown: Shown, held: SignedTreeHead | None, facts: Iterable[Fact]) -> None:
        """Check a head against one that was kept, and keep it unless another job has brought a newer one since.

        Args:
            held: the head that the proof is from.
            facts: what this site knows of the job, all of which must be among its entries.

        Raises:
            EvidenceError: as in `cosign`.
        """
        with self._locked():
            kept = self._checked(shown, held, facts)
            if kept.newest == held:
                self._save(_Kept(newest=shown.signed, refused=kept.refused))

    def cosign(self, shown: Shown, held: SignedTreeHead | None, facts: Iterable[Fact], private_key_pem: bytes) -> str:
        """Check a head against the one that is kept, keep it, and sign it; return the signature, hexadecimal.

        Args:
            held: the head that is kept, which the proof is from.
            facts: what this site knows of the job, all of which must be among its entries.
            private_key_pem: the site's key.

        Raises:
            EvidenceError: the server did not sign the head, the log was forked or cut, or an entry is missing; or
                another job has brought a newer head just now.
        """
        with self._locked():
            kept = self._checked(shown, held, facts)
            if kept.newest != held:
                raise EvidenceError(f"log: {self.site} has taken a newer head just now → show it the newest one")
            self._save(_Kept(newest=shown.signed, refused=kept.refused))
        return sign(private_key_pem, shown.signed.head.cosign_statement(self.site)).hex()

    def _checked(self, shown: Shown, held: SignedTreeHead | None, facts: Iterable[Fact]) -> _Kept:
        """Check a head; return what the file holds."""
        shown.signed.verify(shown.server_key)
        kept = self._load()
        if held is not None:
            self._check_extends(kept, held, shown.signed, shown.consistency)
        logged = [entry.read(shown.signed, f"log: entry {entry.index}") for entry in shown.own]
        for kind, _, _ in missing_facts(logged, shown.job_id, facts):
            raise EvidenceError(f"log: a {kind} of {self.site} is not in it: the server dropped it → refused")
        return kept

    def _check_extends(
        self, kept: _Kept, old: SignedTreeHead, new: SignedTreeHead, consistency: tuple[bytes, ...]
    ) -> None:
        """Refuse a head that does not extend an older one; remember it."""
        if new.head.log != old.head.log:
            remedy = f"ask the operator; if the server has a new certificate, move {self.path} away"
            raise EvidenceError(f"log: the head is of another log than this site's → {remedy}")
        roots = bytes.fromhex(old.head.root), bytes.fromhex(new.head.root)
        try:
            verify_consistency(old.head.size, roots[0], new.head.size, roots[1], consistency)
        except EvidenceError as error:
            if new not in kept.refused:
                self._save(_Kept(newest=kept.newest, refused=(*kept.refused, new)[-8:]))
            raise EvidenceError(f"{error} → refused by {self.site}; both heads are in {self.path}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the one right to change the file."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _load(self) -> _Kept:
        """Read the file."""
        if not self.path.exists():
            return _Kept()
        try:
            return _Kept.model_validate_json(self.path.read_bytes())
        except ValidationError:
            raise EvidenceError(f"{self.path}: not the file of a witness → restore it from its backup") from None

    def _save(self, kept: _Kept) -> None:
        """Write the file."""
        write_atomically(self.path, kept.model_dump_json(indent=2).encode() + b"\n")
