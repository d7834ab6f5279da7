"""The shared face of all commands: one console, one way to fail, one way to print JSON."""

import json
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from almoner.errors import AlmonerError

console = Console(highlight=False, soft_wrap=True, markup=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

EXIT_ERROR = 2


def new_group(text: str) -> typer.Typer:
    """Return a group of commands that shows its help when called alone."""
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def print_json(value: Any) -> None:
    """Print a value as JSON for scripts."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def run_or_exit(command: Callable[[], None]) -> None:
    """Run a command line; a known error is one line on stderr and exit code 2, never a traceback."""
    try:
        command()
    except AlmonerError as error:
        errors.print(f"error: {error}")
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        errors.print("interrupted")
        sys.exit(130)
