"""The integer grid that a job's updates live on, from public numbers alone."""

from collections.abc import Collection

from almoner.privacy.distributed_training import check_range, share_sigma, shares_that_count
from almoner.schema.job import JobSpec
from almoner.training.grid import UpdateGrid, shared_grid, update_grid


def job_grid(spec: JobSpec, noise_multiplier: float, sizes: Collection[int], dimension: int) -> UpdateGrid:
    """Return the grid that all sites of a job share.

    Args:
        noise_multiplier: σ, as the job's plan states it.
        sizes: declared sizes of the job's data set at all of its sites.
        dimension: the number of the model's parameters.

    Raises:
        PolicyViolation: when the job's totals could wrap, or there are too few sites for those that may collude.
    """
    privacy = spec.privacy
    if privacy.mechanism == "distributed_dp" and spec.rounds:
        num_shares = shares_that_count(len(sizes), spec.num_colluding_sites)
        grid = shared_grid(privacy.max_grad_norm, noise_multiplier, num_shares, dimension)
        sensitivity = grid.sensitivity(privacy.max_grad_norm, dimension) / grid.step
        sigma = share_sigma(noise_multiplier, sensitivity, num_shares)
        check_range(privacy.max_grad_norm / grid.step, sigma, len(sizes), sum(sizes))
        return grid
    return update_grid(
        max_grad_norm=privacy.max_grad_norm,
        sampling_prob=privacy.sampling_prob,
        noise_multiplier=noise_multiplier,
        max_nominal_records=max(sizes),
        local_steps=spec.training.local_steps,
        limit=spec.training.update_limit,
    )
