"""The error of both trust models beside the theory. OpenDP draws without a seed; false-positive rates are stated."""

import numpy as np
import pytest
from tests.statistical.distributed_error import CELLS, compare, request

from almoner.privacy.discrete_gaussian import discrete_gaussian
from almoner.privacy.distributed_noise import shared_noise


@pytest.mark.parametrize(("num_sites", "colluding"), [(4, 1), (10, 3), (25, 5)])
def test_the_ratio_of_errors_is_the_theorys(num_sites: int, colluding: int) -> None:
    """A ratio of two deviations of 1,000 draws each has a relative error of 3.2 %; six of them: below 10^-8."""
    found = compare(num_sites, colluding, 1000 // CELLS)
    assert found.ratio == pytest.approx(found.theory, rel=6 * 0.0317)


def test_shares_have_their_variance() -> None:
    """The variance of 5,000 draws has a relative error of 2 %; six of them: below 10^-8."""
    (noise,) = shared_noise(request({"kind": "distributed", "num_colluding_sites": 3}), 10)
    drawn = discrete_gaussian(noise.step_sigma, 5_000)
    assert np.var(drawn) == pytest.approx(noise.step_sigma**2, rel=0.12)
    assert abs(drawn.mean()) < 6 * noise.step_sigma / np.sqrt(5_000)
