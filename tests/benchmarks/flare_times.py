"""Where a job's time went, read from FLARE's own logs after the job has ended.

FLARE writes the same lines in our federation and in a stock one, so both are measured with one instrument.
The end of a job is the time of its last entry in the server's job store, not when somebody asked.

    submit      the user calls submit_job
    scheduled   the server's scheduler takes the job
    launched    the last site has started its job process (deployment, and with us admission, are done)
    started     the last job process has imported and built what its site's configuration names
    connected   the last site has its executor built and is synchronised with the server's job process
    ended       the last site was told that the run is over
    exited      the last site's job process has ended
    finished    the server says FINISHED
"""

import contextlib
import re
import statistics
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

PHASES = {
    "schedule_s": ("submit", "scheduled"),
    "deploy_s": ("scheduled", "launched"),
    "start_s": ("launched", "started"),
    "connect_s": ("started", "connected"),
    "tasks_s": ("connected", "ended"),
    "exit_s": ("ended", "exited"),
    "finish_s": ("exited", "finished"),
}
"""The phases of a job, each from one moment to another; together they are the whole job."""

_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) - (.*)$")


@dataclass(frozen=True)
class Places:
    """Where a federation's logs are.

    Args:
        server_kit: the server's workspace.
        site_kits: the workspace of each site.
        job_store: the folder with one folder for each submitted job.
    """

    server_kit: Path
    site_kits: tuple[Path, ...]
    job_store: Path


@dataclass(frozen=True)
class JobTimes:
    """The times of one job, in seconds.

    Args:
        phases: by the names of `PHASES`.
        rounds: how many training rounds the job had.
        round_s: mean time from a round's task to the next; 0 below two rounds.
        cpu_s: processor time of all processes of the federation while the job was there.
    """

    phases: dict[str, float]
    rounds: int
    round_s: float
    cpu_s: float

    @property
    def fixed_phases(self) -> dict[str, float]:
        """The phases without the rounds."""
        return self.phases | {"tasks_s": self.phases["tasks_s"] - self.rounds * self.round_s}

    @property
    def fixed_s(self) -> float:
        """From submit to FINISHED without the rounds."""
        return sum(self.fixed_phases.values())


def federation_cpu() -> float:
    """Return the processor seconds that all processes started from here have used, ended ones included.

    A process that was waited for counts in its parent's times; those that still run are asked.
    """
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


def read_events(log: Path) -> list[tuple[float, str]]:
    """Return (Unix time, text) of each line of a log that a logger began."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if match := _LINE.match(line):
            second = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").timestamp()
            found.append((second + int(match[2]) / 1000, match[3]))
    return found


def _last_to_say(logs: list[Path], *parts: str) -> float:
    """Return when the last of several logs had its first line with all these parts."""
    moments = []
    for log in logs:
        said = [moment for moment, text in read_events(log) if all(part in text for part in parts)]
        if not said:
            raise RuntimeError(f"{log}: no line with {' … '.join(parts)} → see the log; has FLARE changed its words?")
        moments.append(said[0])
    return max(moments)


def round_seconds(logs: list[Path], rounds: int) -> float:
    """Return the mean seconds from round to round.

    Args:
        logs: the job log of each site.
        rounds: how many there were.

    Returns:
        For each site the time from its first training task to its last by the intervals; median of the sites.

    Raises:
        RuntimeError: when a site was not given each round exactly once.
    """
    if rounds < 2:
        return 0.0
    means = []
    for log in logs:
        times = [t for t, text in read_events(log) if "got task assignment" in text and "name=train," in text]
        if len(times) != rounds:
            raise RuntimeError(f"{log}: {len(times)} train tasks, where the job has {rounds} rounds → see the log")
        means.append((times[-1] - times[0]) / (rounds - 1))
    return statistics.median(means)


def job_log(kit: Path, job_id: str) -> Path:
    """Return the log of a site's job process: a stock site leaves it in the job's folder, ours moves it."""
    left = kit / job_id / "log.txt"
    return left if left.is_file() else kit.parent / "job-logs" / f"{job_id}.txt"


def read_times(places: Places, job_id: str, submit: float, rounds: int, cpu_s: float) -> JobTimes:
    """Read the times of a job that has finished.

    Args:
        places: where the logs are.
        job_id: FLARE's id of the job.
        submit: Unix time at which submit_job was called.
        rounds: how many training rounds the job had.
        cpu_s: processor seconds that the federation used from submit to the job's end.

    Raises:
        RuntimeError: when a log lacks a line that marks a moment.
    """
    parents = [kit / "log.txt" for kit in places.site_kits]
    jobs = [job_log(kit, job_id) for kit in places.site_kits]
    moments = {
        "submit": submit,
        "scheduled": _last_to_say([places.server_kit / "log.txt"], "Try to schedule job", job_id, "(scheduled)"),
        "launched": _last_to_say(parents, "Launched job", job_id),
        "started": _last_to_say(jobs, "Worker_process started"),
        "connected": _last_to_say(jobs, "client runner started"),
        "ended": _last_to_say(jobs, "END_RUN fired"),
        "exited": _last_to_say(parents, job_id, "child worker process finished"),
        "finished": (places.job_store / job_id / "meta").stat().st_mtime,
    }
    phases = {name: moments[end] - moments[start] for name, (start, end) in PHASES.items()}
    return JobTimes(phases, rounds, round_seconds(jobs, rounds), cpu_s)
