"""The `almoner` command.

FLARE, torch and Opacus take seconds to import, so only the module of the command that is called is imported;
of the others the help page needs one line each.
"""

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from almoner import __version__
from almoner.cli.app import new_group, print_json, run_or_exit
from almoner.errors import DocumentError
from almoner.schema.documents import DOCUMENTS

COMMANDS: dict[str, tuple[str, str, str]] = {
    "policy": ("almoner.cli.policies", "app", "Check, explain, compare and test the sites' policies."),
    "provision": ("almoner.cli.operate", "provision_command", "Make a consortium: keys, signed kits, empty ledgers."),
    "approve-requests": (
        "almoner.cli.enrolment",
        "approve_requests_command",
        "Sign requests for certificates, and write packages (keys made at the site).",
    ),
    "up": ("almoner.cli.operate", "up_command", "Run server and all sites on this machine, for trials."),
    "status": ("almoner.cli.operate", "status_command", "Show which sites are connected and what jobs there are."),
    "site": ("almoner.cli.sites", "app", "Set up and run one site."),
    "job": ("almoner.cli.jobs", "app", "Plan, export, submit, approve, follow and fetch jobs."),
    "workload": (
        "almoner.cli.workloads",
        "app",
        "Add a workload of your own, list them, look at a wheel.",
    ),
    "ledger": ("almoner.cli.ledgers", "app", "Read and check a site's privacy ledger; report, back up, reconcile."),
    "release": ("almoner.cli.releases", "app", "Answer statistics at one site; draw error against ε."),
    "curve": ("almoner.cli.curve", "curve_command", "Draw a job's quality against its ε, beside its baselines."),
    "communication": (
        "almoner.cli.communication",
        "communication_command",
        "Train a job in other ways at the same ε, on public data: accuracy against bytes.",
    ),
    "personalise": (
        "almoner.cli.personalise",
        "personalise_command",
        "Compare models of each site's own with a job's one, at equal ε.",
    ),
    "redteam": ("almoner.cli.redteam", "app", "Attack what the platform claims, on public data."),
    "audit": ("almoner.cli.audits", "app", "Pack a job's evidence, verify a pack offline, show it as a page."),
    "threats": ("almoner.cli.threats", "app", "Check and render the threat model."),
    "bench": ("almoner.cli.bench", "app", "Measure what the pipeline's layers cost, on public data."),
    "run": ("almoner.cli.run", "run_command", "Run jobs on a real federation, and show their models beside baselines."),
    "demo": ("almoner.cli.demo", "demo_command", "Run the main job end to end, and three jobs that must fail."),
}
"""Command → (module, its Typer group or function, one line of help)."""


def schema_command(
    name: Annotated[str, typer.Argument(help="one of: " + ", ".join(DOCUMENTS))],
) -> None:
    """Print a document's JSON Schema, for editors.

    Example: almoner schema job > job.schema.json
    """
    if name not in DOCUMENTS:
        raise DocumentError(f"schema {name}: not a document → one of {', '.join(DOCUMENTS)}")
    print_json(DOCUMENTS[name].model_json_schema())


def version_command() -> None:
    """Print the version.

    Example: almoner version
    """
    typer.echo(f"almoner {__version__}")


def build_app(called: str | None) -> typer.Typer:
    """Return the command line with one command imported, or all of them.

    Args:
        called: the command's name; None for all, as shell completion needs them.
    """
    app = new_group("Budgeted, encrypted, evidenced federated learning on NVIDIA FLARE.")
    app.command("schema")(schema_command)
    app.command("version")(version_command)
    for name, (module, attribute, text) in COMMANDS.items():
        if called is not None and called != name:
            app.command(name, help=text)(_stand_in)
            continue
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, help=text)
        else:
            app.command(name)(found)
    return app


def _stand_in() -> None:
    """Stand for a command that is not called."""


def main() -> None:
    """Run the command line."""
    completing = any(name.startswith("_ALMONER_COMPLETE") for name in os.environ)
    called = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    run_or_exit(build_app(None if completing else called))


if __name__ == "__main__":
    main()
