"""What breaks shared training noise: more colluders than are assumed, a single share opened, values that are clamped.

The attacker knows all but one unit, and guesses whether it was there from the one coordinate that it moves by S steps.
Against noise of z·S its advantage (true less false positive rate) is at most 2Φ(1/(2z)) - 1, 38 % at z = 1. OpenDP
draws unseeded: over 4,000 guesses each way an advantage has a deviation of 1.1 points; bounds are five of them away or
more, below 10^-6.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import norm

from almoner.privacy.discrete_gaussian import discrete_gaussian
from almoner.privacy.distributed_training import share_sigma, shared_step, shares_that_count
from almoner.protection.parties import Parties
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.secagg.modular import ModularPacking
from almoner.secagg.packing import Packing

GUESSES, NOISE = 4_000, 1.0
SITES, COLLUDING, DIMENSION = 4, 1, 17
THRESHOLD = Parties(SITES, COLLUDING).threshold
STEP = shared_step(1.0, NOISE, shares_that_count(SITES, COLLUDING), DIMENSION)
MOVED = round(1.0 / STEP + math.sqrt(DIMENSION))
SIGMA = share_sigma(NOISE, 1.0 / STEP + math.sqrt(DIMENSION), shares_that_count(SITES, COLLUDING))
CLAIMED = 2 * float(norm.cdf(1 / (2 * NOISE))) - 1
MARGIN = 0.055


def advantage(without: np.ndarray, with_unit: np.ndarray, known: int = 0) -> float:
    """Return how well a threshold half-way tells the two apart."""
    border = known + MOVED / 2
    return float((with_unit > border).mean() - (without > border).mean())


def opened(num_colluders: int) -> float:
    """Return the advantage from a total of the fewest contributors, less the shares that colluders told."""
    honest = THRESHOLD - num_colluders
    totals = [sum(discrete_gaussian(SIGMA, GUESSES) for _ in range(honest)) for _ in range(2)]
    return advantage(totals[0], totals[1] + MOVED)


@pytest.mark.threat("T-81")
def test_the_claim_holds_against_c_colluders_and_fails_against_one_more() -> None:
    assert opened(COLLUDING) < CLAIMED + MARGIN
    assert opened(COLLUDING) > CLAIMED - MARGIN, "and there is no more noise than was meant"
    assert opened(COLLUDING + 1) > CLAIMED + 1.5 * MARGIN


@pytest.mark.threat("T-81")
def test_a_share_by_itself_is_not_enough_noise() -> None:
    """What a server sees of each site under plain aggregation, which the schema refuses for this mechanism."""
    share = [discrete_gaussian(SIGMA, GUESSES) for _ in range(2)]
    assert advantage(share[0], share[1] + MOVED) > CLAIMED + 1.5 * MARGIN


@pytest.mark.threat("T-81")
@pytest.mark.parametrize(
    "aggregation",
    [
        {"kind": "plain"},
        {"kind": "he", "num_colluding_sites": 1},
        {"kind": "robust", "rule": "median", "num_byzantine_sites": 1},
    ],
    ids=lambda fields: fields["kind"],
)
def test_a_job_whose_shares_somebody_would_see_by_themselves_is_none(root: Path, aggregation: dict[str, Any]) -> None:
    fields = load_document(root / "jobs" / "heart_disease_distributed.yaml", JobSpec).model_dump(mode="json")
    assert JobSpec.model_validate_json(json.dumps(fields)).aggregation.kind == "secagg"
    with pytest.raises(ValidationError, match=r"distributed_dp needs aggregation\.kind secagg"):
        JobSpec.model_validate_json(json.dumps(fields | {"aggregation": aggregation}))


@pytest.mark.threat("T-82")
def test_a_site_that_clamps_takes_its_noise_from_the_others() -> None:
    """A site whose sum is beyond the limit: clamped, only one share is left to hide another site's unit."""
    beyond = 400 * round(1.0 / STEP)

    def totals(packing: Packing | ModularPacking, moved: int) -> np.ndarray:
        scratch = np.empty(GUESSES, dtype=np.int64)
        values = (beyond + discrete_gaussian(SIGMA, GUESSES), moved + discrete_gaussian(SIGMA, GUESSES))
        words = [packing.pack(packing.admit(own, scratch)).copy() for own in values]
        packing.add(words[0], words[1])
        return packing.unpack(words[0], GUESSES, 2)

    def leaked(packing: Packing | ModularPacking) -> float:
        """The attacker knows what the site holds, and whether it clamps."""
        return max(advantage(totals(packing, 0), totals(packing, MOVED), known) for known in (32_767, beyond))

    assert leaked(Packing(THRESHOLD, 32_767)) > CLAIMED + 1.5 * MARGIN
    assert leaked(ModularPacking()) < CLAIMED + MARGIN
