"""How fast the accountants are: ten thousand events that all differ, and a run of ten thousand equal steps."""

import time

from almoner.privacy.budget import charge_of
from almoner.privacy.pld import pld_epsilon
from almoner.schema.receipt import SampledGaussian

NUM_EVENTS = 10_000
ORDER = 8
DELTA = 1e-5


def run() -> dict[str, object]:
    """Measure the Rényi charge of the different events, twice, and the PLD of the equal ones."""
    events = [
        SampledGaussian(kind="sampled_gaussian", noise_multiplier=1 + index / 1000, sampling_prob=0.01, count=1)
        for index in range(NUM_EVENTS)
    ]
    begin = time.perf_counter()
    charge_of(events, ORDER)
    new = time.perf_counter()
    charge_of(events, ORDER)
    known = time.perf_counter()
    epsilon = pld_epsilon([events[0].model_copy(update={"count": NUM_EVENTS})], DELTA)
    end = time.perf_counter()
    return {
        "compose_10k_s": round(new - begin, 3),
        "compose_10k_again_s": round(known - new, 3),
        "pld_10k_steps_s": round(end - known, 3),
        "pld_epsilon": round(epsilon, 4),
    }
