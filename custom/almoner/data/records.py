"""What a loader makes of a public data set: records that know their id and their site."""

from dataclasses import dataclass

ID_COLUMN = "record_id"
SPLIT_COLUMN = "split"


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One usable record of a public data set.

    Args:
        record_id: the source's own identifier of the privacy unit.
        site: the site that the record belongs to, by its name in the consortium.
        values: the raw fields, as text, in the order of the data set's `columns`.
    """

    record_id: str
    site: str
    values: tuple[str, ...]
