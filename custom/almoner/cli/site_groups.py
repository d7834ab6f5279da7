"""`almoner site groups` and `redraw`: how a study's sites were drawn into groups, and a data officer's new draw."""

from pathlib import Path
from typing import Annotated, Any

import typer

from almoner.cli.app import console, print_json
from almoner.cli.approvals import CERT_OPTION, KEY_OPTION, read_file
from almoner.flare.site.approval_files import Officer
from almoner.flare.site.group_files import read_records, redraw_groups
from almoner.flare.site.site_files import load_kit
from almoner.protection.draw_site import DrawRecord

FOLDER_ARGUMENT = typer.Argument(help="the site's folder: it holds kit/ and ledger/")


def groups_command(
    site_folder: Annotated[Path, FOLDER_ARGUMENT],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Show how each study's sites were drawn into groups; the draw is for the study, not for a job.

    Example: almoner site groups build/banks/sites/bank-01
    """
    records = read_records(load_kit(site_folder / "kit"))
    if as_json:
        print_json({study: _facts(record) for study, record in records.items()})
        return
    if not records:
        console.print("no study was drawn into groups here")
    for study, record in records.items():
        console.print(f"{study}: epoch {record.epoch}, {len(record.sites)} sites in {len(record.group_sizes)} groups")
        if record.groups is None:
            console.print("  not drawn yet: submit the job again when all sites of the study are up")
        for group in record.groups or ():
            console.print(f"  {', '.join(group)}")


def redraw_command(
    site_folder: Annotated[Path, FOLDER_ARGUMENT],
    study: Annotated[str, typer.Argument(help="the study whose groups are to be drawn anew")],
    groups: Annotated[int, typer.Option("--groups", help="into how many groups", min=1)],
    key: Annotated[Path, KEY_OPTION],
    cert: Annotated[Path, CERT_OPTION],
    epoch: Annotated[int | None, typer.Option("--epoch", help="the epoch that the other sites are in", min=1)] = None,
    yes: Annotated[bool, typer.Option("--yes", help="sign without a question")] = False,
) -> None:
    """Approve, as the site's data officer, that a study's groups are drawn anew; every site's officer has to.

    Sums over old and new groups can be subtracted: do this only if the sites of the study changed, or a site
    withholds its part of the draw for good. It takes the next job of the study with all its sites to draw them.

    Example: almoner site redraw build/banks/sites/bank-01 credit --groups 3 --key client.key --cert client.crt
    """
    site = load_kit(site_folder / "kit")
    if not yes:
        typer.confirm(f"draw the sites of {study} into {groups} groups anew?", abort=True)
    made = redraw_groups(site, study, groups, epoch, Officer(read_file(key), read_file(cert)))
    console.print(f"{study}: epoch {made.epoch} is open at {site.policy.site}; its groups are drawn in the next job")


def _facts(record: DrawRecord) -> dict[str, Any]:
    """Return what is public of a record."""
    facts = record.model_dump(mode="json", include={"epoch", "sites"})
    return {**facts, "num_groups": len(record.group_sizes), "groups": record.groups}
