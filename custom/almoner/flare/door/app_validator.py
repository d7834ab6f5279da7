"""The server's first look at a submitted app, before FLARE reads anything of it: its file list, and its own part.

Sites never see what the server is sent: a job may name another app for it, with a configuration that FLARE expands
variables in. `config_fed_server.json` is the same in every job, so the server compares it byte for byte.
"""

from pathlib import Path

from nvflare.apis.app_validation import AppValidator
from nvflare.lighter.tool_consts import NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE

from almoner.flare.door.render import config_bytes, render_server_config
from almoner.provision import names

SERVER_CONFIG = "config/config_fed_server.json"
ALLOWED_FILES = frozenset({"config/config_fed_client.json", SERVER_CONFIG, f"config/{names.JOB_FILE}"})
_SIGNATURE_FILES = frozenset({NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE})


class FileListValidator(AppValidator):  # type: ignore[misc]
    """Refuses apps with a file that `almoner job export` does not write, or another server configuration.

    Mitigates: T-01.
    """

    def validate(self, app_folder: str) -> tuple[str, dict[str, object]]:
        """Return ("", {}) or the reason for refusing."""
        folder = Path(app_folder)
        paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
        files = {path.relative_to(folder).as_posix() for path in paths}
        strays = sorted(path for path in files - ALLOWED_FILES if Path(path).name not in _SIGNATURE_FILES)
        if strays:
            named = "".join(char if char.isprintable() else "?" for char in ", ".join(strays)[:200])
            return f"refused by the server: files that almoner does not export: {named}", {}
        if SERVER_CONFIG not in files or (folder / SERVER_CONFIG).read_bytes() != config_bytes(render_server_config()):
            return f"refused by the server: {SERVER_CONFIG} is missing or was changed after export", {}
        return "", {}
