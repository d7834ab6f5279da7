"""A job's end is told with what its participants answered."""

from pathlib import Path
from typing import Any

from almoner.flare.commands.session import UserSession


class EndsFirst:
    """FLARE's session with a job whose status is written before its answers, as FLARE's server does it."""

    def __init__(self, late: int) -> None:
        self.left = late

    def get_job_meta(self, job_id: str) -> dict[str, Any]:
        self.left -= 1
        answers = {} if self.left >= 0 else {"job_deploy_detail": ["server: NVFLARE_ERROR: refused"]}
        return {"job_id": job_id, "name": "job", "status": "FINISHED:FAILED_TO_RUN", **answers}


def test_an_end_whose_answers_come_later_is_waited_for() -> None:
    report = UserSession(EndsFirst(late=2), Path()).follow("id", lambda progress: None, 60.0)  # type: ignore[arg-type]
    assert report.answers == {"server": "refused"}
