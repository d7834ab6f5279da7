"""`almoner site`: run the server or one site from its kit."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from almoner.cli.app import new_group
from almoner.flare.start import run

app = new_group("Run one site.")


@app.callback()
def site_group() -> None:
    """Run one site."""


@app.command("start")
def start_command(kit: Annotated[Path, typer.Argument(help="the site's (or the server's) kit")]) -> None:
    """Verify a kit and run it in the foreground; a changed, added or deleted file stops the start.

    Example: almoner site start build/trial/sites/cleveland/kit
    """
    sys.exit(run(kit))
