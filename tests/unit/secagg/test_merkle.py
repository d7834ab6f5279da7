"""Merkle trees: the roots of Certificate Transparency's tests, every path, and no path for anything else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.secagg.secagg_cases import vectors

from almoner.errors import ProtocolError
from almoner.secagg import merkle

CASE = vectors()["merkle"]
LEAVES = [bytes.fromhex(leaf) for leaf in CASE["leaves"]]
PUBLISHED = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Roots of the first 0 to 8 leaves, as Certificate Transparency's own tests pin them."""


def test_roots_are_the_published_ones():
    assert [merkle.root(LEAVES[:size]).hex() for size in range(9)] == PUBLISHED == CASE["roots"]


@pytest.mark.parametrize("name", CASE["paths"])
def test_proofs_are_those_of_the_vectors_and_verify(name):
    index, size = (int(word) for word in name.split(" of "))
    proof = merkle.inclusion_proof(LEAVES[:size], index)
    assert [digest.hex() for digest in proof] == CASE["paths"][name]
    merkle.verify_inclusion(LEAVES[index], index, size, proof, bytes.fromhex(PUBLISHED[size]))


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=70, unique=True), st.data())
@settings(max_examples=60, deadline=None)
def test_a_proof_shows_one_entry_at_one_index_of_one_size(entries, data):
    size = len(entries)
    index = data.draw(st.integers(0, size - 1))
    proof, root = merkle.inclusion_proof(entries, index), merkle.root(entries)
    merkle.verify_inclusion(entries[index], index, size, proof, root)
    wrong = [
        (entries[index] + b"x", index, size, proof, root),
        (entries[index], index, size, proof, bytes(32)),
        (entries[index], index, size, (*proof, bytes(32)), root),
        (entries[index], size, size, proof, root),
        (entries[index], -1, size, proof, root),
    ]
    wrong += [(entries[index], index, size, proof[:-1], root)] if proof else []
    wrong += [(entries[index], other, size, proof, root) for other in range(size) if other != index]
    for case in wrong:
        with pytest.raises(ProtocolError):
            merkle.verify_inclusion(*case)


def test_a_node_does_not_pass_for_a_leaf():
    left, right = (merkle.root([leaf]) for leaf in LEAVES[:2])
    assert merkle.root([left + right]) != merkle.root(LEAVES[:2])


def test_there_is_no_proof_of_what_is_not_there():
    with pytest.raises(ProtocolError, match="indices count from 0"):
        merkle.inclusion_proof(LEAVES, 8)
