"""The environment of what we are compared with: made by the benchmarks that need it, never by the tests.

Flower cannot be installed beside FLARE (they ask for other versions of protobuf), and it is no part of the
product. `peers.txt` holds it and what its secure aggregation imports; it is installed without dependencies,
since flwr 1.42.0 also asks for a web server, a database, and a certifi that the registry does not have.
"""

import json
import subprocess
import venv
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent
LIST = HERE / "peers.txt"
ROOT = HERE.parents[1]
FOLDER = ROOT / "build" / "peers"


def peers_python() -> Path:
    """Return the interpreter of the peers' environment; it is made anew when the list of packages has changed."""
    python, installed = FOLDER / "bin" / "python", FOLDER / "installed.txt"
    if not installed.is_file() or installed.read_text() != LIST.read_text():
        venv.create(FOLDER, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "-r", str(LIST)], check=True)
        installed.write_text(LIST.read_text())
    return python


class Peer:
    """A process that answers one line of JSON with one. Leaving the context ends it.

    Args:
        command: what runs; it starts in the checkout.
    """

    def __init__(self, *command: object) -> None:
        words = [str(word) for word in command]
        self._process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the script: its standard input is at an end."""
        self._process.communicate()

    def ask(self, **question: Any) -> Any:
        """Return the script's answer.

        Raises:
            RuntimeError: it ended instead.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the peer has no pipes")
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
        if not (line := stdout.readline()):
            raise RuntimeError("the peer ended: see its output above")
        return json.loads(line)
