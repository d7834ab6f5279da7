"""How far a job is: one live line in a terminal, one line a round elsewhere. How far a command's own runs are."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from almoner.cli.app import console, errors
from almoner.flare.commands.session import JobReport, UserSession
from almoner.privacy.distributed_training import assumption_of
from almoner.privacy.plan import epsilon_after
from almoner.schema.envelope import AnyJob, AnyJobSpec
from almoner.schema.job import JobSpec

PROGRESS_LINES = 20
"""How many lines of progress a command's runs print at most."""


def follow_job(session: UserSession, job_id: str, timeout_seconds: float, spec: AnyJobSpec | None = None) -> JobReport:
    """Follow a job to its end and show how far it is.

    Args:
        spec: the job; what the server says of it if None.

    Raises:
        FederationError: the job did not end in time.
    """
    with JobProgress(spec) as progress:
        report = session.follow(job_id, progress, timeout_seconds)
        if report.completed:
            progress.complete()
        return report


class JobProgress:
    """Shows each change of a job's progress, and each round once. Leaving it ends the live line.

    Args:
        spec: the job; what the server says of it if None.
        out: where to; live if it is a terminal.
        clock: seconds.
    """

    def __init__(
        self, spec: AnyJobSpec | None, out: Console = console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spec, self._out, self._clock = spec, out, clock
        self._began: tuple[float, int] | None = None
        self._last: dict[str, Any] = {}
        self._bar = Progress(TextColumn("  {task.description}", markup=False), BarColumn(), console=out)
        self._task = self._bar.add_task("waiting", total=None)

    def __enter__(self) -> "JobProgress":
        if self._out.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._out.is_terminal:
            self._bar.stop()

    def __call__(self, progress: dict[str, Any]) -> None:
        """Show one change, as `UserSession.follow` tells it."""
        if self._spec is None and isinstance(text := progress.get("spec"), str):
            self._spec = _read(text)
        left = self._seconds_left(progress)
        if self._out.is_terminal:
            line, rounds = progress_line(progress, self._spec, left), progress.get("rounds")
            self._bar.update(self._task, description=line, completed=progress.get("done", 0), total=rounds or None)
        elif progress.get("phase") != "train":
            self._out.print(f"  {progress_line(progress, self._spec, None)}")
        else:
            for done in range(self._last.get("done", 0) + 1, progress["done"] + 1):
                line = progress_line(progress | {"done": done}, self._spec, left if done == progress["done"] else None)
                self._out.print(f"  {line}")
        self._last = progress if progress.get("phase") == "train" else self._last

    def complete(self) -> None:
        """Show the rounds that were too fast to be seen, of a job that ran to its end."""
        if self._last and self._last["done"] < self._last["rounds"]:
            self(self._last | {"done": self._last["rounds"]})

    def _seconds_left(self, progress: dict[str, Any]) -> float | None:
        """Return how long the rounds that are left take at the pace of those since this was first asked."""
        if progress.get("phase") != "train":
            return None
        now, done = self._clock(), int(progress["done"])
        began, first = self._began = self._began or (now, done)
        return None if done == first else (now - began) / (done - first) * (int(progress["rounds"]) - done)


def progress_line(progress: dict[str, Any], spec: AnyJobSpec | None, seconds_left: float | None) -> str:
    """Say how far a job is.

    Args:
        progress: as the server tells it: phase, round, rounds, done, sites that take part, num_sites of the job.
        spec: the job, for the ε that training has cost a site so far; None if it is not known.
        seconds_left: of all rounds; None if it is not known yet.
    """
    if progress.get("phase") != "train":
        return str(progress.get("phase", ""))
    done, rounds = int(progress["done"]), int(progress["rounds"])
    parts = [f"round {done}/{rounds} done", f"{len(progress['sites'])} sites"]
    if isinstance(spec, JobSpec) and spec.target_epsilon is not None and 0 < done <= spec.rounds:
        spent = epsilon_after(spec, done, assumption_of(spec, int(progress["num_sites"])))
        parts.append(f"ε {spent:.2f} of {spec.target_epsilon:g} so far")
    if seconds_left is not None and done < rounds:
        parts.append(f"{duration(seconds_left)} left")
    return ", ".join(parts)


class RunProgress:
    """Prints how many runs of a command are done, and how long the others take at the pace so far.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, clock()

    def __call__(self, done: int, total: int) -> None:
        """Say that so many runs are done."""
        if done * PROGRESS_LINES // total > (done - 1) * PROGRESS_LINES // total:
            left = (self._clock() - self._began) / done * (total - done)
            errors.print(f"  {done} of {total} runs, {duration(left)} left")


def duration(seconds: float) -> str:
    """Return minutes and seconds, such as 1:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _read(text: str) -> AnyJobSpec | None:
    """Read the spec that the server names; None if it is none."""
    try:
        return AnyJob.model_validate_json(text).root
    except ValidationError:
        return None
