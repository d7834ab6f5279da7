"""A job's end is told with what its participants answered."""

from pathlib import Path
from typing import Any

import pytest

from almoner.flare.commands import session
from almoner.flare.commands.session import PROGRESS_SECONDS, UserSession


class EndsFirst:
    """FLARE's session with a job whose status is written before its answers, as FLARE's server does it."""

    def __init__(self, late: int) -> None:
        self.left = late

    def get_job_meta(self, job_id: str) -> dict[str, Any]:
        self.left -= 1
        answers = {} if self.left >= 0 else {"job_deploy_detail": ["server: NVFLARE_ERROR: refused"]}
        return {"job_id": job_id, "name": "job", "status": "FINISHED:FAILED_TO_RUN", **answers}


class Clock:
    """Time passes while somebody sleeps, and then alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_an_end_whose_answers_come_later_is_waited_for() -> None:
    report = UserSession(EndsFirst(late=2), Path()).follow("id", lambda progress: None, 60.0)  # type: ignore[arg-type]
    assert report.answers == {"server": "refused"}


@pytest.mark.parametrize(("late", "answers"), [(40, {"server": "refused"}), (1_000, {})], ids=["late", "never"])
def test_a_busy_server_has_half_a_minute_for_the_answers(
    late: int, answers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(session, "time", clock)
    report = UserSession(EndsFirst(late), Path()).follow("id", lambda progress: None, 600.0)  # type: ignore[arg-type]
    assert report.answers == answers
    assert PROGRESS_SECONDS < clock.now <= 30.0
