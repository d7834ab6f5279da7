"""A stock FLARE federation to compare with: FLARE's own provisioner, defaults, start command and FedAvg.

Nothing of Almoner runs in it. It deviates from FLARE's defaults twice: the server's stores are in the scratch
folder instead of /tmp/nvflare, and the transport is grpc, as in our federation, instead of http.
"""

import contextlib
import io
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import psutil
from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
from nvflare.lighter.constants import CtxKey
from nvflare.lighter.impl.cert import CertBuilder
from nvflare.lighter.impl.signature import SignatureBuilder
from nvflare.lighter.impl.static_file import StaticFileBuilder
from nvflare.lighter.impl.workspace import WorkspaceBuilder
from nvflare.lighter.provision import prepare_project
from nvflare.lighter.provisioner import Provisioner
from tests.benchmarks.flare_times import Places

from almoner.flare.commands.federation import free_port
from almoner.flare.commands.session import open_session

SERVER, ORG, LEAD = "localhost", "nvidia", "lead@nvidia.com"
SCRIPT = Path(__file__).with_name("stock_client.py")
START_SECONDS = 60.0
STOP_SECONDS = 15.0


class StockFederation:
    """A stock server and stock sites as processes. A context manager: leaving it stops all of them.

    Args:
        folder: scratch folder that does not exist yet.
        sites: names of the sites.
    """

    def __init__(self, folder: Path, sites: tuple[str, ...]) -> None:
        self._folder, self._sites = folder.resolve(), sites
        self._store = self._folder / "store"
        self._kits = _provision(self._folder, sites)
        self._use_own_store()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def places(self) -> Places:
        """Where the logs are."""
        kits = tuple(self._kits / site for site in self._sites)
        return Places(self._kits / SERVER, kits, self._store / "jobs-storage")

    @property
    def user_kit(self) -> Path:
        """The lead's admin kit."""
        return self._kits / LEAD

    def __enter__(self) -> "StockFederation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all processes and whatever they started."""
        family = [member for process in self._processes for member in _family(process.pid)]
        for process in self._processes:
            process.terminate()
        psutil.wait_procs(family, timeout=STOP_SECONDS)
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        for process in self._processes:
            process.wait()

    def start(self) -> None:
        """Start the server, then the sites, and wait until all are connected.

        Raises:
            RuntimeError: when one did not come up in time.
        """
        self._start_one("server", SERVER)
        self._wait_for_server()
        for site in self._sites:
            self._start_one("client", site)
        with open_session(self.user_kit, timeout_seconds=START_SECONDS) as session:
            deadline = time.monotonic() + START_SECONDS
            while set(session.sites()) != set(self._sites):
                _check_deadline(deadline, "the stock sites")
                time.sleep(0.2)

    def export_job(self, rounds: int, vector: list[float]) -> Path:
        """Write a FedAvg job as FLARE's documentation does it: recipe, NumPy, Client API in the job's process."""
        name = f"stock-{rounds}"
        recipe = NumpyFedAvgRecipe(
            name=name, model=vector, min_clients=len(self._sites), num_rounds=rounds, train_script=str(SCRIPT)
        )
        recipe.export(str(self._folder / "jobs"))
        return self._folder / "jobs" / name

    def _start_one(self, kind: str, name: str) -> None:
        """Start a participant with the command of its own sub_start.sh."""
        kit = self._kits / name
        identity = [f"uid={name}"] if kind == "client" else []
        command = [sys.executable, "-u", "-m", f"nvflare.private.fed.app.{kind}.{kind}_train", "-m", str(kit)]
        command += ["-s", f"fed_{kind}.json", "--set", "secure_train=true", *identity, f"org={ORG}"]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        with (self._folder / f"{name}.txt").open("wb") as log:
            process = subprocess.Popen(
                [*command, "config_folder=config"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=kit,
                env=inherited | {"MALLOC_ARENA_MAX": "4"},
            )
        self._processes.append(process)

    def _wait_for_server(self) -> None:
        """Wait until the server's log says that it has started."""
        log, deadline = self._kits / SERVER / "log.txt", time.monotonic() + START_SECONDS
        while not (log.is_file() and "Server started" in log.read_text(errors="replace")):
            _check_deadline(deadline, "the stock server")
            time.sleep(0.1)

    def _use_own_store(self) -> None:
        """Put the server's stores into the scratch folder."""
        local = self._kits / SERVER / "local"
        stock = (local / "resources.json.default").read_text()
        (local / "resources.json").write_text(stock.replace("/tmp/nvflare", str(self._store)))


def _provision(folder: Path, sites: tuple[str, ...]) -> Path:
    """Run FLARE's provisioner with its default builders; return the folder of the kits."""
    port = free_port()
    server = {"name": SERVER, "type": "server", "org": ORG, "fed_learn_port": port, "admin_port": port}
    clients = [{"name": site, "type": "client", "org": ORG} for site in sites]
    users = [{"name": LEAD, "type": "admin", "org": ORG, "role": "lead"}]
    description = {"api_version": 3, "name": "stock", "description": "", "participants": [server, *clients, *users]}
    builders = [
        WorkspaceBuilder(),
        StaticFileBuilder(config_folder="config", scheme="grpc"),
        CertBuilder(),
        SignatureBuilder(),
    ]
    folder.mkdir(parents=True)
    with contextlib.redirect_stdout(io.StringIO()):
        ctx = Provisioner(str(folder / "provision"), builders).provision(prepare_project(description))
    return Path(ctx[CtxKey.CURRENT_PROD_DIR])


def _check_deadline(deadline: float, what: str) -> None:
    """Raise when a deadline of the monotonic clock has passed."""
    if time.monotonic() > deadline:
        raise RuntimeError(f"{what} did not come up within {START_SECONDS:.0f} s")


def _family(pid: int) -> list[psutil.Process]:
    """Return a process and all that it started."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
