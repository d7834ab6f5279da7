"""Tells which certificates of a kit run out soon: its own, the root's, and those that its roster pins."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from almoner.provision import names
from almoner.provision.issued import load_certificate
from almoner.schema.consortium import Roster
from almoner.schema.documents import load_document

WARN_DAYS = 60
"""How long before its last day a certificate is named."""


@dataclass(frozen=True)
class Expiring:
    """A certificate that runs out soon, or has.

    Args:
        whose: a name, or "the root".
        days_left: whole days; negative once it has run out.
    """

    whose: str
    last_day: date
    days_left: int

    def words(self) -> str:
        """Return whose it is, and when."""
        when = f"in {self.days_left} days" if self.days_left >= 0 else "it has run out"
        return f"{self.whose} on {self.last_day.isoformat()} ({when})"


def expiring_certificates(kit: Path, now_unix_seconds: float) -> tuple[Expiring, ...]:
    """Return the certificates of a kit that run out within `WARN_DAYS`, the first to run out first.

    Args:
        kit: of the server, a site or a user.

    Raises:
        ProvisioningError, DocumentError: a certificate or the roster cannot be read.
    """
    startup, roster = kit / "startup", kit / "local" / names.ROSTER_FILE
    files = {"the root": "rootCA.pem", "this site or user": "client.crt", "this server": "server.crt"}
    held = {(startup / name).read_bytes(): whose for whose, name in files.items() if (startup / name).is_file()}
    if roster.is_file():
        held |= {entry.certificate_pem.encode(): entry.site for entry in load_document(roster, Roster).sites}
    now, found = datetime.fromtimestamp(now_unix_seconds, UTC), []
    for pem, whose in held.items():
        ends = load_certificate(pem, f"{kit}: the certificate of {whose}").not_valid_after_utc
        if (days := (ends - now).days) < WARN_DAYS:
            found.append(Expiring(whose, ends.date(), days))
    return tuple(sorted(found, key=lambda one: one.days_left))


def expiry_warning(kit: Path, now_unix_seconds: float) -> str:
    """Return one line that names all of them; "" if there are none."""
    found = ", ".join(one.words() for one in expiring_certificates(kit, now_unix_seconds))
    return f"certificates run out: {found} → ask the operator for new ones" if found else ""
