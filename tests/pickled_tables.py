"""Writes pickles as pandas writes tables, without pandas: names and calls are put down, not looked up."""

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from almoner.data.inert_pickle import Called, Named


class Writer(pickle._Pickler):
    """Python's own writer, which writes a `Named` as a name and a `Called` as a call."""

    dispatch: ClassVar[dict[Any, Callable[..., None]]] = dict(pickle._Pickler.dispatch)

    def save_named(self, value: Named) -> None:
        for part in value.name.rsplit(".", 1):
            self.save(part)
        self.write(pickle.STACK_GLOBAL)

    def save_called(self, value: Called) -> None:
        self.save(Named(value.name))
        self.save(value.arguments)
        self.write(pickle.REDUCE)
        self.memoize(value)
        if value.state is not None:
            self.save(value.state)
            self.write(pickle.BUILD)

    dispatch[Named] = save_named
    dispatch[Called] = save_called


def pickled(value: object) -> bytes:
    """Return the pickle of plain values, `Named` and `Called`."""
    stream = io.BytesIO()
    Writer(stream, protocol=5).dump(value)
    return stream.getvalue()


def numbers(array: NDArray[Any], kind: str) -> Called:
    """Return an array as pandas has it pickled."""
    order = "|" if kind.endswith("1") else "<"
    dtype = Called("numpy.dtype", (kind, False, True), (3, order, None, None, None, -1, -1, 0))
    buffer = bytearray(array.astype(order + kind).tobytes())
    return Called("numpy.core.numeric._frombuffer", (buffer, dtype, array.shape, "C"))


def index(labels: list[str]) -> Called:
    """Return an index of texts."""
    dtype = Called("numpy.dtype", ("O8", False, True), (3, "|", None, None, None, -1, -1, 63))
    array = Called("numpy.core.multiarray._reconstruct", (Named("numpy.ndarray"), (0,), b"b"))
    array.state = (1, (len(labels),), dtype, False, labels)
    return Called("pandas.core.indexes.base._new_Index", (Named("pandas.core.indexes.base.Index"), {"data": array}))


def integer_index(labels: list[int]) -> Called:
    """Return an index of integers none of which is missing."""
    array = Called("pandas.core.arrays.integer.IntegerArray", ())
    array.state = {"_data": numbers(np.array(labels), "i4"), "_mask": numbers(np.zeros(len(labels)), "b1")}
    return Called("pandas.core.indexes.base._new_Index", (Named("pandas.core.indexes.base.Index"), {"data": array}))


def categorical(known: Called, codes: list[int]) -> Called:
    """Return a column of categories."""
    dtype = Called("pandas.core.dtypes.dtypes.CategoricalDtype", (), {"categories": known, "ordered": False})
    state = (dtype, numbers(np.array(codes), "i1"), {})
    categories = Named("pandas.core.arrays.categorical.Categorical")
    return Called("pandas._libs.arrays.__pyx_unpickle_NDArrayBacked", (categories, 1, None), state)


def table(names: list[str], blocks: list[tuple[Called, tuple[int, int]]]) -> Called:
    """Return a table.

    Args:
        names: of the columns.
        blocks: values, and which columns they are: first, and below which.
    """
    placed = tuple(
        Called("pandas._libs.internals._unpickle_block", (values, Called("builtins.slice", (*place, 1)), 2))
        for values, place in blocks
    )
    manager = Called("pandas.core.internals.managers.BlockManager", (placed, [index(names), index(["a", "b"])]))
    return Called("pandas.core.frame.DataFrame", (), {"_mgr": manager, "_typ": "dataframe"})
