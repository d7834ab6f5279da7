"""The log reader of the flare benchmark, on lines as FLARE 2.9 writes them."""

import os
from datetime import datetime
from pathlib import Path

import pytest
from flare_times import PHASES, Places, read_events, read_times, round_seconds

JOB = "36eace08-7e1e-4463-9fa2-9da71c8de13f"
START = datetime(2026, 11, 21, 23, 15, 0).timestamp()


def line(second: float, text: str) -> str:
    stamp = datetime.fromtimestamp(START + second)
    return f"{stamp:%Y-%m-%d %H:%M:%S},{stamp.microsecond // 1000:03d} - {text}\n"


def task(second: float, name: str = "train") -> str:
    return line(second, f"ClientRunner - INFO - [identity=x, run={JOB}] - got task assignment: name={name}, id=2fd5")


def site_kit(folder: Path, late: float) -> Path:
    """A site whose every moment is `late` seconds after that of the punctual site."""
    job_log = folder / JOB / "log.txt"
    job_log.parent.mkdir(parents=True)
    (folder / "log.txt").write_text(
        line(3 + late, f"JobExecutor - INFO - Launched job {JOB} with job launcher: <class 'X'>")
        + line(40 + late, f"JobExecutor - INFO - run ({JOB}): child worker process finished with RC 0")
    )
    job_log.write_text(
        line(10 + late, "worker_process - INFO - Worker_process started.")
        + line(15 + late, f"ClientRunner - INFO - [identity=x, run={JOB}] - client runner started")
        + task(16 + late, "setup")
        + "".join(task(20 + late + 0.5 * number) for number in range(3))
        + line(30 + late, f"ClientRunner - INFO - [identity=x, run={JOB}] - END_RUN fired")
    )
    return folder


@pytest.fixture
def places(tmp_path: Path) -> Places:
    server = tmp_path / "server"
    server.mkdir()
    (server / "log.txt").write_text(
        line(1, f"DefaultJobScheduler - INFO - Try to schedule job {JOB}, get result: (no resources).")
        + line(2, f"DefaultJobScheduler - INFO - Try to schedule job {JOB}, get result: (scheduled).")
    )
    meta = tmp_path / "store" / JOB / "meta"
    meta.parent.mkdir(parents=True)
    meta.write_text("{}")
    os.utime(meta, (START + 45, START + 45))
    kits = (site_kit(tmp_path / "a", 0.0), site_kit(tmp_path / "b", 0.25))
    return Places(server, kits, tmp_path / "store")


def test_phases_end_with_the_last_site_and_add_up_to_the_whole_job(places: Places) -> None:
    times = read_times(places, JOB, START, rounds=3, cpu_s=7.0)
    expected = dict(zip(PHASES, (2.0, 1.25, 7.0, 5.0, 15.0, 10.0, 4.75), strict=True))
    assert times.phases == pytest.approx(expected, abs=1e-3)
    assert sum(times.phases.values()) == pytest.approx(45.0, abs=1e-3)


def test_rounds_are_timed_from_task_to_task_and_left_out_of_the_fixed_time(places: Places) -> None:
    times = read_times(places, JOB, START, rounds=3, cpu_s=7.0)
    assert times.round_s == pytest.approx(0.5, abs=1e-3)
    assert times.fixed_phases["tasks_s"] == pytest.approx(13.5, abs=1e-3)
    assert times.fixed_s == pytest.approx(43.5, abs=1e-3)


def test_a_site_that_missed_a_round_is_an_error(places: Places) -> None:
    with pytest.raises(RuntimeError, match="3 train tasks, where the job has 4 rounds"):
        round_seconds([places.site_kits[0] / JOB / "log.txt"], 4)


def test_a_missing_line_is_named(places: Places) -> None:
    log = places.site_kits[1] / JOB / "log.txt"
    log.write_text(log.read_text().replace("END_RUN", "ENDED"))
    with pytest.raises(RuntimeError, match="no line with END_RUN fired"):
        read_times(places, JOB, START, rounds=3, cpu_s=7.0)


def test_lines_that_no_logger_began_are_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("Traceback (most recent call last):\n" + line(1.5, "A - INFO - x") + "  continued\n")
    assert read_events(log) == [(pytest.approx(START + 1.5, abs=1e-3), "A - INFO - x")]
