"""Reads what a pickle says without doing it: nothing is looked up, imported, called or built.

A pickle is a program. `pickle.load` imports what it names, calls it and sets attributes. An allow-list of classes
narrows that, and still calls what is on it with arguments that the file chose. Here the standard library's disassembler
decodes the instructions, and they work on plain values alone: a name stays a name, a call becomes a note of what would
have been called with what. So there is nothing to allow. Known are the instructions that a pickled table needs, and so
many of them; a dictionary's keys are texts, as others can take for ever to hash.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass

from almoner.errors import DataError

MAX_INSTRUCTIONS = 10_000
"""Of one pickle; a table's columns are one instruction each, however many rows they have."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a pickle would have looked up, by its dotted name."""

    name: str


@dataclass(slots=True, eq=False)
class Called:
    """What a pickle would have called, and the state that it would then have set.

    Args:
        name: dotted name of what would have been called.
        arguments: what with.
        state: None where it sets none.
    """

    name: str
    arguments: tuple[object, ...]
    state: object = None


def read_inert(content: bytes) -> object:
    """Return what a pickle describes, of plain values, `Named` and `Called`.

    *Guarantee*: nothing that the pickle names is imported or called. Time and memory are bounded by its length.

    Args:
        content: a pickle of protocol 4 or 5.

    Raises:
        DataError: it is cut, malformed or too long, or has an instruction that no table needs.
    """
    machine = _Machine()
    try:
        for number, (instruction, argument, _) in enumerate(pickletools.genops(content)):
            if number == MAX_INSTRUCTIONS:
                raise _refusal(f"more than {MAX_INSTRUCTIONS} instructions")
            if instruction.name == "STOP":
                break
            machine.carry_out(instruction.name, argument)
    except ValueError:
        raise _refusal("cut or malformed") from None
    return machine.pop()


def _refusal(reason: str) -> DataError:
    return DataError(f"pickle: {reason} → fetch the pinned release of the data set")


class _Mark:
    """Where a run of items begins on the stack."""


class _Machine:
    """A stack and a memo of inert values."""

    def __init__(self) -> None:
        self._stack: list[object] = []
        self._memo: list[object] = []

    def carry_out(self, name: str, argument: object) -> None:
        """Carry out one instruction."""
        if name in _ARGUMENT:
            self._stack.append(argument)
        elif name in _FRESH:
            self._stack.append(_FRESH[name]())
        elif name in _SHORT_TUPLES:
            items = [self.pop() for _ in range(_SHORT_TUPLES[name])]
            self._stack.append(tuple(reversed(items)))
        elif name in _OTHERS:
            _OTHERS[name](self, argument)
        elif name not in _IGNORED:
            raise _refusal(f"the instruction {name} is none of a table's")

    def pop(self) -> object:
        """Take the topmost value."""
        if not self._stack:
            raise _refusal("takes what it has not put")
        return self._stack.pop()

    def since_mark(self) -> list[object]:
        """Take all values above the last mark, and the mark."""
        items: list[object] = []
        while not isinstance(item := self.pop(), _Mark):
            items.append(item)
        return items[::-1]

    def memoize(self, _: object) -> None:
        """Keep the topmost value."""
        self._stack.append(value := self.pop())
        self._memo.append(value)

    def recall(self, argument: object) -> None:
        """Put a kept value again."""
        if not isinstance(argument, int) or argument >= len(self._memo):
            raise _refusal("recalls what it has not kept")
        self._stack.append(self._memo[argument])

    def tuple_(self, _: object) -> None:
        """Make a tuple of what is above the mark."""
        self._stack.append(tuple(self.since_mark()))

    def name(self, _: object) -> None:
        """Note a name where pickle would look it up."""
        name, module = self.pop(), self.pop()
        self._stack.append(Named(f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""))

    def call(self, _: object) -> None:
        """Note a call where pickle would make it."""
        arguments, called = self.pop(), self.pop()
        if not isinstance(called, Named) or not isinstance(arguments, tuple):
            raise _refusal("calls what is no name")
        self._stack.append(Called(called.name, arguments))

    def build(self, _: object) -> None:
        """Note a state where pickle would set it."""
        state, made = self.pop(), self.pop()
        if not isinstance(made, Called):
            raise _refusal("sets the state of what it has not made")
        made.state = state
        self._stack.append(made)

    def append(self, _: object) -> None:
        """Append what is above the mark to the list below it."""
        items, target = self.since_mark(), self.pop()
        if not isinstance(target, list):
            raise _refusal("appends to what is no list")
        target += items
        self._stack.append(target)

    def set_item(self, _: object) -> None:
        """Set one item of a dictionary."""
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def set_items(self, _: object) -> None:
        """Set the items above the mark in the dictionary below it."""
        self._set(self.since_mark())

    def _set(self, items: list[object]) -> None:
        target = self.pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise _refusal("sets items of what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise _refusal("a key is no text")
            target[key] = value
        self._stack.append(target)


_IGNORED = frozenset({"PROTO", "FRAME"})
_ARGUMENT = frozenset({"SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "SHORT_BINBYTES", "BYTEARRAY8"})
_FRESH: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": _Mark,
}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OTHERS: dict[str, Callable[[_Machine, object], None]] = {
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.recall,
    "TUPLE": _Machine.tuple_,
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "APPENDS": _Machine.append,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
}
