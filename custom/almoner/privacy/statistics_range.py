"""Whether the sums of a distributed request fit the modulus that they are added up in."""

from almoner.errors import PolicyViolation
from almoner.privacy.distributed_noise import shared_noise
from almoner.protection.modulus import MODULUS
from almoner.schema.statistics import StatisticsSpec

RECORDS_SLACK = 16
"""So many times the declared records may be there before a sum could wrap."""

NOISE_SIGMAS = 50
"""σ that the noise of all sites together stays within, but for a probability below 10^-500."""


def check_range(spec: StatisticsSpec, num_sites: int, total_records: int) -> None:
    """Check that no sum with its noise wraps, as far as the declared sizes go.

    What wraps is a wrong number, and no leak: sums are reduced after the noise, whatever they are.

    Args:
        num_sites: all sites of the job.
        total_records: declared records of all of them.

    Raises:
        PolicyViolation: a sum could wrap.
    """
    for noise in shared_noise(spec, num_sites):
        records = RECORDS_SLACK * total_records * noise.part.bound * noise.steps
        largest = records + NOISE_SIGMAS * num_sites * noise.step_sigma
        if largest >= MODULUS / 2:
            query = spec.queries[noise.part.query].name
            raise PolicyViolation(f"sums of {query} could wrap the modulus → narrower bounds, or a coarser step")
