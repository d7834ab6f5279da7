"""What holds a secret shows none, and is neither copied nor pickled."""

import copy
import pickle

import pytest
from protection_cases import SITES, agreement, network

from almoner.protection.boxes import Address, BoxKey
from almoner.protection.hidden import Hidden
from almoner.protection.set_up import JobKeys
from almoner.protection.stream import Stream

SECRET = b"\xabSECRET".ljust(32, b"!")


def holders() -> list[Hidden]:
    states: list[Hidden] = []
    net = network()
    net.hear = lambda question, site, said: states.append(net.machines[site]._state) or said
    net.run()
    assert {type(state).__name__ for state in states} == {"Shown", "Confirmed", "Shared", "Agreed"}
    site = SITES[0]
    fresh = agreement(site)
    fresh.keys()
    key = BoxKey(SECRET, b"T", Address(b"label", 0, "ada", "bob"))
    return [JobKeys.generate(), key, Stream(SECRET), net.agreed[site], net.machines[site], fresh, *states]


def test_repr_pickle_and_copy() -> None:
    for holder in holders():
        assert repr(holder) == str(holder) == f"<{type(holder).__name__}>"
        assert "SECRET" not in f"{holder!r} {[holder]} {holder}"
        for write in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="holds a secret"):
                write(holder)
