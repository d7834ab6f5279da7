"""Logs what the gates refuse, a bounded number of lines a minute: who is refused decides how often he sends."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

LINES_A_MINUTE = 60
_NAME_CHARACTERS = 80

logger = logging.getLogger("almoner.flare.gates.gate")


def _printable(text: str) -> str:
    """Return what may stand in a log line of what a stranger sent."""
    return "".join(char if char.isprintable() else "?" for char in text[:_NAME_CHARACTERS])


class RefusalLog:
    """Writes one line a refusal, and after `LINES_A_MINUTE` lines in a minute only counts. Thread-safe.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._minute, self._lines, self._left_out = -1, 0, 0

    def write(self, names: Iterable[str]) -> None:
        """Log the names of what was refused, and first how many lines the minutes before left out."""
        with self._lock:
            minute = int(self._clock() // 60)
            left_out = self._left_out if minute != self._minute else 0
            if minute != self._minute:
                self._minute, self._lines, self._left_out = minute, 0, 0
            self._lines += 1
            if self._lines > LINES_A_MINUTE:
                self._left_out += 1
                return
        if left_out:
            logger.warning("gate: refused %d more messages that were not logged one by one", left_out)
        logger.warning("gate: refused %s", ":".join(_printable(name) for name in names if name))


REFUSALS = RefusalLog()
