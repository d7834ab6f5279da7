"""Reads the columns of a pickled pandas table out of what its pickle says; there is no pandas.

Read is what pandas 2 writes with pickle protocol 5: blocks of numbers, and categories of texts or integers. What is not
such a table, or not what it says it is, is refused.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from almoner.data.inert_pickle import Called, Named, read_inert
from almoner.errors import DataError

_NUMBERS = frozenset({"f8", "i8", "i4", "i1", "b1"})

Column = NDArray[Any]


def read_table(content: bytes) -> dict[str, Column]:
    """Return the columns of a table by name, all of one length.

    *Guarantee*: nothing that the pickle names is imported or called; see `read_inert`.

    Args:
        content: the pickle.

    Raises:
        DataError: it is no pickle of such a table.
    """
    match read_inert(content):
        case Called("pandas.core.frame.DataFrame", (), {"_mgr": Called(_, (tuple() as blocks, [axis, _]))}):
            names = _index(axis)
        case _:
            raise _refusal()
    columns = {str(name): column for block in blocks for name, column in _block(block, names)}
    if len(columns) != len(names) or len({len(column) for column in columns.values()}) > 1:
        raise _refusal()
    return columns


def _refusal() -> DataError:
    return DataError("pickle: not a table as pandas writes it → fetch the pinned release of the data set")


def _block(block: object, names: Column) -> list[tuple[object, Column]]:
    """Return the columns of a block, with their names."""
    match block:
        case Called(_, (values, Called("builtins.slice", (int() as start, int() as stop, int() as step)), 2)) if step:
            own = names[start:stop:step]
        case _:
            raise _refusal()
    columns = _categories(values)[None] if _is_categorical(values) else _numbers(values)
    if columns.ndim != 2 or len(columns) != len(own):
        raise _refusal()
    return list(zip(own.tolist(), columns, strict=True))


def _is_categorical(values: object) -> bool:
    return isinstance(values, Called) and values.arguments[:1] == (Named("pandas.core.arrays.categorical.Categorical"),)


def _categories(values: object) -> Column:
    """Return each row's category."""
    match values:
        case Called(_, _, (Called(_, (), {"categories": index}), coded, {})):
            known, codes = _index(index), _numbers(coded)
        case _:
            raise _refusal()
    if codes.ndim != 1 or codes.dtype.kind != "i" or not ((codes >= 0) & (codes < len(known))).all():
        raise _refusal()
    return known[codes]


def _index(index: object) -> Column:
    """Return the labels of an index: texts, or integers none of which is missing."""
    match index:
        case Called("pandas.core.indexes.base._new_Index", (_, {"data": Called(_, _, (1, _, _, False, [*labels]))})):
            if all(isinstance(label, str) for label in labels):
                return np.array(labels, dtype=np.str_)
        case Called("pandas.core.indexes.base._new_Index", (_, {"data": Called(_, _, {"_data": data, "_mask": mask})})):
            if not _numbers(mask).any():
                return _numbers(data)
    raise _refusal()


def _numbers(array: object) -> Column:
    """Return an array of numbers, of just the bytes that its shape needs."""
    match array:
        case Called(
            "numpy.core.numeric._frombuffer",
            (bytearray() as buffer, Called("numpy.dtype", (str() as kind, *_), (3, "<" | "|", *_)), shape, "C"),
        ) if kind in _NUMBERS and isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape):
            if len(buffer) == math.prod(shape) * np.dtype(kind).itemsize:
                return np.frombuffer(bytes(buffer), "<" + kind).reshape(shape)
    raise _refusal()
