"""Jobs that a site's last run left open: given back if they never started, abandoned if they ran."""

import uuid
from dataclasses import replace

import pytest
from flare_cases import head, reservation

from almoner.errors import LedgerError
from almoner.flare.job.job_context import JobContext
from almoner.flare.processes.leftovers import close_leftovers

WAITING = str(uuid.UUID(int=8))


def test_open_jobs_of_the_last_run(context: JobContext) -> None:
    population = context.dataset.population
    with context.site.ledger() as ledger:
        ledger.commit(context.job_id, "train-0001")
        running = ledger.account(population).rdp_spent
        ledger.reserve(replace(reservation(context), job_id=WAITING, nonce="f" * 32))
        assert ledger.account(population).rdp_spent > running
        close_leftovers(ledger)
        assert ledger.account(population).rdp_spent == running, "the job that never started was given back"
        assert (ledger.job(WAITING).status, ledger.job(context.job_id).status) == ("settled", "abandoned")
        with pytest.raises(LedgerError, match="abandoned"):  # by a process that outlived the site's
            ledger.commit(context.job_id, "train-0002")
        with pytest.raises(LedgerError, match="settled"):
            ledger.start(WAITING, ledger.job(WAITING).tree_digest)
        ledger.verify()


@pytest.mark.threat("T-33")
def test_a_job_that_had_read_nothing_costs_nothing(context: JobContext) -> None:
    with context.site.ledger() as ledger:
        assert ledger.account(context.dataset.population).rdp_spent > 0
        close_leftovers(ledger)
        assert ledger.job(context.job_id).status == "settled"
        assert ledger.account(context.dataset.population).rdp_spent == 0
        with pytest.raises(LedgerError, match="settled"):  # by a process that outlived the site's
            ledger.commit(context.job_id, "train-0001")


def test_nothing_is_written_when_nothing_was_left(context: JobContext) -> None:
    with context.site.ledger() as ledger:
        close_leftovers(ledger)
        before = head(context)
        close_leftovers(ledger)
    assert head(context) == before
