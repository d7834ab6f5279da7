"""Shamir's secret sharing of 32-byte secrets over the prime field of 2^256 - 189.

A secret is an element of the field as 32 big-endian bytes. Sharing draws a polynomial of degree t - 1 with the
secret at 0; the share of index x is its value at x. Any t shares give the secret, t - 1 say nothing about it.
Arithmetic is on Python integers and its time depends on them slightly; secrets live for one round.

Reference: Shamir, "How to share a secret", CACM 22(11), 1979.
"""

import secrets
from collections.abc import Mapping, Sequence

from almoner.errors import ProtocolError

PRIME = 2**256 - 189
"""The largest prime below 2^256."""

SECRET_BYTES = 32
MAX_INDEX = 255


def draw_secret() -> bytes:
    """Return a uniformly random element of the field, 32 bytes, from the operating system's generator."""
    return secrets.randbelow(PRIME).to_bytes(SECRET_BYTES, "big")


def share(secret: bytes, threshold: int, indices: Sequence[int]) -> dict[int, bytes]:
    """Split a secret with fresh randomness.

    *Guarantee*: fewer than `threshold` shares are independent of the secret.

    Args:
        secret: 32 bytes, below the prime.
        threshold: t, shares that are needed to combine.
        indices: distinct, in [1, 255]; at least t of them.

    Returns:
        For each index its share, 32 bytes.

    Raises:
        ProtocolError: the secret is no element of the field, or the indices or the threshold are out of range.
    """
    _check_indices(indices)
    if not 1 <= threshold <= len(indices):
        raise ProtocolError(
            f"share: threshold {threshold} with {len(indices)} shares: it is between 1 and their number"
        )
    coefficients = [_element(secret), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return {index: _evaluate(coefficients, index).to_bytes(SECRET_BYTES, "big") for index in indices}


def combine(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret that exactly `threshold` shares give.

    With fewer shares, or a false one, the result is some other element: the caller compares it with a commitment.

    Args:
        shares: by index, 32 bytes each.

    Raises:
        ProtocolError: there is no share, or an index or a share is out of range.
    """
    _check_indices(tuple(shares))
    total = sum(
        weight * _element(value) for weight, value in zip(_weights_at_zero(tuple(shares)), shares.values(), strict=True)
    )
    return (total % PRIME).to_bytes(SECRET_BYTES, "big")


def is_element(data: bytes) -> bool:
    """Tell whether 32 bytes are an element of the field."""
    return len(data) == SECRET_BYTES and int.from_bytes(data, "big") < PRIME


def _evaluate(coefficients: Sequence[int], index: int) -> int:
    """Return a polynomial's value, by Horner's rule."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * index + coefficient) % PRIME
    return value


def _weights_at_zero(indices: Sequence[int]) -> list[int]:
    """Return the Lagrange coefficients for the value at 0."""
    weights = []
    for index in indices:
        numerator = denominator = 1
        for other in indices:
            if other != index:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - index) % PRIME
        weights.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return weights


def _element(data: bytes) -> int:
    """Read 32 bytes as an element of the field."""
    if not is_element(data):
        raise ProtocolError("a secret or share is no element of the field: 32 bytes below 2^256 - 189")
    return int.from_bytes(data, "big")


def _check_indices(indices: Sequence[int]) -> None:
    """Refuse indices that are no distinct points other than 0."""
    if not indices or len(set(indices)) != len(indices) or not all(1 <= index <= MAX_INDEX for index in indices):
        raise ProtocolError(f"the indices of shares are not distinct numbers from 1 to {MAX_INDEX}")
