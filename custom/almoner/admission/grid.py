"""The integer grid that a job's updates live on, from public numbers alone."""

from almoner.schema.job import JobSpec
from almoner.training.grid import UpdateGrid, update_grid


def job_grid(spec: JobSpec, noise_multiplier: float, max_nominal_records: int, dimension: int) -> UpdateGrid:
    """Return the grid that all sites of a job share.

    Args:
        noise_multiplier: σ, as the job's plan states it.
        max_nominal_records: the largest declared size among the job's sites.
        dimension: the number of the model's parameters.

    Raises:
        PolicyViolation: when the job's updates fit no grid.
    """
    return update_grid(
        max_grad_norm=spec.privacy.max_grad_norm,
        sampling_prob=spec.privacy.sampling_prob,
        noise_multiplier=noise_multiplier,
        max_nominal_records=max_nominal_records,
        local_steps=spec.training.local_steps,
        dimension=dimension,
    )
