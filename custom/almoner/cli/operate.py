"""`almoner provision`, `up`, `status`: what the consortium's operator does."""

import time
from pathlib import Path
from typing import Annotated

import typer

from almoner.cli.app import console, errors, print_json
from almoner.cli.enrolment import begin_command
from almoner.cli.live import stop_on_sigterm
from almoner.errors import ProvisioningError
from almoner.flare.commands.federation import Federation, require_free_port
from almoner.flare.commands.session import open_session
from almoner.flare.kits.provisioning import declarations_of_folder, load_consortium, provision, read_port
from almoner.provision.expiry import expiring_certificates, expiry_warning

DEFAULT_PORT = 8102
ROOT_OPTION = typer.Option("--root", help="the folder with provisioning/, policies/ and site_configs/")


def provision_command(
    out: Annotated[Path, typer.Option("--out", help="a new folder for kits, ledgers and the operator's keys")],
    root: Annotated[Path, ROOT_OPTION] = Path(),
    port: Annotated[int, typer.Option("--port", help="the server's TCP port", min=1024, max=65535)] = DEFAULT_PORT,
    keys_at_site: Annotated[
        bool, typer.Option("--keys-at-site", help="make the root's key alone, and forms for sites and users")
    ] = False,
    declared: Annotated[
        str | None, typer.Option("--declared", help="another than the default one: NAME of provisioning/NAME.yaml")
    ] = None,
) -> None:
    """Make a consortium: new keys, hardened and signed kits, empty ledgers.

    With --keys-at-site every site and user makes its own key; `almoner approve-requests` is the next step.

    Example: almoner provision --out build/trial --port 8102
    """
    if keys_at_site:
        begin_command(root, out, port, declared)
        return
    made = provision(root, out, port, declared)
    console.print(f"provisioned {made.declarations.consortium.name} in {out}")
    console.print("  server/kit, sites/<site>/kit, users/<user>: hand each to its owner over a safe channel")
    console.print("  authority/: every private key; keep it offline, or destroy it")
    console.print(f"root certificate SHA-256 {made.root_fingerprint}")


def up_command(
    consortium: Annotated[Path, typer.Argument(help="a folder that `almoner provision` made")],
    root: Annotated[Path, ROOT_OPTION] = Path(),
) -> None:
    """Run server and all sites on this machine until Ctrl-C: for trials, not for production.

    Example: almoner up build/trial
    """
    if not (consortium / "server" / "kit").is_dir():
        raise ProvisioningError(f"{consortium}: no provisioned consortium → almoner provision --out {consortium}")
    if not (consortium / "sites").is_dir():
        raise ProvisioningError(f"{consortium}: its sites have their kits themselves → almoner site start, at each")
    made = load_consortium(consortium, declarations_of_folder(root, consortium), read_port(consortium))
    require_free_port(made.port)
    stop_on_sigterm()
    with Federation(made) as federation:
        federation.start(console.print)
        console.print("running; stop with Ctrl-C")
        while True:
            time.sleep(1)


def status_command(
    kit: Annotated[Path, typer.Option("--kit", help="a user's startup kit")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Show which sites are connected and what jobs there are; warn of certificates in the kit that run out soon.

    Example: almoner status --kit build/trial/users/admin@coordinating-centre.example
    """
    now = time.time()
    if warning := expiry_warning(kit, now):
        errors.print(f"warning: {warning}")  # before the log-in, which fails once the own certificate has run out
    with open_session(kit) as session:
        sites, jobs = session.sites(), session.jobs()
    if as_json:
        expiring = [
            {"whose": one.whose, "last_day": one.last_day.isoformat()} for one in expiring_certificates(kit, now)
        ]
        print_json({"sites": sites, "jobs": [job.__dict__ for job in jobs], "expiring": expiring})
        return
    console.print(f"connected sites: {', '.join(sites) or 'none'}")
    for job in jobs:
        console.print(f"{job.job_id}  {job.name}  {job.status}")
