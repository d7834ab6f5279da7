"""Shows a site's populations to be disjoint, in its ledger, before jobs are charged to accounts of their own."""

import json
from collections.abc import Mapping

from almoner.admission.history import datasets_to_join
from almoner.data.commitment import keep_commitments, make_commitments, site_salt
from almoner.data.image_labels import LABELS_FILE, UNIT_COLUMN
from almoner.data.unit_join import (
    Units,
    forget_registers,
    hash_units,
    read_register,
    read_unit_ids,
    shared_units,
    united,
    write_register,
)
from almoner.errors import DataError
from almoner.flare.site.site_files import SiteFiles


def join_units(site: SiteFiles) -> dict[tuple[str, str], int]:
    """Read the unit ids of all data sets, compare them across populations, and record that none is in two.

    *Guarantee*: on return the ledger holds commitments to exactly the files that were compared, with each
    other and with all units of earlier joins. If a unit is in two populations, nothing is recorded or kept.

    Returns:
        How many units each pair of populations shares: 0. For the operator's terminal, not to be sent.

    Raises:
        DataError: a unit is in two populations, a data set has no unit_column, or a file cannot be read as
            ids or was changed meanwhile.
        LedgerError: the ledger cannot be written.
    """
    files = {name: site.folder / found.path for name, found in site.config.datasets.items()}
    made = make_commitments(site.ledger_folder, files)
    salt = site_salt(site.ledger_folder)
    units = united(_earlier_units(site, salt), *_units_by_dataset(site, salt))
    for name, path in files.items():
        if not made.datasets[name].holds(path):
            raise DataError(f"{path}: changed while it was read → join again")
    shared = shared_units(units)
    _require_disjoint(shared)
    keep_commitments(site.ledger_folder, made)
    commitments = {name: found.commitment for name, found in made.datasets.items()}
    joined = datasets_to_join(site.config, commitments)
    register = write_register(site.ledger_folder, salt, units)
    with site.ledger() as ledger:
        facts = {"datasets": {name: vars(found) for name, found in joined.items()}, "register": register}
        ledger.record("disjoint", {"populations": sorted(units), **facts})
    forget_registers(site.ledger_folder, register)
    return shared


def _units_by_dataset(site: SiteFiles, salt: bytes) -> list[Units]:
    """Read and hash the units of each data set."""
    found: list[Units] = []
    for name, config in site.config.datasets.items():
        path, column = site.folder / config.path, config.unit_column
        if config.images is not None:
            path, column = path / LABELS_FILE, UNIT_COLUMN
        if column is None:
            raise DataError(f"data set {name}: no unit_column → name the column of unit ids in site_configs/")
        ids = read_unit_ids(path, column)
        found.append({config.population: hash_units(salt, ids)})
    return found


def _earlier_units(site: SiteFiles, salt: bytes) -> Units:
    """Return the units of the joins that the ledger has recorded."""
    with site.ledger() as ledger:
        joins = [entry.payload for entry in ledger.entries() if entry.kind == "disjoint"]
    return read_register(site.ledger_folder, salt, json.loads(joins[-1])["register"]) if joins else {}


def _require_disjoint(shared: Mapping[tuple[str, str], int]) -> None:
    """Refuse populations with a common unit; the text is for the site's own terminal."""
    found = [f"{one} and {other}: {count} units are in both" for (one, other), count in shared.items() if count]
    if found:
        raise DataError(
            f"populations {'; '.join(found)}, now or by an earlier join"
            " → take them out of one, or give both one account; nothing was recorded"
        )
