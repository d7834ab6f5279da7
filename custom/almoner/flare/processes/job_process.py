"""What runs in a forked job process: FLARE's own main function, in a session and environment of its own."""

import os
import sys

from nvflare.fuel.f3.mpm import MainProcessMonitor
from nvflare.private.fed.app.client import worker_process
from nvflare.private.fed.app.server import runner_process

from almoner.flare.components import controller, executor, filters
from almoner.flare.gates import gate, server_gate
from almoner.flare.processes import internal_socket
from almoner.workloads import heart_disease

SHUTDOWN_GRACE_SECONDS = 0.2
"""How long FLARE lets pending activities finish at a job process's end; by then the job has ended in order."""

_PRELOADED = (controller, executor, filters, heart_disease)
"""What jobs need; imported here, before the fork."""


def run_job(kind: str, arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Become the job process; never returns.

    FLARE ends a server's job by killing its process group, so the process leads one of its own.

    Args:
        kind: "client" or "server".
        arguments: the command line of FLARE's main function.
        environment: all variables.
        folder: the working directory.
    """
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    internal_socket.install()
    if kind == "client":
        gate.install("job")
    else:
        server_gate.install()
    flare = worker_process if kind == "client" else runner_process
    sys.argv = [f"almoner-{kind}-job", *arguments]
    args = flare.parse_arguments()
    code = MainProcessMonitor.run(
        main_func=flare.main,
        run_dir=os.path.join(args.workspace, args.job_id),  # noqa: PTH118 - as FLARE forms it
        shutdown_grace_time=SHUTDOWN_GRACE_SECONDS,
        args=args,
    )
    sys.exit(code if isinstance(code, int) else 0)
