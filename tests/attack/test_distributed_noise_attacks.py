"""What breaks distributed noise: shares sized by n - c, and values that are clamped after noise. OpenDP draws unseeded.

A sample deviation of 4,000 draws has a relative error of 1.1 %; thresholds are six of them or more away: below 10^-8.
"""

import math

import numpy as np
import pytest
from tests.simulator import Simulation
from tests.statistical.distributed_error import request

from almoner.privacy.discrete_gaussian import discrete_gaussian
from almoner.privacy.distributed_noise import distributed_epsilon, shared_noise
from almoner.protection.parties import Parties
from almoner.secagg.modular import ModularPacking
from almoner.secagg.packing import Packing

DRAWS = 4_000
SPEC = request({"kind": "distributed", "num_colluding_sites": 3}, epsilon=0.2)
SITES, COLLUDING = 10, 3
THRESHOLD = Parties(SITES, COLLUDING).threshold


def left(site_sigma: float, num_contributors: int) -> float:
    """Return the deviation of the noise that honest contributors alone put into a total."""
    honest = num_contributors - COLLUDING
    return float(np.std(sum(discrete_gaussian(site_sigma, DRAWS) for _ in range(honest))))


@pytest.mark.threat("T-72")
def test_shares_sized_by_n_minus_c_lose_a_quarter_once_sites_drop_out() -> None:
    """Off: as many as may drop do drop: 0.76 σ is left, and the true ε is 1.32 times the claim. On: σ is left."""
    (noise,) = shared_noise(SPEC, SITES)
    sigma = noise.part.bound / math.sqrt(2 * noise.rho)
    naive = sigma / math.sqrt(SITES - COLLUDING)
    assert left(naive, SITES) == pytest.approx(sigma, rel=0.07), "with all sites it looks right"
    assert left(naive, THRESHOLD) == pytest.approx(0.756 * sigma, rel=0.07)
    assert left(naive, THRESHOLD) < 0.85 * sigma
    assert left(noise.site_sigma, THRESHOLD) == pytest.approx(sigma, rel=0.07)
    claimed = distributed_epsilon(1, naive, SITES - COLLUDING, 1)
    true = distributed_epsilon(1, naive, THRESHOLD - COLLUDING, 1)
    assert true / claimed == pytest.approx(1.32, abs=0.01)
    assert distributed_epsilon(1, noise.site_sigma, THRESHOLD - COLLUDING, 1) == pytest.approx(claimed, rel=1e-6)


@pytest.mark.threat("T-73")
def test_a_site_that_clamps_takes_its_noise_out_of_the_total() -> None:
    """One site's count is beyond what a clamp lets through: off, its share of the noise is gone; on, it is there."""
    limit, beyond, sigma = 1000, 2000, 50.0
    clamped, wrapped = Packing(3, limit), ModularPacking()
    noises = [discrete_gaussian(sigma, DRAWS) for _ in range(2)]
    values = [beyond + noises[0], 100 + noises[1]]

    def total(packing: Packing | ModularPacking) -> np.ndarray:
        scratch = np.empty(DRAWS, dtype=np.int64)
        words = [packing.pack(packing.admit(own, scratch)).copy() for own in values]
        packing.add(words[0], words[1])
        return packing.unpack(words[0], DRAWS, 2)

    assert np.std(total(clamped)) == pytest.approx(sigma, rel=0.08), "half of the variance is missing"
    assert np.std(total(wrapped)) == pytest.approx(sigma * math.sqrt(2), rel=0.08)
    assert (total(wrapped) == sum(values)).all()


@pytest.mark.threat("T-73")
def test_a_round_of_secret_sharing_clamps_with_a_limit_and_wraps_without() -> None:
    found = {}
    for limit in (32_767, 0):
        job = Simulation.of("secagg", 4, limit=limit)
        job.values = lambda number, site: np.arange(7) + (60_000 if site == "site-1" else 0)  # type: ignore[method-assign]
        job.set_up()
        job.round(1)
        found[limit] = job.open_all(1)["site-2"]
    assert found[32_767].tolist() == (3 * np.arange(7) + 32_767).tolist(), "what site-1 added is cut off"
    assert found[0].tolist() == (4 * np.arange(7) + 60_000).tolist()


@pytest.mark.threat("T-70")
def test_a_second_round_for_the_same_charge_would_halve_the_variance() -> None:
    """Why there is no second round: two totals of the same data with fresh noise average to a quieter one."""
    (noise,) = shared_noise(SPEC, SITES)
    rounds = [sum(discrete_gaussian(noise.site_sigma, DRAWS) for _ in range(2)) for _ in range(2)]
    alone, averaged = np.var(rounds[0]), np.var((rounds[0] + rounds[1]) / 2)
    assert averaged / alone == pytest.approx(0.5, rel=0.25)
