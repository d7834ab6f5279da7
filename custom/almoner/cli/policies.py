"""`almoner policy`: what a data officer asks of the policies before anybody else does."""

from pathlib import Path
from typing import Annotated

import typer

from almoner.admission.lattice import verify_tightens
from almoner.cli.app import console, new_group
from almoner.schema.declarations import load_declarations

app = new_group("Check the sites' policies.")

ROOT_OPTION = typer.Option("--root", help="the folder with provisioning/, policies/ and site_configs/")


@app.command("check")
def check_command(root: Annotated[Path, ROOT_OPTION] = Path()) -> None:
    """Check that every declaration is well formed and no site's policy is looser than the consortium's.

    Example: almoner policy check
    """
    declarations = load_declarations(root)
    for site, policy in declarations.policies.items():
        verify_tightens(policy, declarations.floor, str(root / "policies" / f"{site}.yaml"))
    for site, policy in declarations.policies.items():
        account = policy.account
        console.print(f"{site}: tightens the floor; ε ≤ {account.epsilon_cap:g}, δ = {account.delta:g} for life")
