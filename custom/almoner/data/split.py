"""Splits records into train and test, each by its own id alone.

A shuffle with a seed depends on how many records there are: adding one moves others across the split,
so a single patient would change several. A keyed hash of the id moves nobody else.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Literal

from almoner.errors import DataError

Split = Literal["train", "test"]

SplitRule = Callable[[str], Split]
"""Says of a record's id which split the record is in."""

DEFAULT_TRAIN_FRACTION = 0.7


def keep_units_whole(unit_ids: Sequence[str], is_test: Sequence[bool]) -> list[bool]:
    """Say of each record whether it stays, so that no unit is in both parts.

    *Guarantee*: a unit that has a record of train is in train alone, its other records are left out; whether a record
    stays is a function of its unit's records.
    """
    trained = {unit_id for unit_id, test in zip(unit_ids, is_test, strict=True) if not test}
    return [not test or unit_id not in trained for unit_id, test in zip(unit_ids, is_test, strict=True)]


def split_of(record_id: str, key: bytes, train_fraction: float = DEFAULT_TRAIN_FRACTION) -> Split:
    """Assign a record to train or test by the HMAC-SHA256 of its id.

    Guarantee: the answer is a function of the three arguments; no other record has a say in it.

    Args:
        record_id: the identifier of the record's privacy unit.
        key: names the split. Of a public data set it is public; of a private one it stays at the site.
        train_fraction: expected share of records in train, in [0, 1].

    Raises:
        DataError: when the key is empty, or the fraction is no probability.
    """
    if not key:
        raise DataError("split key: empty → give at least one byte")
    if not 0 <= train_fraction <= 1:
        raise DataError(f"train_fraction: {train_fraction} is not in [0, 1] → give a share, such as 0.7")
    tag = hmac.new(key, record_id.encode(), hashlib.sha256).digest()
    return "train" if int.from_bytes(tag[:8], "big") < train_fraction * 2**64 else "test"
