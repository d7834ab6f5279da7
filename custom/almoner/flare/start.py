"""Starts the server or a site from its kit: `python -P -m almoner.flare.start KIT`.

The kit is verified first; then the environment is cut down to an allow-list, and FLARE's own main
function runs in this process. Nothing of the starter's environment, no `PYTHONPATH`, no working
directory of the caller's reaches FLARE.
"""

import json
import logging
import os
import sys
import time
from pathlib import Path

from almoner.errors import AlmonerError, ProvisioningError
from almoner.flare.processes.environment import site_environment
from almoner.flare.site.private_folder import hold_private_folder, private_folder
from almoner.provision.expiry import expiry_warning
from almoner.provision.manifest import verify_kit
from almoner.provision.names import ATTESTATION_FILE, KIT_FILE

logger = logging.getLogger(__name__)


def _flare_arguments(kit: Path) -> tuple[str, list[str]]:
    """Return the participant's kind and the arguments of FLARE's main function."""
    path = kit / "local" / KIT_FILE
    try:
        identity: dict[str, str] = json.loads(path.read_bytes())
    except OSError as error:
        raise ProvisioningError(f"{path}: {error.strerror} → give the folder of a server's or a site's kit") from None
    kind, name, org = identity["kind"], identity["name"], identity["org"]
    uid = [f"uid={name}"] if kind == "client" else []
    options = ["secure_train=true", *uid, f"org={org}", "config_folder=config"]
    return kind, ["-m", str(kit), "-s", f"fed_{kind}.json", "--set", *options]


def run(kit: Path) -> int:
    """Verify a kit and run it until it is shut down; certificates that run out soon are one line of its log.

    Returns:
        FLARE's exit code.

    Raises:
        ProvisioningError: the kit is incomplete or not what was signed.
        FederationError: it is running already.
        LedgerError: the site's ledger is missing, or cannot be used.
    """
    kit = kit.resolve()
    verify_kit(kit)
    if warning := expiry_warning(kit, time.time()):
        logger.warning("%s", warning)
    kind, arguments = _flare_arguments(kit)
    attested = (kit / "local" / ATTESTATION_FILE).is_file()
    environment = site_environment(kit.parent, dict(os.environ))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(kit)
    hold_private_folder(kit.parent)

    from nvflare.fuel.f3.mpm import MainProcessMonitor

    from almoner.flare.processes import internal_socket
    from almoner.flare.processes.job_forks import start_helper
    from almoner.flare.site.job_folder import remove_leftovers

    remove_leftovers(kit, kit.parent)
    start_helper(Path(os.path.relpath(private_folder(kit.parent))))
    internal_socket.install()
    if kind == "server":
        from nvflare.private.fed.app.server import server_train as flare_main

        from almoner.flare.gates import server_gate
        from almoner.flare.processes import dead_sites
        from almoner.flare.processes.abandoned_jobs import close_abandoned

        close_abandoned(kit.parent)
        server_gate.install(attested)
        dead_sites.install()
    else:
        from nvflare.private.fed.app.client import client_train as flare_main

        from almoner.flare.gates import gate
        from almoner.flare.processes.leftovers import close_leftovers
        from almoner.flare.site.site_files import LEDGER
        from almoner.privacy.ledger import Ledger

        with Ledger.open(kit.parent / LEDGER) as ledger:
            close_leftovers(ledger)
        gate.install("parent", attested)
    sys.argv = [f"almoner-{kind}", *arguments]
    args = flare_main.parse_arguments()
    code = MainProcessMonitor.run(main_func=flare_main.main, run_dir=args.workspace, args=args)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the kit that the command line names; errors are one line and exit code 2."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -P -m almoner.flare.start KIT")
    try:
        sys.exit(run(Path(sys.argv[1])))
    except AlmonerError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


if __name__ == "__main__":
    main()
