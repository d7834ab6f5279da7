"""What each method costs a site: which mechanism touches its data how often, and the ε of that."""

from dataclasses import dataclass

from almoner.experiments.personalise.candidates import Candidate
from almoner.experiments.personalise.study import Study
from almoner.privacy.pld import pld_epsilon
from almoner.training.personalise.shared import GlobalModel


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one method at every site: σ and q are the job's, so it is the same for all sites.

    Args:
        num_steps: noised steps of a site, each one Poisson-subsampled Gaussian.
        noise_multiplier: σ at which these cost the study's target in total: that of the comparison.
        epsilon: of these at that σ, at most the target.
        epsilon_at_job_noise: of these at the σ of the job as it is.
        extra_epsilon: how much that is above the job's own; 0 for what touches no more data than the job.
    """

    num_steps: int
    noise_multiplier: float
    epsilon: float
    epsilon_at_job_noise: float
    extra_epsilon: float


def cost_of(study: Study, candidate: Candidate) -> Cost:
    """Return what a candidate costs each site, by PLD as a job's ε.

    Reference: see `almoner.privacy.pld`. ε is of one unit at one site under add-or-remove-one, over everything that the
    method sends and all models that it leaves.
    """
    method, delta = candidate.method, study.target_delta
    own = study.plan_of(candidate)
    job = pld_epsilon((GlobalModel().event(study.plan),), delta)
    at_job_noise = pld_epsilon((method.event(study.plan),), delta)
    return Cost(
        num_steps=method.num_steps(study.plan),
        noise_multiplier=own.noise_multiplier,
        epsilon=pld_epsilon((method.event(own),), delta),
        epsilon_at_job_noise=at_job_noise,
        extra_epsilon=max(0.0, at_job_noise - job),
    )
