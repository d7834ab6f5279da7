"""One request for statistics at one site: the tasks that are its own.

Transitions, beside those of every job (see `site_job.py`). Where each site noises its own numbers:

    READY     --statistics-->          RELEASED   first the ledger its charge, then data is touched; a request that was
                                                  answered before gets what is stored, without either
    RELEASED  --statistics again-->    RELEASED   the same answer again

Where the noise is distributed:

    READY     --train 1-->             READY      the protection takes the announcement, the ledger its charge, then
                                                  data is touched and this site's share of the noise drawn, once
    READY     --train 1 again-->       READY      the same answer again; there is no second round for one charge
    READY     --total-->               DONE       the total is verified and opened; what leaves is the noised total
"""

import numpy as np

from almoner.errors import ProtocolError
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import ReplyKind, TaskHeader
from almoner.flare.phases.site_job import SiteJob, State
from almoner.flare.site.release_store import cells_bytes, find_release
from almoner.flare.statistics.context import StatisticsContext
from almoner.privacy.statistics_plan import STATISTICS_STEP
from almoner.release.run import run_statistics
from almoner.release.share import noised_share
from almoner.release.tally import exact_cells

ROUND = 1
"""The one round of a distributed request."""


class StatisticsJob(SiteJob):
    """Answers the server's tasks for one request for statistics."""

    def __init__(self, context: StatisticsContext) -> None:
        super().__init__(context)
        self._request, self._spec = context, context.spec

    @property
    def _needs_keys(self) -> bool:
        """Whether the noise is distributed."""
        return self._request.protection is not None

    @property
    def _rounds_opened(self) -> int:
        """None, until the total is opened and the job done."""
        return 0

    def _carry_out(self, header: TaskHeader, body: bytes) -> Sealed:
        """Answer for this site alone, contribute to the total, or open it."""
        if (repeat := self._repeat(header, body)) is not None:
            return repeat
        match header.kind:
            case "statistics" if not self._needs_keys and header.round == ROUND and not body:
                return self._answer_alone()
            case "train" if self._needs_keys and header.round == ROUND and self._rounds_begun == 0:
                return self._contribute(header, body)
            case "total" if self._needs_keys and header.round == ROUND == self._rounds_begun:
                return self._open(header, body)
        raise ProtocolError(f"task {header.kind} {header.round} in a request for statistics")

    def _answer_alone(self) -> Sealed:
        """Commit the request, then read, add up and noise; or tell what was told before."""
        site, spec, job_id, step = self._request.site, self._spec, "", ""
        if self._request.plan.steps:
            step = STATISTICS_STEP
            self._commit(step)
            cells = run_statistics(self._request.data_path, spec)
        else:
            with site.ledger() as ledger:
                stored = find_release(site, ledger, spec, self._request.stored_as)
            if stored is None:
                raise ProtocolError(
                    "this request was admitted as answered before, but the site committed to its data since"
                )
            job_id, step, cells = stored.job_id, STATISTICS_STEP, stored.to_array()
        self._state = State.RELEASED
        self._last_answer = Sealed(ReplyKind.STATISTICS, ROUND, step, cells_bytes(cells), of_job=job_id)
        return self._last_answer

    def _contribute(self, header: TaskHeader, announcement: bytes) -> Sealed:
        """Take the announcement and commit; then read, add up, and add this site's share of the noise."""
        if header.contributors or len(announcement) != self._protection.announcement_bytes(header.ring):
            raise ProtocolError(f"task {header.kind}: not what is due")
        self._begin_round(header, announcement)
        self._commit(STATISTICS_STEP)
        exact = exact_cells(self._request.data_path, self._spec)
        values = noised_share(self._spec, exact, len(self._request.envelope.sites))
        self._last_answer = Sealed(ReplyKind.UPDATE, ROUND, STATISTICS_STEP, values)
        return self._last_answer

    def _open(self, header: TaskHeader, body: bytes) -> Sealed:
        """Verify and open the total of all contributors; the site signs for what leaves: the noised numbers."""
        if len(body) != self._protection.total_bytes(header.contributors):
            raise ProtocolError(f"task {header.kind}: {len(body)} bytes, not what is due")
        total = self._protection.open(ROUND, header.contributors, body)
        self._state = State.DONE
        self._protection.close()
        return Sealed(ReplyKind.TOTAL, ROUND, "", cells_bytes(np.asarray(total)), of_sites=header.contributors)
