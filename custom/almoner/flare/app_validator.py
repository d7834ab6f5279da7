"""The server's first look at a submitted app: its file list, before anything of it is read by FLARE."""

from pathlib import Path

from nvflare.apis.app_validation import AppValidator
from nvflare.lighter.tool_consts import NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE

from almoner.provision import names

ALLOWED_FILES = frozenset(
    {"config/config_fed_client.json", "config/config_fed_server.json", f"config/{names.JOB_FILE}"}
)
_SIGNATURE_FILES = frozenset({NVFLARE_SIG_FILE, NVFLARE_SUBMITTER_CRT_FILE})


class FileListValidator(AppValidator):  # type: ignore[misc]
    """Refuses apps that hold any file that `almoner job export` does not write."""

    def validate(self, app_folder: str) -> tuple[str, dict[str, object]]:
        """Return ("", {}) or the reason for refusing."""
        folder = Path(app_folder)
        paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
        files = {path.relative_to(folder).as_posix() for path in paths}
        strays = sorted(path for path in files - ALLOWED_FILES if Path(path).name not in _SIGNATURE_FILES)
        if strays:
            named = "".join(char if char.isprintable() else "?" for char in ", ".join(strays)[:200])
            return f"refused by the server: files that almoner does not export: {named}", {}
        return "", {}
