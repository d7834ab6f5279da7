"""Normals from words, against the same in many digits: by the bounds that the module derives its claim from."""

import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from almoner.training.normals import box_muller

WORDS = st.integers(-(2**63), 2**63 - 1)
SCALES = st.sampled_from([1.0, 0.37, 2.0**26, 3e11])


@given(words=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5), scale=SCALES)
@example([(-(2**63), 2**63 - 1), (2**63 - 1, -(2**63)), (0, 0), (-1, -1), (1, 2**62), (2**40, -(2**62))], 1.0)
def test_computed_numbers_are_as_near_to_exact_ones_as_is_said(words: list[tuple[int, int]], scale: float) -> None:
    """The exact pair is that of the middles of the words' cells."""
    drawn = box_muller(np.array(words, np.int64).T.reshape(-1).view(np.uint64), scale).reshape(2, -1).T
    for (first, second), pair in zip(words, drawn, strict=True):
        with mpmath.workdps(60):
            uniform, angle = abs(mpmath.mpf(2 * first + 1)) / 2**64, mpmath.pi * (2 * second + 1) / 2**64
            radius = mpmath.sqrt(-2 * mpmath.log(uniform))
            wrong = 2.0**-52 / radius + 2.0**-63 / (uniform * radius) + 1.5 * 2.0**-52 * radius
            for found, part, slope in zip(pair, (mpmath.cos, mpmath.sin), (mpmath.sin, mpmath.cos), strict=True):
                turned = (3 * 2.0**-53 * abs(angle) + 2.0**-62) * (abs(slope(angle)) + 2.0**-50) * radius
                allowed = wrong + turned + 1.5 * 2.0**-52 * radius
                assert abs(mpmath.mpf(float(found)) / mpmath.mpf(scale) - radius * part(angle)) <= allowed


def test_the_mean_error_is_what_is_said() -> None:
    """Over 4,000 numbers; what doubles lose, for cells are far smaller."""
    words = np.random.default_rng(0).integers(-(2**63), 2**63, (2, 2000))
    drawn = box_muller(words.reshape(-1).view(np.uint64), 1.0)
    with mpmath.workdps(40):
        radii = [mpmath.sqrt(-2 * mpmath.log(abs(mpmath.mpf(2 * int(word) + 1)) / 2**64)) for word in words[0]]
        angles = [mpmath.pi * (2 * int(word) + 1) / 2**64 for word in words[1]]
        exact = [r * part(t) for part in (mpmath.cos, mpmath.sin) for r, t in zip(radii, angles, strict=True)]
        errors = [abs(float(mpmath.mpf(float(one)) - other)) for one, other in zip(drawn, exact, strict=True)]
    assert 2.0**-60 < np.mean(errors) < 2.0**-49


@pytest.mark.parametrize("word", [0, -(2**63), 2**63 - 1])
def test_the_ends_are_finite(word: int) -> None:
    drawn = box_muller(np.full(4, word, np.int64).view(np.uint64), 2.0**40)
    assert np.abs(drawn).max() < 9.42 * 2.0**40
