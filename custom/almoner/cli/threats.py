"""`almoner threats`: the threat model, held against the code and the tests that it names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from almoner.cli.app import console, new_group, print_json
from almoner.data.atomic import write_atomically
from almoner.errors import DocumentError
from almoner.schema.threat_model import ThreatModel
from almoner.threats.check import FOLDER, findings, load_threat_model
from almoner.threats.render import rendered

app = new_group("Check and render the threat model.")

ROOT_OPTION = typer.Option("--root", help="a checkout, with threat_model/, custom/ and tests/")


@app.command("check")
def check_command(
    root: Annotated[Path, ROOT_OPTION] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Check that the code, tests, marks, cells and pages that the threat model claims are there.

    Exit code 1 if one is not. Whether a test fails when its control is switched off is tried by `make threats`.

    Example: almoner threats check
    """
    model = load_threat_model(root)
    found = findings(root, model, command_options())
    if as_json:
        print_json({"threats": len(model.threats), "findings": found})
    else:
        for line in found:
            console.print(line)
        console.print(_counts(model) + (f"; {len(found)} findings" if found else "; nothing is missing"))
    raise typer.Exit(1 if found else 0)


@app.command("render")
def render_command(root: Annotated[Path, ROOT_OPTION] = Path()) -> None:
    """Write the tables of threat_model/README.md, between its marks, and threat_model/threats.md.

    Example: almoner threats render
    """
    for name, text in rendered(root, load_threat_model(root)).items():
        write_atomically(root / FOLDER / name, text.encode())
        (root / FOLDER / name).chmod(0o644)
        console.print(f"{root / FOLDER / name}")


@app.command("list")
def list_command(
    root: Annotated[Path, ROOT_OPTION] = Path(),
    adversary: Annotated[str, typer.Option("--adversary", help="only those of one, such as malicious-server")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """List the threats: id, status, likelihood and impact, title.

    Example: almoner threats list --adversary curious-server
    """
    model = load_threat_model(root)
    known = [one.id for one in model.adversaries]
    if adversary and adversary not in known:
        raise DocumentError(f"adversary '{adversary}': not in the threat model → one of {', '.join(known)}")
    threats = [threat for threat in model.threats if not adversary or adversary in threat.adversaries]
    if as_json:
        print_json([threat.model_dump(mode="json") for threat in threats])
        return
    for threat in threats:
        console.print(f"{threat.id:6} {threat.status:8} {threat.likelihood:>6}/{threat.impact:6} {threat.title}")


def command_options() -> dict[str, frozenset[str]]:
    """Return the names of all commands, those of groups with the group's before them, and each one's options."""
    from almoner.cli.main import build_app  # which imports this module

    return dict(_options(typer.main.get_command(build_app(None)), ""))


def _options(command: Any, prefix: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield name and options of a command, or of those in a group."""
    if not hasattr(command, "commands"):
        found = (name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts))
        yield prefix, frozenset(name for name in found if name.startswith("-"))
    for name, inner in getattr(command, "commands", {}).items():
        yield from _options(inner, f"{prefix} {name}".strip())


def _counts(model: ThreatModel) -> str:
    """Return how many threats of each status there are, and of controls."""
    tested = sum(threat.status == "tested" for threat in model.threats)
    controls = sum(len(threat.controls) for threat in model.threats)
    accepted = len(model.threats) - tested
    return f"{len(model.threats)} threats, {tested} tested with {controls} controls, {accepted} accepted"
