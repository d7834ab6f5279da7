"""A site's list, salted, cut to the cap, filled up with random entries, and shuffled: every list looks alike.

*Guarantee*: a padded list has exactly the cap's number of distinct entries, in a random order. Entries that stand for
records are equal at two sites just if identifier and salt are. An entry that fills up is no record's and no other
site's: it is random, and begins with who made it.

What is over the cap is left out by the rank of a hash under a random key of the site: one record more or less changes
who is in by at most one, and nothing outside this site's result says that anything was left out.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from secrets import SystemRandom, token_bytes, token_hex

from almoner.protection.hidden import Hidden

_RANDOM = SystemRandom()
_HEX_BYTES = 32


@dataclass(frozen=True, repr=False, eq=False)
class SiteList(Hidden):
    """A site's identifiers, each once.

    Args:
        rows: identifier → the rows of the site's file that have it, from 0.
        num_rows: all rows of the file.
        num_unusable: rows without an identifier.
        num_left_out: identifiers over the cap.
    """

    rows: dict[bytes, tuple[int, ...]]
    num_rows: int
    num_unusable: int
    num_left_out: int


@dataclass(frozen=True, repr=False, eq=False)
class PaddedList(Hidden):
    """What is blinded for one other site.

    Args:
        entries: text[cap].
        identifiers: what stands behind each entry; None where it only fills up.
    """

    entries: tuple[str, ...]
    identifiers: tuple[bytes | None, ...]


def site_list(identifiers: Sequence[bytes | None], cap: int) -> SiteList:
    """Collect a site's identifiers.

    Args:
        identifiers: of each row; None for a row without one.
        cap: the most that are compared.
    """
    found: dict[bytes, list[int]] = {}
    for row, value in enumerate(identifiers):
        if value is not None:
            found.setdefault(value, []).append(row)
    key = token_bytes(_HEX_BYTES)
    kept = sorted(found, key=lambda value: hmac.digest(key, value, sha256))[:cap]
    return SiteList(
        rows={value: tuple(found[value]) for value in kept},
        num_rows=len(identifiers),
        num_unusable=sum(value is None for value in identifiers),
        num_left_out=len(found) - len(kept),
    )


def pad(own: SiteList, cap: int, salt: bytes, site: str) -> PaddedList:
    """Return a site's list made ready for one comparison; each time with other fillings and in another order.

    Args:
        salt: 32 bytes that the two sites share, and nobody else.
        site: this one.
    """
    entries: list[tuple[str, bytes | None]] = [(_salted(salt, value), value) for value in own.rows]
    entries += [(f"filling:{site}:{token_hex(_HEX_BYTES)}", None) for _ in range(cap - len(entries))]
    _RANDOM.shuffle(entries)
    return PaddedList(tuple(entry for entry, _ in entries), tuple(value for _, value in entries))


def _salted(salt: bytes, value: bytes) -> str:
    """Return the entry that stands for an identifier between two sites."""
    return "record:" + hmac.digest(salt, value, sha256).hex()
