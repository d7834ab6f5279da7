"""The heads of other sites' ledgers that a ledger holds, as SQL: the newest entry of kind "heads" has them all."""

import json

from apsw import Connection

from almoner.errors import LedgerError, ProtocolError
from almoner.privacy.heads import SignedHead, newest
from almoner.privacy.ledger_chain import append
from almoner.privacy.ledger_entries import recorded


def hash_at(connection: Connection, seq: int) -> str | None:
    """Return the hash of an entry, or None if there is none of that number."""
    row = connection.execute("SELECT hash FROM entries WHERE seq = ?", (seq,)).fetchone()
    return None if row is None else str(row[0])


def read_held(connection: Connection) -> dict[str, SignedHead]:
    """Return the newest head of each other site.

    Raises:
        LedgerError: when the entry is not of heads.
    """
    row = connection.execute("SELECT payload FROM entries WHERE kind = 'heads' ORDER BY seq DESC LIMIT 1").fetchone()
    if row is None:
        return {}
    try:
        held = json.loads(str(row[0]))["heads"]
        return {str(site): SignedHead.from_json(head) for site, head in held.items()}
    except (ProtocolError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise LedgerError("the entry of held heads is malformed → restore the ledger from its backup") from None


def hold(connection: Connection, job_id: str, heads: dict[str, SignedHead], stale: frozenset[str]) -> None:
    """Add an entry with the newest head of each site, of these and those held before of sites that are not stale."""
    held = {site: head for site, head in read_held(connection).items() if site not in stale}
    merged = newest(held, heads)
    payload = {"job_id": job_id, "heads": {site: head.to_json() for site, head in merged.items()}}
    append(connection, "heads", recorded("heads", payload))
