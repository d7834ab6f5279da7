"""Certificates that no longer count: by fingerprint, from a day on.

A list grows and is never rewritten: whoever checks what was signed before the day asks as of that time.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from almoner.schema.base import Digest, Model, PlainText

_FINGERPRINT = re.compile(r"[0-9a-fA-F]{64}|([0-9a-fA-F]{2}:){31}[0-9a-fA-F]{2}")


def _plain_fingerprint(value: Any) -> Any:
    """Return a fingerprint without colons, in lower case."""
    if not isinstance(value, str) or not _FINGERPRINT.fullmatch(value):
        raise ValueError(
            "not a SHA-256 fingerprint, 64 hexadecimal digits with colons or without, as "
            "`openssl x509 -noout -fingerprint -sha256 -in client.crt` prints it"
        )
    return value.replace(":", "").lower()


class Revocation(Model):
    """A certificate that does not count any more.

    Args:
        certificate_sha256: SHA-256 of the certificate's DER form.
        since: the first day, in UTC, on which it does not count.
        reason: for people; refusals show it.
    """

    certificate_sha256: Annotated[Digest, BeforeValidator(_plain_fingerprint)]
    since: date
    reason: PlainText


Revocations = tuple[Revocation, ...]


def united(*lists: Revocations) -> Revocations:
    """Return all that any of some lists revokes, each certificate from the first day that one of them says."""
    first: dict[str, Revocation] = {}
    for found in sorted((one for listed in lists for one in listed), key=lambda one: one.since):
        first.setdefault(found.certificate_sha256, found)
    return tuple(first[name] for name in sorted(first))


def revocation_of(revoked: Iterable[Revocation], certificate_sha256: str, unix_seconds: float) -> Revocation | None:
    """Return what revokes a certificate at a time; None if it counts."""
    today = datetime.fromtimestamp(unix_seconds, UTC).date()
    found = (one for one in revoked if one.certificate_sha256 == certificate_sha256 and one.since <= today)
    return next(found, None)
