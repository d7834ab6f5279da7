"""Reads a site's npz archive of arrays with one entry a record."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from almoner.data.split import keep_units_whole
from almoner.errors import DataError

Forms = Mapping[str, tuple[str, tuple[int, ...]]]
"""Name in the archive → type, such as "u1" or "U", and the shape of one record's entry."""


def read_arrays(path: Path, forms: Forms) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive, of equal length.

    Args:
        path: npz archive; nothing in it is unpickled.
        forms: what must be in it.

    Raises:
        DataError: when the file is missing, or an array is, or has another type or shape.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in forms}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} → correct the site's configuration") from None
    except (KeyError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error):
        raise DataError(f"{path}: no archive of {', '.join(forms)} → write the file anew") from None
    length = max(array.shape[0] if array.ndim else 0 for array in arrays.values())
    for name, (kind, shape) in forms.items():
        found = arrays[name]
        if not found.dtype.str[1:].startswith(kind) or found.shape != (length, *shape):
            raise DataError(f"{path}: {name} has another type or shape → write the file anew")
    return arrays


def parts_of(arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which records are for training and which for tests, bool[n] each; see `keep_units_whole`.

    Args:
        arrays: with `ids`, the units' text[n], and `is_test`, bool[n].
    """
    is_test = arrays["is_test"]
    stays = np.array(keep_units_whole(arrays["ids"].tolist(), is_test.tolist()), dtype=np.bool_)
    return ~is_test, is_test & stays
