"""What a site does at its start about jobs that its last run left open."""

from almoner.privacy.ledger import Ledger


def close_leftovers(ledger: Ledger) -> None:
    """Give back the reservations of jobs that never read data, and abandon those that had committed a step.

    Call it before FLARE starts, when no job can run: the folders of these jobs are deleted, so none of them can
    start again, and none of them commits anything more, should a process of it have outlived the site's.
    """
    for job in ledger.open_jobs():
        if not ledger.withdraw(job.job_id, "the site was restarted before the job started"):
            ledger.close_dead(job.job_id, "the site was restarted while the job ran")
