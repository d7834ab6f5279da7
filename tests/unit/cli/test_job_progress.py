"""What is shown while a job runs: round, ε so far, time left; a live line in a terminal, one line a round elsewhere."""

import io
from typing import Any

import pytest
from rich.console import Console

from almoner.cli.progress import JobProgress, RunProgress, duration, progress_line
from almoner.privacy.plan import epsilon_after, job_events
from almoner.privacy.pld import pld_epsilon
from almoner.schema.job import JobSpec

SITES = ["cleveland", "hungary"]


def train(done: int, **more: Any) -> dict[str, Any]:
    return {"phase": "train", "round": done + 1, "rounds": 20, "done": done, "sites": SITES, "num_sites": 4, **more}


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def told(spec: JobSpec | None, *steps: tuple[float, dict[str, Any]], terminal: bool = False) -> str:
    """Return what is printed when progress comes at these seconds."""
    out, clock = io.StringIO(), Clock()
    console = Console(
        file=out,
        force_terminal=terminal,
        width=120,
        soft_wrap=True,
        markup=False,
        highlight=False,
        _environ={"TERM": "xterm"},
    )
    with JobProgress(spec, console, clock) as progress:
        for seconds, change in steps:
            clock.now = 100.0 + seconds
            progress(change)
    return out.getvalue()


def test_epsilon_so_far_grows_to_the_target(heart_spec: JobSpec) -> None:
    spent = [epsilon_after(heart_spec, rounds) for rounds in (0, 1, 10, 20)]
    assert spent[0] == 0.0
    assert spent == sorted(spent)
    training = [event for step in job_events(heart_spec).steps[:20] for event in step.events]
    assert spent[-1] == pld_epsilon(training, 1e-4) <= 1.0
    assert spent[-1] > 0.99


def test_one_line_a_round_where_there_is_no_terminal(heart_spec: JobSpec) -> None:
    begun = {"phase": "setup", "round": 0, "rounds": 20, "done": 0, "sites": SITES}
    text = told(heart_spec, (0, begun), (1, train(0)), (5, train(2)), (41, train(20)), (42, {"phase": "release"}))
    lines, spent = text.splitlines(), [f"ε {epsilon_after(heart_spec, done):.2f} of 1 so far" for done in range(21)]
    assert lines[:3] == [
        "  setup",
        f"  round 1/20 done, 2 sites, {spent[1]}",
        f"  round 2/20 done, 2 sites, {spent[2]}, 0:36 left",
    ]
    assert lines[3:-1] == [f"  round {done}/20 done, 2 sites, {spent[done]}" for done in range(3, 21)]
    assert lines[-1] == "  release"


def test_a_job_that_was_joined_late_is_timed_from_then(heart_spec: JobSpec) -> None:
    lines = told(heart_spec, (0, train(10)), (30, train(15))).splitlines()
    assert len(lines) == 15
    assert [line.endswith("0:30 left") for line in lines] == [False] * 14 + [True]


def test_rounds_that_were_too_fast_to_be_seen_are_shown_at_the_end(heart_spec: JobSpec) -> None:
    out = io.StringIO()
    with JobProgress(heart_spec, Console(file=out, width=120, soft_wrap=True)) as progress:
        progress.complete()
        progress(train(18))
        progress.complete()
        progress.complete()
    assert [line.split(",")[0] for line in out.getvalue().splitlines()] == [
        f"  round {n}/20 done" for n in range(1, 21)
    ]


def test_a_terminal_gets_one_live_line(heart_spec: JobSpec) -> None:
    text = told(heart_spec, (0, train(0)), (5, train(20)), terminal=True)
    assert "\x1b[" in text
    assert "round 20/20 done, 2 sites, ε 1.00 of 1 so far" in text
    assert text.count("\n") == 1


def test_whoever_has_no_spec_takes_the_servers(heart_spec: JobSpec) -> None:
    assert "ε" not in told(None, (0, train(5)))
    assert "ε 1.00 of 1 so far" in told(None, (0, train(20, spec=heart_spec.model_dump_json())))
    for text in ("", "{", "null", '{"kind": "training"}'):
        assert "round 20/20" in told(None, (0, train(20, spec=text)))


@pytest.mark.parametrize("done", [-1, 0, 21])
def test_a_server_that_counts_wrongly_gets_no_epsilon(done: int, heart_spec: JobSpec) -> None:
    assert "ε" not in progress_line(train(done), heart_spec, None)


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.6, 65, 3600)] == ["0:00", "1:00", "1:05", "60:00"]


def test_runs_of_a_command_say_what_is_left_at_their_pace(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = RunProgress(clock)
    for done in range(1, 41):
        clock.now += 3
        progress(done, 40)
    lines = capsys.readouterr().err.splitlines()
    assert (lines[0], lines[-1]) == ("  2 of 40 runs, 1:54 left", "  40 of 40 runs, 0:00 left")
    assert len(lines) == 20
