"""The growing tree: vectors of another implementation, and a naive reference at every size."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from almoner.audit.hash_tree import HashTree, leaf_hash, verify_consistency
from almoner.errors import EvidenceError
from almoner.secagg.merkle import verify_inclusion

# Source: github.com/transparency-dev/merkle (RFC 6962 hashing of Certificate Transparency, Apache-2.0),
# proof/verify_test.go at commit 02194e9afb6c1d95b5381350007963aa70fff472: leaves, roots, inclusionProofs (leaves
# counted from 1 there), consistencyProofs. RFC 9162 hashes as RFC 6962 does.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
D37E = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
FIRST_OF_8 = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
]
CA85 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
BC1A = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
OEBC = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
INCLUSION = {
    (1, 8): FIRST_OF_8,
    (6, 8): [BC1A, CA85, D37E],
    (3, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (2, 5): [ROOTS[0], FIRST_OF_8[1], BC1A],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): FIRST_OF_8,
    (6, 8): [OEBC, CA85, D37E],
    (2, 5): [FIRST_OF_8[1], BC1A],
    (6, 7): [OEBC, "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f", D37E],
}


def naive_root(entries: list[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word by word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while 2 * k < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def tree_of(entries: list[bytes]) -> HashTree:
    return HashTree(map(leaf_hash, entries))


def test_roots_are_the_published_ones_at_every_size():
    tree = tree_of(LEAVES)
    assert [tree.root(size).hex() for size in range(1, 9)] == ROOTS
    assert tree.root(0) == hashlib.sha256().digest()


@pytest.mark.parametrize(("leaf", "size"), INCLUSION)
def test_inclusion_proofs_are_the_published_ones(leaf, size):
    proof = tree_of(LEAVES).inclusion_proof(leaf - 1, size)
    assert [digest.hex() for digest in proof] == INCLUSION[leaf, size]
    verify_inclusion(LEAVES[leaf - 1], leaf - 1, size, proof, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "size"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(old, size):
    proof = tree_of(LEAVES).consistency_proof(old, size)
    assert [digest.hex() for digest in proof] == CONSISTENCY[old, size]
    verify_consistency(old, bytes.fromhex(ROOTS[old - 1]), size, bytes.fromhex(ROOTS[size - 1]), proof)


@given(st.lists(st.binary(max_size=4), max_size=40), st.data())
@settings(max_examples=80, deadline=None)
def test_every_size_is_the_naive_tree_and_proves_its_entries(entries, data):
    tree = tree_of(entries)
    size = data.draw(st.integers(0, len(entries)))
    assert tree.root(size) == naive_root(entries[:size])
    if size:
        index = data.draw(st.integers(0, size - 1))
        verify_inclusion(entries[index], index, size, tree.inclusion_proof(index, size), naive_root(entries[:size]))


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=40, unique=True), st.data())
@settings(max_examples=80, deadline=None)
def test_a_consistency_proof_shows_two_sizes_of_one_log_and_nothing_else(entries, data):
    size = data.draw(st.integers(1, len(entries)))
    old = data.draw(st.integers(1, size))
    proof = tree_of(entries).consistency_proof(old, size)
    roots = naive_root(entries[:old]), naive_root(entries[:size])
    verify_consistency(old, roots[0], size, roots[1], proof)
    changed = [*entries]
    changed[data.draw(st.integers(0, old - 1))] += b"x"
    wrong = [
        (old, naive_root(changed[:old]), size, roots[1], proof),
        (old, roots[0], size, naive_root(changed[:size]), proof),
        (old, roots[0], size, roots[1], (*proof, bytes(32))),
        (size + 1, roots[0], size, roots[1], proof),
        (-1, roots[0], size, roots[1], proof),
    ]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        wrong.append((old, roots[0], size, roots[1], (*proof[:at], flipped, *proof[at + 1 :])))
        wrong.append((old, roots[0], size, roots[1], proof[:-1]))
        fork = tree_of([*changed, b"later"])  # an honest proof about another log
        wrong.append((old, roots[0], size, fork.root(size), fork.consistency_proof(old, size)))
    for case in wrong:
        with pytest.raises(EvidenceError):
            verify_consistency(*case)


def test_an_empty_log_is_the_beginning_of_every_log():
    tree = tree_of(LEAVES)
    verify_consistency(0, tree.root(0), 8, tree.root(), tree.consistency_proof(0))
    with pytest.raises(EvidenceError, match="forked"):
        verify_consistency(0, bytes(32), 8, tree.root(), ())


@pytest.mark.parametrize(
    "call", [lambda t: t.root(9), lambda t: t.inclusion_proof(8), lambda t: t.consistency_proof(9)]
)
def test_there_is_no_proof_of_what_is_not_there(call):
    with pytest.raises(EvidenceError):
        call(tree_of(LEAVES))
