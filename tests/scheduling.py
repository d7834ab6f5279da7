"""Which worker of pytest-xdist runs which test file: `--dist loadfile`, with federations kept apart.

A federation is a dozen processes with 3 GB, which often wait for each other. So two workers run the files with
federations, one each, the longest first; the others run the rest meanwhile, in which those two help at the end.

Files that fork run where no federation ran: FLARE's connections leave threads, and a fork of a process with threads may
wait for ever for a lock that one of them held.
"""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler.loadfile import LoadFileScheduling
from xdist.workermanage import WorkerController

LIVE, LIVE_WORKERS = "tests/integration/", 2
SHARED = {f"{LIVE}test_{name}.py": f"{LIVE}hospitals" for name in ("admin_console", "heart_job")}
"""Files that share a federation go to one worker, as if they were one."""

LONGEST = (
    "test_protections_live.py",
    "hospitals",
    "test_gate_attacks_job.py",
    "test_statistics_live.py",
    "test_server_gate_live.py",
    "test_gate_attacks.py",
)
FORKS = re.compile(r"""os\.fork\(|get_context\("fork"\)|\brun_(?:each|all)\(|"--processes|\bprocesses=""")
"""What a file has in its text that forks this process."""

RANKS = {f"{LIVE}{name}": rank - len(LONGEST) for rank, name in enumerate(LONGEST)}


@cache
def forks(file: Path) -> bool:
    """Tell whether a file's tests fork; a name that stands for several files with federations is no file."""
    return file.is_file() and FORKS.search(file.read_text()) is not None


class FederationsOnTwo(LoadFileScheduling):
    """Gives a worker the first file that is for it."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return SHARED.get(file, file)

    def _next_for(self, node: WorkerController) -> str | None:
        """Return the file that a worker should run next, None if none of those left is for it."""
        takes_live = node in self.nodes[:LIVE_WORKERS]
        takes_forks = not takes_live or len(self.nodes) <= LIVE_WORKERS
        ranks = {
            file: (not self._forks(file), not file.startswith(LIVE), RANKS.get(file, 0))
            for file in self.workqueue
            if (takes_live or not file.startswith(LIVE)) and (takes_forks or not self._forks(file))
        }
        return min(ranks, key=lambda file: ranks[file], default=None)

    def _forks(self, file: str) -> bool:
        return forks(self.config.rootpath / file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        file = self._next_for(node)
        if file is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)
