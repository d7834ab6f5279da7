"""The environment of FLARE's processes: an allow-list of the starter's variables, and our own settings."""

from pathlib import Path

_KEPT_VARIABLES = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "VIRTUAL_ENV", "USER", "MKL_CBWR"}
)
"""MKL_CBWR is set by the package itself, where the starter did not; jobs need it as whoever starts them does."""

HOME_VARIABLE = "ALMONER_HOME"
"""Holds the participant's folder."""

INTERNAL_SCHEME = "unix"
"""FLARE's name for the transport between parent and job processes, which is `internal_socket`."""

CLIENT_OUTCOME_SECONDS = 20
"""How long a finished job waits for the word of a site that may be dead; FLARE's default is 15 minutes."""

DEAD_SITE_GRACE_SECONDS = 10
"""How long a running job keeps waiting for a site that FLARE reports dead (60 s without a heartbeat)."""


def site_environment(home: Path, inherited: dict[str, str]) -> dict[str, str]:
    """Return the environment for FLARE's processes.

    Args:
        home: the participant's folder, which holds kit, stores, data and ledger.
        inherited: the caller's environment; only names on the allow-list are kept.
    """
    kept = {name: value for name, value in inherited.items() if name in _KEPT_VARIABLES}
    return kept | {
        HOME_VARIABLE: str(home),
        "NVFLARE_INTERNAL_CONN_SCHEME": INTERNAL_SCHEME,
        "NVFLARE_SECURE_LOGGING": "true",
        "PYTHONSAFEPATH": "1",
        "MALLOC_ARENA_MAX": "4",
        "OMP_NUM_THREADS": "1",
        "NVFLARE_CLIENT_OUTCOME_WAIT_TIMEOUT": str(CLIENT_OUTCOME_SECONDS),
        "NVFLARE_DEAD_CLIENT_GRACE_PERIOD": str(DEAD_SITE_GRACE_SECONDS),
    }
