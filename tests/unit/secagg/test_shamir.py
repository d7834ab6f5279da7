"""Shamir: vectors, any t shares, fewer say nothing, refusals."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.secagg.secagg_cases import vectors

from almoner.errors import ProtocolError
from almoner.secagg import shamir

CASES = [pytest.param(case, id=case["name"]) for case in vectors()["shamir"]]


@pytest.mark.parametrize("case", CASES)
def test_shares_are_those_of_the_vectors(case, monkeypatch):
    coefficients = [bytes.fromhex(c) for c in case["coefficients"]]
    drawn = iter(int.from_bytes(c, "big") for c in coefficients[1:])
    monkeypatch.setattr(shamir.secrets, "randbelow", lambda bound: next(drawn))
    shares = {int(index): bytes.fromhex(value) for index, value in case["shares"].items()}
    assert shamir.share(coefficients[0], len(coefficients), tuple(shares)) == shares


@pytest.mark.parametrize("case", CASES)
def test_every_large_enough_subset_of_the_vectors_gives_the_secret(case):
    secret, need = bytes.fromhex(case["coefficients"][0]), len(case["coefficients"])
    shares = {int(index): bytes.fromhex(value) for index, value in case["shares"].items()}
    for size in range(need, len(shares) + 1):
        for chosen in combinations(shares, size):
            assert shamir.combine({index: shares[index] for index in chosen}) == secret


@given(
    st.integers(0, shamir.PRIME - 1),
    st.integers(1, 50).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_any_t_shares_give_the_secret_in_any_order(value, sizes, order):
    num_shares, threshold = sizes
    secret = value.to_bytes(32, "big")
    shares = shamir.share(secret, threshold, range(1, num_shares + 1))
    chosen = order.sample(sorted(shares), threshold)
    assert shamir.combine({index: shares[index] for index in chosen}) == secret


@given(st.integers(2, 6), st.integers(0, shamir.PRIME - 1))
@settings(max_examples=30, deadline=None)
def test_fewer_shares_fit_every_secret(threshold, other):
    """Perfect hiding: t - 1 shares and any other secret lie on one polynomial, so they are equally likely."""
    shares = shamir.share(shamir.draw_secret(), threshold, range(1, threshold + 1))
    held = {index: share for index, share in shares.items() if index < threshold}
    missing = _last_share(held, other, threshold)
    assert shamir.combine({**held, threshold: missing}) == other.to_bytes(32, "big")


def _last_share(held: dict[int, bytes], secret: int, index: int) -> bytes:
    """Return the share at `index` of the polynomial through the held shares and a secret at 0."""
    points = {0: secret, **{x: int.from_bytes(share, "big") for x, share in held.items()}}
    value = 0
    for x, y in points.items():
        weight = 1
        for other in points:
            if other != x:
                weight = weight * (index - other) * pow(x - other, -1, shamir.PRIME) % shamir.PRIME
        value = (value + y * weight) % shamir.PRIME
    return value.to_bytes(32, "big")


def test_a_false_share_gives_another_secret():
    secret = shamir.draw_secret()
    shares = shamir.share(secret, 3, (1, 2, 3))
    shares[2] = shamir.draw_secret()
    assert shamir.combine(shares) != secret


def test_sharing_twice_draws_anew():
    secret = shamir.draw_secret()
    assert shamir.share(secret, 2, (1, 2)) != shamir.share(secret, 2, (1, 2))


def test_secrets_are_elements_of_the_field_and_fresh():
    drawn = {shamir.draw_secret() for _ in range(100)}
    assert len(drawn) == 100
    assert all(len(secret) == 32 and int.from_bytes(secret, "big") < shamir.PRIME for secret in drawn)


@pytest.mark.parametrize(
    ("secret", "threshold", "indices"),
    [
        (b"\xff" * 32, 2, (1, 2)),
        (shamir.PRIME.to_bytes(32, "big"), 2, (1, 2)),
        (bytes(31), 2, (1, 2)),
        (bytes(33), 2, (1, 2)),
        (bytes(32), 0, (1, 2)),
        (bytes(32), 3, (1, 2)),
        (bytes(32), 2, (0, 1)),
        (bytes(32), 2, (1, 1)),
        (bytes(32), 2, (1, 256)),
        (bytes(32), 1, ()),
    ],
)
def test_sharing_refuses(secret, threshold, indices):
    with pytest.raises(ProtocolError):
        shamir.share(secret, threshold, indices)


@pytest.mark.parametrize("shares", [{}, {0: bytes(32)}, {1: bytes(31)}, {1: b"\xff" * 32}, {256: bytes(32)}])
def test_combining_refuses(shares):
    with pytest.raises(ProtocolError):
        shamir.combine(shares)
