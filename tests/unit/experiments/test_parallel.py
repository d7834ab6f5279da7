"""Runs in several processes give what one gives, and nothing is left when the command is killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import psutil
import pytest

from almoner.errors import DataError
from almoner.experiments.parallel import run_all, run_each


def test_results_and_their_order_do_not_depend_on_the_number_of_processes():
    data, told = np.arange(1000), []
    results = [
        run_all(lambda task: int(data[task] ** 2), (7, 3, 5), n, lambda done, total: told.append((done, total)))
        for n in (1, 2)
    ]
    assert results[0] == results[1] == {7: 49, 3: 9, 5: 25}
    assert list(results[1]) == [7, 3, 5]
    assert told == [(1, 3), (2, 3), (3, 3)] * 2


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_in_a_run_is_that_of_the_command(processes):
    def fail(task: int) -> int:
        raise DataError("no such data")

    with pytest.raises(DataError, match="no such data"):
        run_all(fail, (1, 2), processes, lambda done, total: None)


def test_a_run_that_heeds_no_sigterm_ends_with_the_others():
    deaf = multiprocessing.get_context("fork").Event()

    def work(task: str) -> None:
        if task == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            deaf.set()
            time.sleep(1000)
        deaf.wait()
        raise DataError("no such data")

    with pytest.raises(DataError, match="no such data"):
        list(run_each(work, ("deaf", "fails"), 2))


def test_a_run_that_is_killed_is_one_line():
    with pytest.raises(DataError, match="killed, most likely for want of memory"):
        list(run_each(lambda task: os.kill(os.getpid(), signal.SIGKILL), (1, 2), 2))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_a_command_that_is_stopped(how):
    script = """
        import time
        from almoner.experiments.parallel import run_all
        run_all(lambda task: time.sleep(60), (1, 2, 3), 2, lambda done, total: None)
    """
    command = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    deadline = time.monotonic() + 120
    while len(children := psutil.Process(command.pid).children()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(command.pid, how)
    command.wait()
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=60)[1] == []
