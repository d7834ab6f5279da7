"""The plan of a job of any kind: what it may release at one site, step by step."""

from almoner.errors import DocumentError, PolicyViolation
from almoner.privacy.distributed_noise import distributed_plan
from almoner.privacy.distributed_training import assumption_of
from almoner.privacy.plan import JobPlan, PlannedStep, job_events, largest_target_epsilon
from almoner.privacy.statistics_plan import statistics_plan
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.job import MIN_TARGET_EPSILON, JobSpec
from almoner.schema.psi import PsiSpec
from almoner.schema.receipt import PureRelease
from almoner.schema.statistics import StatisticsSpec


def plan_of(spec: AnyJobSpec, num_sites: int) -> JobPlan:
    """Plan a job; a function of the spec and the number of its sites alone.

    Args:
        num_sites: all sites that the job is for; what distributed noise is sized by.

    Raises:
        DocumentError: the noise cannot be calibrated to the target, or there are too few sites for distributed noise.
    """
    if isinstance(spec, JobSpec):
        return _training(spec, num_sites)
    if isinstance(spec, StatisticsSpec):
        return _statistics(spec, num_sites)
    return _alignment(spec)


def _training(spec: JobSpec, num_sites: int) -> JobPlan:
    """Plan a training job under its mechanism."""
    try:
        return job_events(spec, assumption_of(spec, num_sites))
    except PolicyViolation as error:
        raise DocumentError(f"job {spec.name}: {error}") from None


def _statistics(spec: StatisticsSpec, num_sites: int) -> JobPlan:
    """Plan a request for statistics under its trust model."""
    if spec.trust.kind == "local":
        return statistics_plan(spec)
    try:
        return distributed_plan(spec, num_sites)
    except PolicyViolation as error:
        raise DocumentError(f"request {spec.name}: {error}") from None


def _alignment(spec: PsiSpec) -> JobPlan:
    """Plan an alignment: what is charged is the size of the intersection, at every site, since it tells of all."""
    sizes = (PureRelease(kind="pure_release", epsilon=release.epsilon, count=1) for release in spec.releases)
    return JobPlan(0.0, tuple(PlannedStep("size", (event,)) for event in sizes))


def largest_epsilon(spec: AnyJobSpec, num_sites: int, remaining_rdp: float, order: int) -> float:
    """Return the largest target ε with which a job of this shape fits into what is left of an account.

    Args:
        remaining_rdp: what is left of the account's budget, in RDP at its order.
        order: the account's α.

    Returns:
        The job's own target, or a multiple of 0.01 below it; 0.0 when none fits, or where there is no target to lower.
    """
    if isinstance(spec, PsiSpec) or spec.target_epsilon is None:
        return 0.0
    if plan_of(spec, num_sites).charge(order) <= remaining_rdp:
        return spec.target_epsilon
    if isinstance(spec, JobSpec):
        return largest_target_epsilon(spec, remaining_rdp, order, assumption_of(spec, num_sites))
    low, high = 0, round(spec.privacy.target_epsilon * 100)
    while high - low > 1:
        middle = (low + high) // 2
        privacy = spec.privacy.model_copy(update={"target_epsilon": middle / 100})
        fits = plan_of(spec.model_copy(update={"privacy": privacy}), num_sites).charge(order) <= remaining_rdp
        low, high = (middle, high) if fits else (low, middle)
    return low / 100 if low / 100 >= MIN_TARGET_EPSILON else 0.0
