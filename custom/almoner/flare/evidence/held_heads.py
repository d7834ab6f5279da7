"""Heads of the sites' ledgers in files: what the server holds beside its kit, and what people check against."""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from almoner.data.atomic import write_atomically
from almoner.errors import FederationError, ProtocolError
from almoner.flare.evidence.head_statements import verifies, verify_head
from almoner.flare.evidence.live_log import LiveLog
from almoner.privacy.heads import SignedHead, newest, verify_contains
from almoner.privacy.ledger import Ledger
from almoner.provision import names
from almoner.schema.consortium import Roster
from almoner.schema.documents import load_document

HEADS_FILE = "heads.json"


def read_heads(path: Path) -> dict[str, SignedHead]:
    """Read a file of heads by site; also what `almoner ledger heads` printed.

    Raises:
        FederationError: the file cannot be read, or is not of heads.
    """
    try:
        value = json.loads(path.read_bytes())
        return {str(site): SignedHead.from_json(head) for site, head in value["heads"].items()}
    except OSError as error:
        raise FederationError(f"{path}: {error.strerror} → give a file of ledger heads") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ProtocolError):
        raise FederationError(f"{path}: not a file of ledger heads → restore it, or ask for it anew") from None


def heads_json(heads: dict[str, SignedHead]) -> dict[str, object]:
    """Return heads as `read_heads` takes them."""
    return {"heads": {site: head.to_json() for site, head in sorted(heads.items())}}


def verify_against(ledger: Ledger, site_folder: Path, heads_file: Path) -> int:
    """Check that a site's ledger contains the head that others hold of it; return the head's number.

    Raises:
        FederationError: the file holds no head of this site.
        ProtocolError: the head is not signed by the site.
        LedgerError: the ledger was rolled back behind the head.
    """
    head = read_heads(heads_file).get(ledger.site)
    if head is None:
        raise FederationError(f"{heads_file}: holds no head of {ledger.site} → take the file of a site that met it")
    roster = load_document(site_folder / "kit" / "local" / names.ROSTER_FILE, Roster)
    verify_head(head, roster, ledger.site)
    verify_contains(ledger.hash_at(head.seq), head, str(heads_file))
    return head.seq


@dataclass(frozen=True)
class ServerHeads:
    """What the server holds. Safe to use from several job processes.

    Args:
        path: the file; there is none before the first job.
        log: takes all heads that come in, before they are kept.
    """

    path: Path
    roster: Roster
    log: LiveLog

    def held(self) -> dict[str, SignedHead]:
        """Return the heads that count: those signed with their site's present certificate.

        Raises:
            FederationError: the file is damaged.
        """
        heads = read_heads(self.path) if self.path.exists() else {}
        return {site: head for site, head in heads.items() if verifies(head, self.roster, site)}

    def keep(self, heads: dict[str, SignedHead]) -> None:
        """Keep heads that are newer than those held.

        Raises:
            FederationError: the file is damaged.
            ProtocolError: a head is not signed by its site.
        """
        for site, head in heads.items():
            verify_head(head, self.roster, site)
        self.log.heads(heads)
        lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            merged = newest(self.held(), heads)
            write_atomically(self.path, (json.dumps(heads_json(merged), indent=2) + "\n").encode())
        finally:
            os.close(lock)
