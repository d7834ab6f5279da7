"""The folder that a run leaves: what was asked, with which seeds and versions, and all that came out."""

import json
import os
import platform
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from almoner import __version__
from almoner.data.atomic import write_atomically
from almoner.errors import DataError

DEFAULT_RUNS = Path("build/runs")
CONFIG, METRICS, RECEIPTS = "config.yaml", "metrics.json", "receipts.json"
_VERSIONS_OF = ("torch", "numpy", "opacus", "dp-accounting", "nvflare")


def verify_can_hold(folder: Path) -> None:
    """Check, before hours of work, that results can be written into a folder that is there or can be made.

    Raises:
        DataError: they cannot.
    """
    absolute = folder.absolute()
    there = next(path for path in (absolute, *absolute.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise DataError(f"{folder}: {there} is not a folder that can be written to → give another --out")


class RunFolder:
    """One run's folder. Files appear whole or not at all.

    Args:
        path: exists already; see `create`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def create(runs: Path, name: str) -> "RunFolder":
        """Make a new folder `<name>-<UTC time>-<4 hexadecimal digits>`.

        Args:
            runs: folder of all runs; made if missing.
            name: of the run, as of its job.

        Raises:
            DataError: it cannot be made.
        """
        path = runs / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        try:
            path.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise DataError(f"{path}: cannot be made: {error.strerror} → give another --out") from None
        return RunFolder(path)

    def write_config(self, command: list[str], jobs: Sequence[BaseModel], seeds: list[int], **more: Any) -> None:
        """Write what makes the run again.

        Args:
            command: its words.
            jobs: as they were run.
            seeds: of the runs in this process; real federations draw their own.
            more: what else was chosen.
        """
        config = {
            "command": command,
            "started": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            "seeds": seeds,
            **more,
            "versions": {"almoner": __version__, "python": platform.python_version()}
            | {name: version(name) for name in _VERSIONS_OF},
            "jobs": [job.model_dump(mode="json") for job in jobs],
        }
        self.write(CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def write_json(self, name: str, value: Any) -> Path:
        """Write a value as JSON."""
        return self.write(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file, and return where it is.

        Raises:
            DataError: it cannot be written.
        """
        path = self.path / name
        write_atomically(path, content.encode() if isinstance(content, str) else content)
        return path
