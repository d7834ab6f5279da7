"""The shared face of all commands: one console, one way to fail, one way to print JSON."""

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from almoner.errors import AlmonerError

console = Console(highlight=False, soft_wrap=True, markup=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def new_group(text: str) -> typer.Typer:
    """Return a group of commands that shows its help when called alone."""
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def print_json(value: Any) -> None:
    """Print a value as JSON for scripts; a number that is none, which JSON does not have, is null."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """Return a value with null for NaN and infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def run_or_exit(command: Callable[[], None]) -> None:
    """Run a command line; a known error, or a file of another user, is one line on stderr and exit code 2."""
    try:
        command()
    except AlmonerError as error:
        errors.print(f"error: {error}")
        sys.exit(EXIT_ERROR)
    except PermissionError as error:  # kits and ledgers are of mode 700
        errors.print(f"error: {error.filename}: {error.strerror} → run it as the user whose files these are")
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        errors.print("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:  # what Typer makes of Ctrl-C, without a word
            errors.print("interrupted")
        raise
