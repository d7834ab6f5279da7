"""The two files of an alignment at a site: the list that is read, and the result that stays there.

The list is a CSV file as the workloads read it: a header, then one line a record, without quoting. A line that is no
record of the header's fields has no identifier; it is no error, since an error would tell.
"""

from pathlib import Path

from almoner.data.atomic import write_atomically
from almoner.errors import DataError
from almoner.flare.alignment.context import PsiContext
from almoner.psi.normalise import identifier, normalise
from almoner.psi.states import Alignment
from almoner.schema.base import canonical_json

ALIGNMENTS = "alignments"
"""A site's folder of results, beside its kit: outside FLARE's workspace, of mode 700."""


def read_identifiers(context: PsiContext) -> list[bytes | None]:
    """Return the identifier of each line of the site's list.

    Raises:
        DataError: the file cannot be read, or lacks a declared column.
    """
    parts, columns = context.spec.identifier, context.dataset.identifiers or {}
    header, lines = _lines(context.data_path)
    places = {}
    for part in parts:
        column = columns[part.field].column
        if header.count(column) != 1:
            raise DataError(f"{context.data_path}: has not one column {column} → correct identifiers in site_configs/")
        places[part.field] = header.index(column)
    found: list[bytes | None] = []
    for line in lines:
        fields = line.split(",")
        whole = len(fields) == len(header)
        forms = {
            part.field: normalise(fields[places[part.field]], part.kind, columns[part.field].dates) if whole else ""
            for part in parts
        }
        found.append(identifier(forms))
    return found


def _lines(path: Path) -> tuple[list[str], list[str]]:
    """Return the names in a file's header, and its other lines."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → correct the site's configuration") from None
    header, *lines = text.split("\n")
    return [name.strip() for name in header.split(",")], lines if lines and lines[-1] else lines[:-1]


def write_alignment(context: PsiContext, alignment: Alignment) -> None:
    """Keep what the site learnt, in a file that its own user alone can read.

    Raises:
        DataError: it cannot be written.
    """
    path = alignment_path(context.site.folder, context.job_id)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path.parent}: cannot be made: {error.strerror} → see the disk and its rights") from None
    spec, own = context.spec, alignment.own
    result = {
        "schema_version": 1,
        "job": spec.name,
        "job_id": context.job_id,
        "sites": list(context.envelope.sites),
        "leader": spec.leader,
        "dataset": spec.dataset,
        "identifiers_in_common": alignment.num_common,
        "records": own.num_rows,
        "records_without_identifier": own.num_unusable,
        "identifiers_left_out": own.num_left_out,
        "records_in_common": [row + 1 for row in alignment.rows],
    }
    write_atomically(path, canonical_json(result))


def alignment_path(folder: Path, job_id: str) -> Path:
    """Return where the result of an alignment lies.

    Args:
        folder: the site's own.
    """
    return folder / ALIGNMENTS / f"{job_id}.json"
