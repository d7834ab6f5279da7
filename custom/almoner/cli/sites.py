"""`almoner site`: make a site's key, join it with the package, run the server or a site, see and redraw its groups."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from almoner.cli import enrolment
from almoner.cli.app import console, new_group
from almoner.cli.site_groups import groups_command, redraw_command
from almoner.data.patient_lists import write_lists
from almoner.flare.dataset_commitments import commit_site_data
from almoner.flare.public_data import place_public_data
from almoner.flare.site_files import load_kit
from almoner.flare.start import run
from almoner.flare.unit_joins import join_units

app = new_group("Set up and run one site.")
app.command("request-certificate")(enrolment.request_certificate_command)
app.command("join")(enrolment.join_command)
app.command("approve-roster")(enrolment.approve_roster_command)
app.command("groups")(groups_command)
app.command("redraw")(redraw_command)


@app.callback()
def site_group() -> None:
    """Set up and run one site."""


@app.command("start")
def start_command(kit: Annotated[Path, typer.Argument(help="the site's (or the server's) kit")]) -> None:
    """Verify a kit and run it in the foreground; a changed, added or deleted file stops the start.

    Example: almoner site start build/trial/sites/cleveland/kit
    """
    sys.exit(run(kit))


@app.command("commit-data")
def commit_data_command(
    site_folder: Annotated[Path, typer.Argument(help="the site's folder: it holds kit/, data/ and ledger/")],
) -> None:
    """Commit to the site's data files in its ledger; run it after data was placed or changed.

    Decisions then name the commitment: which data they were about. A salt beside the ledger keeps it from
    confirming anything to others. Stored statistics are not told again after it: commit by a calendar, not by what the
    data says.

    Example: almoner site commit-data build/trial/sites/cleveland
    """
    for name, commitment in commit_site_data(load_kit(site_folder / "kit")).items():
        console.print(f"{name}: {commitment}")


@app.command("synthetic-patients")
def synthetic_patients_command(
    consortium: Annotated[Path, typer.Argument(help="the provisioned consortium of provisioning/alignment.yaml")],
) -> None:
    """Write two hospitals' lists of 50,000 patients who do not exist, for jobs/patient_alignment.yaml.

    Example: almoner site synthetic-patients build/alignment
    """
    for site, path in write_lists(consortium / "sites").items():
        console.print(f"{site}: {path}")


@app.command("public-data")
def public_data_command(
    consortium: Annotated[Path, typer.Argument(help="a consortium on this machine, as `provision` made it")],
    cache: Annotated[Path, typer.Option("--cache", help="where fetched data sets are kept")] = Path("build/cache"),
) -> None:
    """Fetch the public data that the sites' configurations declare, place each site's part, and commit to it.

    Example: almoner site public-data build/census
    """
    for site, paths in place_public_data(consortium, cache).items():
        for path in paths:
            console.print(f"{site}: {path}")


@app.command("join-units")
def join_units_command(
    site_folder: Annotated[Path, typer.Argument(help="the site's folder: it holds kit/, data/ and ledger/")],
) -> None:
    """Show that no unit is in two populations; run it at first, and whenever data was placed or changed.

    Unit ids count as equal if they are the same text, spaces around them apart; other spellings of one id are
    not recognised. If a unit is in two populations, nothing is recorded, and the exit code is 2.

    Example: almoner site join-units build/trial/sites/cleveland
    """
    for (one, other), count in join_units(load_kit(site_folder / "kit")).items():
        console.print(f"{one} and {other}: {count} units are in both")
    console.print("recorded in the ledger; it holds until data, unit columns or populations change")
