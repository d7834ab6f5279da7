"""The `almoner` command."""

from typing import Annotated

import typer

from almoner import __version__
from almoner.cli import demo, jobs, ledgers, operate, policies
from almoner.cli.app import new_group, print_json, run_or_exit
from almoner.errors import DocumentError
from almoner.schema.documents import DOCUMENTS

app = new_group("Budgeted, encrypted, evidenced federated learning on NVIDIA FLARE.")
app.add_typer(jobs.app, name="job")
app.add_typer(policies.app, name="policy")
app.add_typer(ledgers.app, name="ledger")
app.add_typer(operate.site_app, name="site")
app.command("provision")(operate.provision_command)
app.command("up")(operate.up_command)
app.command("status")(operate.status_command)
app.command("demo")(demo.demo_command)


@app.command("schema")
def schema_command(
    name: Annotated[str, typer.Argument(help="one of: " + ", ".join(DOCUMENTS))],
) -> None:
    """Print a document's JSON Schema, for editors.

    Example: almoner schema job > job.schema.json
    """
    if name not in DOCUMENTS:
        raise DocumentError(f"schema {name}: not a document → one of {', '.join(DOCUMENTS)}")
    print_json(DOCUMENTS[name].model_json_schema())


@app.command("version")
def version_command() -> None:
    """Print the version.

    Example: almoner version
    """
    typer.echo(f"almoner {__version__}")


def main() -> None:
    """Run the command line."""
    run_or_exit(app)


if __name__ == "__main__":
    main()
