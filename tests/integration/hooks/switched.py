"""Test-only: takes single controls out of the shipped code, to show that a test fails without them.

ALMONER_TEST_OFF=<JSON list of {"code": "module:name", "off": "expression"}>: puts what the expression gives, evaluated
in the names of the module, in the control's place as soon as the module is imported, in every process.
In it `original` is the control. ALMONER_TEST_OFF_SEEN=<file>: gets a line for each that was taken out.
"""

import json
import os
from types import CodeType, FunctionType

SWITCHES = json.loads(os.environ.get("ALMONER_TEST_OFF", "[]"))
SEEN = os.environ.get("ALMONER_TEST_OFF_SEEN", "")


def take_out(module, name, off):
    """Put what `off` gives in the place of a function, method, property or constant of a module.

    What a module defines is taken from whoever holds it; what it imports, from this module alone.
    """
    *path, last = name.split(".")
    owner = module
    for part in path:
        owner = getattr(owner, part)
    held = vars(owner)[last]
    function = held
    while not isinstance(function, FunctionType) and getattr(function, "__func__", getattr(function, "fget", None)):
        function = getattr(function, "__func__", getattr(function, "fget", None))
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    is_function = isinstance(function, FunctionType) and function.__module__ == module.__name__
    original = copy(function) if is_function else held
    module.original = original
    instead = eval(off, vars(module))
    if is_function and same_cells(function.__code__, instead.__code__):
        function.__code__, function.__defaults__ = instead.__code__, instead.__defaults__
        function.__kwdefaults__ = instead.__kwdefaults__
    else:
        setattr(
            owner, last, type(held)(instead) if isinstance(held, (staticmethod, classmethod, property)) else instead
        )
    with open(SEEN or os.devnull, "a") as file:
        file.write(f"{module.__name__}:{name}\n")


def copy(function):
    """Return a function that stays what it was when the code of this one is exchanged."""
    kept = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    kept.__kwdefaults__ = function.__kwdefaults__
    return kept


def same_cells(one: CodeType, other: CodeType) -> bool:
    """Tell whether the code of one function can be that of the other."""
    return not one.co_freevars and not other.co_freevars


def wrapper(module_name):
    """Return what takes all switched controls of a module out of it."""

    def take_all(module):
        for switch in SWITCHES:
            name = switch["code"].partition(":")
            if name[0] == module_name:
                take_out(module, name[2], switch["off"])

    return take_all


def both(first, second):
    """Return what does both to a module."""

    def in_turn(module):
        if first:
            first(module)
        second(module)

    return in_turn


WRAPPERS = {name: wrapper(name) for name in {switch["code"].partition(":")[0] for switch in SWITCHES}}
