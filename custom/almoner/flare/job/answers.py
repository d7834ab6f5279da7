"""Collects the sites' answers to one task, and says when waiting for more is over.

Waiting ends when every site has answered or is dead; or when `enough` have given a good answer and the rest is late;
or when `min_sites` can no longer be reached; or after the round's time limit.
"""

import threading
import time
from collections.abc import Callable

from nvflare.apis.controller_spec import ClientTask
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from almoner.errors import ProtocolError
from almoner.flare.job.wire import PAYLOAD_KEY, REFUSAL, Reply, decode_reply

ROUND_TIMEOUT_SECONDS = 600.0
STRAGGLER_SECONDS = 15.0
"""How long a round waits for the rest, at the least, once enough have answered."""

STRAGGLER_FACTOR = 2.0
"""The wait for the rest, as a multiple of the time in which enough answered."""

_POLL_SECONDS = 0.5

IsGood = Callable[[str, Reply], bool]


class Answers:
    """The answers to one task.

    Args:
        expected: the sites that were asked.
        min_sites: how many good answers the job needs.
        is_good: tells by kind, round and length whether a site's answer can be one; junk makes nobody late.
        enough: with how many good answers the job can do without the rest, whoever they are; not less than `min_sites`,
            and that unless given.
    """

    def __init__(self, expected: tuple[str, ...], min_sites: int, is_good: IsGood, enough: int | None = None) -> None:
        self._expected, self._min_sites, self._is_good = expected, min_sites, is_good
        self._enough = min_sites if enough is None else enough
        self._replies: dict[str, Reply] = {}
        self._dead: set[str] = set()
        self._changed = threading.Condition()

    def receive(self, client_task: ClientTask, fl_ctx: FLContext) -> None:
        """Take one site's result; what is no well-formed reply counts as a refusal. FLARE's callback."""
        result = client_task.result
        try:
            reply = decode_reply(result.get(PAYLOAD_KEY) if isinstance(result, Shareable) else None)
        except ProtocolError:
            reply = REFUSAL
        client_task.result = None
        with self._changed:
            self._replies.setdefault(client_task.client.name, reply)
            self._changed.notify_all()

    def give_up(self, site: str) -> None:
        """Wait no longer for a site that FLARE reports dead."""
        with self._changed:
            self._dead.add(site)
            self._changed.notify_all()

    def wait(self, abort_signal: Signal) -> dict[str, Reply]:
        """Wait as the module says; return the replies by site."""
        start = time.monotonic()
        enough_at: float | None = None
        with self._changed:
            while not abort_signal.triggered:
                elapsed = time.monotonic() - start
                good = sum(self._is_good(site, reply) for site, reply in self._replies.items())
                pending = [site for site in self._expected if site not in self._replies and site not in self._dead]
                if enough_at is None and good >= self._enough:
                    enough_at = elapsed
                if not pending or good + len(pending) < self._min_sites or elapsed > ROUND_TIMEOUT_SECONDS:
                    break
                if enough_at is not None and elapsed - enough_at > max(STRAGGLER_SECONDS, STRAGGLER_FACTOR * enough_at):
                    break
                self._changed.wait(_POLL_SECONDS)
            return dict(self._replies)
