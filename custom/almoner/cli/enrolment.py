"""Keys made at the site: what the operator, a site's IT, a site's data officer and a user do, in this order.

operator:  almoner provision --keys-at-site --out DIR
site:      almoner site request-certificate FORM FOLDER
operator:  almoner approve-requests DIR
site:      almoner site join PACKAGE FOLDER
officer:   almoner site approve-roster FOLDER --digest DIGEST
site:      almoner site start FOLDER/kit
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from almoner.cli.app import console, print_json
from almoner.errors import ProvisioningError
from almoner.flare.kits import issuing, joining, keys_at_site
from almoner.flare.kits.keys_at_site import Standing
from almoner.provision.requests import render_forms
from almoner.provision.roster_approval import PendingRoster, approve, needs_approval

FolderArgument = Annotated[Path, typer.Argument(help="the site's (or user's) own folder")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


def begin_command(root: Path, out: Path, port: int, declared: str | None) -> None:
    """Make the root's key and the forms; `almoner provision --keys-at-site`."""
    folder = keys_at_site.begin(root, out, port, declared)
    consortium = folder.declarations.consortium
    forms = render_forms(consortium)
    console.print(f"made the root of {consortium.name} in {out}")
    console.print(f"  requests/: {len(forms)} forms; send each site and user its own")
    console.print("  authority/: the root's key; whoever has it can issue certificates")
    for user in consortium.users:
        if user.name not in forms:
            console.print(f"  no form for {user.name}: FLARE's cert request does not know the role {user.role}")
    console.print(f"root certificate SHA-256 {keys_at_site.root_fingerprint(folder)}")


def approve_requests_command(
    folder: Annotated[Path, typer.Argument(help="the folder of `almoner provision --keys-at-site`")],
    root: Annotated[
        Path, typer.Option("--root", help="the folder with provisioning/, policies/ and site_configs/")
    ] = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="the fingerprints were compared: issue")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the requests in FOLDER/requests, have their certificates issued, and write the packages.

    Put each NAME.request.zip into FOLDER/requests as it came. A request for another name, organisation or role than
    the consortium declares, or with anything added, is refused. Compare the fingerprint of each key with its
    owner, by telephone, then give --yes; without it nothing is issued, and the exit code is 2 if there is a request.
    Packages are written once every site has its certificate; run it again for requests that come later.

    Example: almoner approve-requests build/trial --yes
    """
    opened = keys_at_site.open_folder(root, folder)
    keys_at_site.write_forms(opened)
    found = keys_at_site.read_requests(opened)
    requests = [request for _, request in found.values() if request is not None]
    packages = issuing.issue(opened, requests) if yes or not requests else []
    standings = [standing for standing, _ in keys_at_site.read_requests(opened).values()]
    waiting = [item.form.name for item in standings if item.form.role == "client" and item.state != "issued"]
    if as_json:
        print_json(
            {
                "participants": [_describe(standing) for standing in standings],
                "new_packages": [str(path) for path in packages],
                "sites_without_certificate": waiting,
            }
        )
    else:
        _print_standings(standings, waiting, packages)
    if requests and not yes:
        raise ProvisioningError("nothing was issued → compare the fingerprints with their owners, then give --yes")


def _describe(standing: Standing) -> dict[str, Any]:
    """Return one participant as JSON."""
    return standing.form.model_dump(include={"name", "org", "role"}) | {
        "state": standing.state,
        "key_sha256": standing.key_sha256,
    }


def _print_standings(standings: list[Standing], waiting: list[str], packages: list[Path]) -> None:
    """Print how far everyone has come, and what to send."""
    for standing in standings:
        form = standing.form
        console.print(f"{form.name} ({form.role} of {form.org}): {standing.state}")
        if standing.key_sha256:
            console.print(f"  key SHA-256 {standing.key_sha256}")
    if waiting:
        console.print(f"packages are written once these sites have certificates: {', '.join(waiting)}")
    for path in packages:
        console.print(f"send to its owner: {path}")


def request_certificate_command(
    form: Annotated[Path, typer.Argument(help="the form that the operator sent")],
    folder: FolderArgument,
    as_json: JsonOption = False,
) -> None:
    """Make a key on this machine, and a request for its certificate. The key never leaves; the request has none in it.

    Users do the same with their own form and folder.

    Example: almoner site request-certificate cleveland.yaml /srv/almoner/cleveland
    """
    made = joining.request_certificate(form, folder)
    if as_json:
        print_json({"name": made.name, "request": str(made.archive), "key_sha256": made.key_sha256})
        return
    console.print(f"send to the operator: {made.archive}")
    console.print("tell the operator by telephone:")
    console.print(f"  key SHA-256 {made.key_sha256}")


def join_command(
    package: Annotated[Path, typer.Argument(help="the package that the operator sent")],
    folder: FolderArgument,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="the site's own copy of its policy, to compare with")
    ] = None,
    site_config: Annotated[
        Path | None, typer.Option("--site-config", help="the site's own copy of its site config, to compare with")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Join the operator's package and the key made here into FOLDER/kit; a site gets its empty ledger too.

    The package holds documents alone. The kit is rendered by the almoner that is installed here, and must be file by
    file what the root signed. Give --policy and --site-config: the operator could have changed them. A site's kit does
    not start before `almoner site approve-roster`.

    Example: almoner site join cleveland.package.json /srv/almoner/cleveland --policy policies/cleveland.yaml
    """
    kit = joining.join(package, folder, policy, site_config)
    is_site = needs_approval(kit)
    if as_json:
        print_json({"kit": str(kit), "needs_approval": is_site})
        return
    console.print(f"made {kit}")
    if is_site:
        console.print(f"next, the site's data officer: almoner site approve-roster {folder}")


def approve_roster_command(
    folder: FolderArgument,
    digest: Annotated[
        str | None, typer.Option("--digest", help="the roster's digest, after comparing it with the other sites")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show every fingerprint of the roster, and sign it with the site's own key once its digest was compared.

    For the site's data officer. Read policy and site config in FOLDER/kit/local first: the signature covers them. Then
    call every site of the list, at numbers that the operator did not give you: all must read the same roster digest. If
    they do, all hold the same certificates, and each site's software has checked that its own is for its own key. A
    site that you do not know may be the operator. Without --digest nothing is signed, and the exit code is 2.

    Example: almoner site approve-roster /srv/almoner/cleveland --digest 9b5c...
    """
    pending = joining.load_joined(folder)
    if not as_json:
        _print_roster(pending)
    if digest is None:
        if as_json:
            print_json(_as_json(pending, approved=False))
        raise ProvisioningError(
            "not approved → compare the roster digest with the other sites, then give it with --digest"
        )
    path = approve(pending, digest)
    if as_json:
        print_json(_as_json(pending, approved=True))
        return
    console.print(f"approved: {path}")


def _print_roster(pending: PendingRoster) -> None:
    """Print what is to be compared."""
    console.print(f"roster of {pending.roster.consortium}, in the kit of {pending.site}")
    for entry in pending.roster.sites:
        own = "  (this site; checked: it is for the key made here)" if entry.site == pending.site else ""
        console.print(f"{entry.site}{own}")
        console.print(f"  certificate SHA-256 {entry.certificate_sha256}")
    console.print(f"root certificate SHA-256 {pending.root_sha256}")
    console.print(f"roster digest {pending.roster_sha256}")


def _as_json(pending: PendingRoster, approved: bool) -> dict[str, Any]:
    """Return what is to be compared as JSON."""
    return {
        "consortium": pending.roster.consortium,
        "site": pending.site,
        "certificates_sha256": {entry.site: entry.certificate_sha256 for entry in pending.roster.sites},
        "root_sha256": pending.root_sha256,
        "roster_sha256": pending.roster_sha256,
        "approved": approved,
    }
