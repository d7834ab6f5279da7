"""What a job would cost at a site, in the three figures that are never mixed."""

from dataclasses import dataclass

from almoner.privacy.ledger import AccountState
from almoner.privacy.plan import JobPlan
from almoner.privacy.plans import largest_epsilon
from almoner.privacy.pld import pld_epsilon
from almoner.schema.envelope import AnyJobSpec


@dataclass(frozen=True)
class JobCost:
    """The cost of one job at one account.

    Args:
        noise_multiplier: σ over the sensitivity, calibrated to the target ε of training; 0 without one.
        job_epsilon: of the whole job alone, training and releases, at the job's δ; by PLD where its noise has one.
        charge: RDP at the account's order; the only figure that is added up.
        epsilon_after: the account's ε if the job is admitted, by the filter's conversion.
        largest_epsilon: the largest target ε of this shape that still fits, the job's own if it does; 0 if none does.
    """

    noise_multiplier: float
    job_epsilon: float
    charge: float
    epsilon_after: float
    largest_epsilon: float


def job_cost(spec: AnyJobSpec, plan: JobPlan, account: AccountState, num_sites: int) -> JobCost:
    """Return what a planned job costs at an account as it stands.

    Args:
        num_sites: all sites of the job; see `plan_of`.
    """
    book = account.filter
    charge = plan.charge(book.order)
    left = book.budget - account.rdp_spent
    return JobCost(
        noise_multiplier=plan.noise_multiplier,
        job_epsilon=pld_epsilon(plan.all_events, spec.target_delta) if plan.all_events else 0.0,
        charge=charge,
        epsilon_after=book.epsilon_of(account.rdp_spent + charge),
        largest_epsilon=largest_epsilon(spec, num_sites, left, book.order),
    )
