"""A job that the server has finished stays finished, whichever site dies before it has said that it finished too.

FLARE waits some seconds for the last word of every site, and fails a finished job as FINISHED:ABNORMAL if one of them
is declared dead, or comes back without the job, just then. A site that dropped out in mid-job is dead, and the
job's own result says in which rounds it took part. Here FLARE stops waiting for such a site, and no more.
"""

from typing import Any

from nvflare.private.fed.server.fed_server import FederatedServer


def install() -> None:
    """Change what FLARE's server in this process makes of a dead site's missing last word."""
    FederatedServer._resolve_missing_client_outcome = _wait_no_longer


def _wait_no_longer(server: Any, client: Any, job_id: str, reason: str) -> None:
    """Wait for this site's last word no longer; the job's status is what the server's own process ended with."""
    if server.engine.job_runner.is_client_outcome_pending(job_id, client.name):
        server.logger.info(f"job {job_id}: no last word of {client.name}: {reason}")
        server.engine.job_runner.resolve_client_outcome(job_id, client.name)
