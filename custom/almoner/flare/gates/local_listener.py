"""Guards the names that connect to a site from inside: only its own job processes.

FLARE lets whoever connects to a site's listener for job processes take any name, the server's too; the site then
drops its mutually authenticated connection for the new one and sends it heartbeats with its token. Here a
connection that the site *accepts* must bear a name below the site's own.

What is left: who can connect there can take the name of a job process; `internal_socket` lets in the site's own
user alone.

Mitigates: T-14.
"""

from almoner.flare.gates.handshake import check_names


def is_own_job(site: str, name: object) -> bool:
    """Tell whether a name that a connecting process gives is one of the site's job processes."""
    return isinstance(name, str) and name.startswith(f"{site}.") and len(name) > len(site) + 1


def install() -> None:
    """Check the name at every handshake of a connection that this process has accepted."""
    check_names(lambda site, name, certificate: is_own_job(site, name))
