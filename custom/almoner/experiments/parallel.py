"""Many runs on the same data, some at a time, in processes that share the data without copying it."""

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from signal import SIG_DFL, SIG_IGN, SIGINT, SIGTERM, signal
from typing import Any, TypeVar

import torch

from almoner.errors import DataError

Task = TypeVar("Task", bound=Hashable)
Result = TypeVar("Result")
Work = Callable[[Task], Result]
Progress = Callable[[int, int], None]
"""(runs done, runs in all)."""


def run_all(work: Work[Task, Result], tasks: Sequence[Task], processes: int, progress: Progress) -> dict[Task, Result]:
    """Carry out all tasks; see `run_each`.

    *Guarantee*: results and their order do not depend on the number of processes, as long as `work` depends on its
    task alone.

    Args:
        progress: is told after each.
    """
    found: dict[Task, Result] = {}
    for task, result in run_each(work, tasks, processes):
        found[task] = result
        progress(len(found), len(tasks))
    return {task: found[task] for task in tasks}


def run_each(work: Work[Task, Result], tasks: Sequence[Task], processes: int) -> Iterator[tuple[Task, Result]]:
    """Carry out tasks, and yield each with its result as it is done.

    *Guarantee*: no process outlives this one, nor an error or Ctrl-C in it.

    Args:
        work: what is done; processes are forked from this one, so whatever it holds is there and never copied.
        tasks: distinct; they and the results are small, they are pickled.
        processes: how many at a time; 1 does all in this process.

    Raises:
        DataError: a process was killed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small batches: threads cost more than they bring, and no thread survives a fork
    try:
        yield from ((task, work(task)) for task in tasks) if processes == 1 else _in_pool(work, tasks, processes)
    finally:
        torch.set_num_threads(threads)


def _in_pool(work: Work[Task, Result], tasks: Sequence[Task], processes: int) -> Iterator[tuple[Task, Result]]:
    """Yield results as they come; whatever ends this ends the processes."""
    before = set(active_children())
    with ProcessPoolExecutor(processes, get_context("fork"), partial(_enter, work)) as pool:
        try:
            running: dict[Future[Result], Task] = {pool.submit(_run, task): task for task in tasks}
            for done in as_completed(running):
                yield running[done], done.result()
        except BrokenProcessPool:
            raise DataError("a run was killed, most likely for want of memory → take fewer --processes") from None
        finally:
            for process in set(active_children()) - before:
                process.kill()  # one that is just forked would meet SIGTERM with the handler of this process
            pool.shutdown(cancel_futures=True)


_entered: list[Callable[..., Any]] = []


def _enter(work: Work[Task, Result]) -> None:
    """Begin a process of the pool; it leaves Ctrl-C to this command, and ends when the command is killed."""
    signal(SIGINT, SIG_IGN)
    signal(SIGTERM, SIG_DFL)
    _entered[:] = [work]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the end of the process that made this one."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _run(task: Any) -> Any:
    """Carry out a task in a process of the pool."""
    return _entered[0](task)
