"""`almoner site`: make a site's key, join it with the package, run the server or a site, see and redraw its groups."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from almoner.cli import enrolment
from almoner.cli.app import EXIT_ERROR, console, new_group, print_json
from almoner.cli.site_groups import groups_command, redraw_command
from almoner.data.patient_lists import SITES, write_lists
from almoner.errors import ProvisioningError
from almoner.flare.commands.public_data import place_public_data
from almoner.flare.site.dataset_commitments import commit_site_data
from almoner.flare.site.site_files import load_kit
from almoner.flare.site.unit_joins import join_units
from almoner.flare.start import run

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


@app.command("check-images")
def check_images_command(
    site_folder: Annotated[Path, typer.Argument(help="the site's folder: it holds kit/, data/ and ledger/")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Read a site's folders of images as jobs would, and tell which lines of labels.csv are left out, and why.

    What it prints is private: it is for this terminal, and nothing of it is sent or logged. Exit code 2 if a line is
    left out.

    Example: almoner site check-images build/trial/sites/cleveland
    """
    from almoner.workloads.image_check import check_image_folder, render_check  # torch and MONAI take seconds to import

    site = load_kit(site_folder / "kit")
    checks = {
        name: check_image_folder(site.folder / found.path, found.images)
        for name, found in site.config.datasets.items()
        if found.images is not None
    }
    if as_json:
        print_json({name: asdict(check) for name, check in checks.items()})
    else:
        if not checks:
            console.print("no data set here is a folder of images")
        for name, check in checks.items():
            for line in render_check(name, check):
                console.print(line)
    if any(check.problems for check in checks.values()):
        raise typer.Exit(EXIT_ERROR)


@app.command("synthetic-patients")
def synthetic_patients_command(
    consortium: Annotated[Path, typer.Argument(help="the provisioned consortium of provisioning/alignment.yaml")],
) -> None:
    """Write two hospitals' lists of 50,000 patients who do not exist, for jobs/patient_alignment.yaml.

    Example: almoner site synthetic-patients build/alignment
    """
    sites = consortium / "sites"
    if not all((sites / site / "kit").is_dir() for site in SITES):
        raise ProvisioningError(
            f"{consortium}: has no kits of {' and '.join(SITES)} → almoner provision --declared alignment --out FOLDER"
        )
    for site, path in write_lists(sites).items():
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
