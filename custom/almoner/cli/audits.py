"""`almoner audit`: pack the evidence of a job, verify a pack offline, and show it as a page."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from almoner.audit.archive import MAX_BYTES
from almoner.audit.strict_json import printable, read_model
from almoner.cli.app import console, new_group, print_json
from almoner.data.atomic import write_atomically
from almoner.errors import EvidenceError
from almoner.schema.base import canonical_json
from almoner.schema.decision import show_epsilon

app = new_group("Pack a job's evidence, verify a pack offline, show it as a page.")

JOB_ARGUMENT = typer.Argument(help="FLARE's id of the job")
PACK_ARGUMENT = typer.Argument(help="a pack, as `almoner audit pack` writes it")
ROOT_CERT_OPTION = typer.Option(
    "--root-cert", help="the consortium's root certificate (rootCA.pem of a kit, or as the operator published it)"
)
SITE_PACK_OPTION = typer.Option("--site-pack", help="a pack that a site made on its own machine; repeatable")
THREATS = Path("threat_model") / "threats.yaml"


@app.callback()
def audit_group() -> None:
    """Pack a job's evidence, verify a pack offline, show it as a page."""


@app.command("pack")
def pack_command(
    job_id: Annotated[str, JOB_ARGUMENT],
    folder: Annotated[Path, typer.Argument(help="a site's folder, the server's, or one that `almoner provision` made")],
    out: Annotated[Path, typer.Option("--out", help="the file to write")],
    site_pack: Annotated[list[Path] | None, SITE_PACK_OPTION] = None,
    cosignature: Annotated[
        list[Path] | None, typer.Option("--cosignature", help="what `almoner audit cosign` wrote; repeatable")
    ] = None,
    redteam: Annotated[Path | None, typer.Option("--redteam", help="a red-team report, JSON")] = None,
    threats: Annotated[Path, typer.Option("--threats", help="the threat model; left out if there is none")] = THREATS,
) -> None:
    """Write the evidence of a job into one signed file, and verify it.

    At a site: its ledger, decisions, receipts and DP statement, signed with its key. At the server: the run, log,
    roster and components, with the packs of sites. In a provisioned folder with all on one machine: all of it.

    Example: almoner audit pack 0b9f7c1e-5b1c-4c0e-9c43-2d9a4e6f1a2b build/demo-1 --out pack.zip
    """
    from almoner.flare.evidence.audit_folders import Extras, pack_job, pack_site
    from almoner.flare.site.kit_files import read_root

    if (folder / "ledger").is_dir():
        data, kit = pack_site(folder, job_id), folder / "kit"
    else:
        server, sites = _server_and_sites(folder)
        found = threats if threats.exists() or threats != THREATS else None
        extras = Extras(redteam, found, tuple(site_pack or ()), tuple(cosignature or ()))
        data, kit = pack_job(server, sites, job_id, extras), server / "kit"
    _verify(data, read_root(kit), str(out))
    write_atomically(out, data)
    console.print(f"{out}: {len(data):,} bytes, verified")
    console.print("who gets it needs the root certificate too, from another source than you")


@app.command("verify")
def verify_command(
    pack: Annotated[Path, PACK_ARGUMENT],
    root_cert: Annotated[Path, ROOT_CERT_OPTION],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Check a pack offline: signatures, chains, proofs, and every ε anew from the events.

    It needs this package, the pack and the root certificate, and reads nothing else. Exit code 2 names what is wrong.

    Example: almoner audit verify pack.zip --root-cert rootCA.pem
    """
    from almoner.audit.pack_verify import verdict_json

    verdict = _verify(_read(pack), _read_root(root_cert), str(pack))
    if as_json:
        print_json({"ok": True, **verdict_json(verdict)})
        return
    console.print(f"{pack} verifies: job {verdict.pack.job_id}")
    for check in verdict.checks:
        console.print(f"  ✓ {check}")
    for gap in verdict.gaps:
        console.print(f"  △ not shown: {gap}")
    table = Table("site", Column("account", overflow="fold"), "unit", "ε, recomputed", "ε cap", "δ")
    for row in verdict.accounts():
        spent = show_epsilon(row["epsilon_spent"])
        table.add_row(
            row["site"], row["population"], row["privacy_unit"], spent, f"{row['epsilon_cap']:g}", f"{row['delta']:g}"
        )
    console.print(table)


@app.command("report")
def report_command(
    pack: Annotated[Path, PACK_ARGUMENT],
    root_cert: Annotated[Path, ROOT_CERT_OPTION],
    out: Annotated[Path | None, typer.Option("--out", help="the page; beside the pack if not given")] = None,
) -> None:
    """Verify a pack and write it as one HTML page: it loads nothing, and prints from the browser.

    Example: almoner audit report pack.zip --root-cert rootCA.pem --out report.html
    """
    from almoner.audit.report import render_report

    page = render_report(_verify(_read(pack), _read_root(root_cert), str(pack)))
    target = pack.with_suffix(".html") if out is None else out
    write_atomically(target, page.encode())
    console.print(f"{target}: {len(page):,} characters; open it in a browser, or print it to PDF there")


@app.command("offer")
def offer_command(
    job_id: Annotated[str, JOB_ARGUMENT],
    folder: Annotated[Path, typer.Argument(help="the server's folder")],
    out: Annotated[Path, typer.Option("--out", help="the file to write, for the sites")],
    site_pack: Annotated[list[Path] | None, SITE_PACK_OPTION] = None,
) -> None:
    """Complete the server's log for a job and write what sites on other machines are to cosign.

    Example: almoner audit offer 0b9f7c1e-5b1c-4c0e-9c43-2d9a4e6f1a2b /srv/almoner/server --out offer.json
    """
    from almoner.flare.evidence.audit_folders import offer_log

    offer = offer_log(_server_and_sites(folder)[0], job_id, tuple(site_pack or ()))
    write_atomically(out, canonical_json(offer) + b"\n")
    console.print(f"{out}: a log of {offer.signed.head.size} entries, root {offer.signed.head.root}")


@app.command("cosign")
def cosign_command(
    offer: Annotated[Path, typer.Argument(help="what `almoner audit offer` wrote at the server")],
    folder: Annotated[Path, typer.Argument(help="the site's folder")],
    out: Annotated[Path, typer.Option("--out", help="the file to write, for the server")],
    server_cert: Annotated[Path, typer.Option("--server-cert", help="the server's certificate, PEM")],
) -> None:
    """Check the server's log as a site, by what it cosigned last and its own ledger, and cosign it.

    Example: almoner audit cosign offer.json /srv/almoner/cleveland --server-cert server.crt --out cosigned.json
    """
    from almoner.audit.log_offer import OFFER, LogOffer
    from almoner.flare.evidence.audit_folders import cosign_log

    signed = cosign_log(folder, read_model(LogOffer, _read(offer), str(offer), OFFER), _read(server_cert))
    write_atomically(out, canonical_json(signed) + b"\n")
    console.print(f"{out}: cosigned by {signed.site}")


def _server_and_sites(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    """Return the folders of server and sites in a provisioned folder; or the server's alone, if it is that."""
    if (folder / "server" / "kit").is_dir():
        return folder / "server", tuple(sorted(path.parent for path in folder.glob("sites/*/kit")))
    if (folder / "kit" / "startup" / "server.crt").is_file():
        return folder, ()
    raise EvidenceError(f"{folder}: not the folder of a site, of the server, or of both → give one of these")


def _verify(data: bytes, root_pem: bytes, where: str) -> Any:
    """Return the verdict about a pack."""
    from almoner.audit.pack_verify import verify_pack  # the accountants take seconds to import

    try:
        return verify_pack(data, root_pem)
    except EvidenceError as error:
        finding = printable(str(error))  # it can hold text of the pack
        raise EvidenceError(f"{where}: {finding} → do not rely on this pack; ask its sender for a new one") from None


def _read_root(path: Path) -> bytes:
    """Read the root certificate that the user named."""
    from almoner.audit.authority import load_certificate

    pem = _read(path)
    try:
        load_certificate(pem, str(path))
    except EvidenceError as error:
        raise EvidenceError(f"{error} → give the consortium's root certificate, PEM") from None
    return pem


def _read(path: Path) -> bytes:
    """Read a file that the user named, and no more of it than a pack can have."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise EvidenceError(f"{path}: {error.strerror} → give a file that can be read") from None
    if len(data) > MAX_BYTES:
        raise EvidenceError(f"{path}: over {MAX_BYTES} bytes → no pack is that large; ask its sender for a new one")
    return data
