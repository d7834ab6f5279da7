"""Who is who at the server: the kinds of names, and which connection may bear which.

- `cleveland`: a site's parent process; `cleveland.<job id>`: its process for one job
- `_admin_<uuid>`: a console, for one session
- `server.<job id>`: the server's own process for one job; `server`: the server itself

A site's two kinds belong to the certificate with the site's name. A console's kind belongs to a user's certificate,
whose name has an "@", which no site's has. A connection without certificates, which only the listener for job
processes takes, may bear the name of a server's job process alone. Nobody may connect as `server`.

Mitigates: T-14.
"""

import re
from typing import Literal

from almoner.flare.gates.handshake import check_names

Party = Literal["site", "site_job", "console", "server_job", "server"]

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SITE = r"[a-z0-9][a-z0-9_-]{0,62}"
_KINDS: tuple[tuple[Party, re.Pattern[str]], ...] = (
    ("server", re.compile("server")),
    ("server_job", re.compile(rf"server\.{_ID}")),
    ("console", re.compile(f"_admin_{_ID}")),
    ("site", re.compile(_SITE)),
    ("site_job", re.compile(rf"{_SITE}\.{_ID}")),
)
"""The first that matches the whole name counts."""


def party_of(name: object) -> Party | None:
    """Return what kind of participant bears a name, or None if it is no honest name."""
    if not isinstance(name, str):
        return None
    return next((party for party, pattern in _KINDS if pattern.fullmatch(name)), None)


def job_of(name: str) -> str:
    """Return the job's id in the name of a job process, "" in other names."""
    return name.partition(".")[2]


def may_bear(name: object, certificate: str | None) -> bool:
    """Tell whether a connection may bear a name.

    Args:
        name: the name given in the handshake.
        certificate: the common name of the peer's certificate; None at the listener for job processes.
    """
    party = party_of(name)
    if certificate is None:
        return party == "server_job"
    if party == "console":
        return "@" in certificate
    return party in ("site", "site_job") and str(name).partition(".")[0] == certificate


def install() -> None:
    """Check the name at every handshake of a connection that this process has accepted."""
    check_names(lambda server, name, certificate: may_bear(name, certificate))
