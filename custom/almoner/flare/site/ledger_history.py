"""The history of a site's jobs, read from its ledger once, then only what is new."""

from almoner.admission.history import History
from almoner.admission.ledger_facts import LedgerFacts
from almoner.privacy.ledger import Entry, Ledger


class HistoryReader:
    """Reads a ledger's history; keeps what it has read, as long as the chain goes on from there.

    A ledger that was replaced is read anew from its first entry. One reader is for one ledger and one thread.
    """

    def __init__(self) -> None:
        self._facts = LedgerFacts()
        self._last: Entry | None = None

    def read(self, ledger: Ledger) -> History:
        """Return the history as it stands."""
        fresh = self._entries_since(ledger)
        if fresh is None:
            self._facts, fresh = LedgerFacts(), ledger.entries()
        self._facts.read(fresh)
        self._last = fresh[-1] if fresh else self._last
        return self._facts.history()

    def _entries_since(self, ledger: Ledger) -> tuple[Entry, ...] | None:
        """Return the entries after the last one that was read; None if the chain does not hold that one."""
        if self._last is None:
            return None
        behind = ledger.head()[0] - self._last.seq
        tail = ledger.entries(behind + 1) if behind >= 0 else ()
        return tail[1:] if tail and tail[0].hash == self._last.hash else None
