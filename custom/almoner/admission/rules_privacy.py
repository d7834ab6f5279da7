"""Rules about one job's privacy: unit, δ, ε, noise, sampling, length, company, protection."""

from almoner.admission.rule import UNSET, Question, Verdict, broken, holds, listed, of_training
from almoner.errors import ProtocolError
from almoner.protection.parties import Parties
from almoner.schema.decision import show_epsilon
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.job import JobSpec
from almoner.schema.psi import PsiSpec
from almoner.schema.statistics import StatisticsSpec


def protected_by(spec: AnyJobSpec) -> str:
    """Return what a job calls its protection."""
    if isinstance(spec, JobSpec):
        return spec.aggregation.kind
    return f"trust {spec.trust.kind}" if isinstance(spec, StatisticsSpec) else spec.kind


def account_unit(asked: Question) -> Verdict:
    """The unit must be the account's."""
    unit, has = asked.spec.privacy_unit, asked.account.privacy_unit
    found = f"unit is {unit}, the account's is {has}"
    return holds(found) if unit == has else broken(found, "set the job's unit")


def account_delta(asked: Question) -> Verdict:
    """The job's δ may not be above the account's."""
    if isinstance(asked.spec, JobSpec) and asked.spec.target_epsilon is None:
        return Verdict("unset", "training without privacy states no δ")
    delta, has = asked.spec.target_delta, asked.account.delta
    if delta > has:
        return broken(f"δ={delta:g} is above the account's {has:g}", "lower privacy.target_delta")
    return holds(f"δ={delta:g}, the account's is {has:g}")


def epsilon_per_job(asked: Question) -> Verdict:
    """One job's ε, training and releases together, may not be too large."""
    epsilon, most = asked.cost.job_epsilon, asked.site.policy.limits.epsilon_per_job
    if epsilon > most:
        spec = asked.spec
        has_target = isinstance(spec, StatisticsSpec) or (isinstance(spec, JobSpec) and spec.rounds)
        remedy = "lower target_epsilon" if has_target else "lower the release's epsilon"
        return broken(f"the job's ε={show_epsilon(epsilon)} is above {show_epsilon(most)}", remedy)
    return holds(f"the job's ε={show_epsilon(epsilon)}, at most {show_epsilon(most)}")


@of_training
def min_noise(asked: Question, spec: JobSpec) -> Verdict:
    """Training may not be too quiet."""
    noise, least = asked.cost.noise_multiplier, asked.site.policy.limits.min_noise_multiplier
    if not spec.rounds:
        return Verdict("unset", "the job does not train")
    if spec.target_epsilon is None:
        return Verdict("unset", "training without privacy has no noise")
    if noise < least:
        return broken(
            f"noise multiplier {noise:.3f} is below {least:.3f}", "lower target_epsilon, or ask for more rounds"
        )
    return holds(f"noise multiplier {noise:.3f}, at least {least:.3f}")


@of_training
def sampling(asked: Question, spec: JobSpec) -> Verdict:
    """A step may not take too many units."""
    if spec.target_epsilon is None:
        return Verdict("unset", "training without privacy hides nobody in a sample")
    prob, most = spec.privacy.sampling_prob, asked.site.policy.limits.max_sampling_prob
    if prob > most:
        return broken(f"sampling_prob {prob:g} is above {most:g}", "lower privacy.sampling_prob")
    return holds(f"sampling_prob {prob:g}, at most {most:g}")


@of_training
def max_rounds(asked: Question, spec: JobSpec) -> Verdict:
    """A job may not be too long."""
    rounds, most = spec.rounds, asked.site.policy.limits.max_rounds
    if rounds > most:
        return broken(f"{rounds} rounds are more than {most}", "lower rounds")
    return holds(f"{rounds} rounds, at most {most}")


@of_training
def max_steps(asked: Question, spec: JobSpec) -> Verdict:
    """A job may not take too many steps, however few its rounds are."""
    steps, most = spec.num_steps, asked.site.policy.limits.max_steps
    if most is None:
        return UNSET
    if steps > most:
        return broken(f"{steps} steps are more than {most}", "lower rounds or training.local_steps")
    return holds(f"{steps} steps, at most {most}")


def min_sites(asked: Question) -> Verdict:
    """A round, or a sum of statistics, needs enough contributors."""
    if isinstance(asked.spec, PsiSpec):
        return Verdict("unset", "nothing is added up")
    sites, least = asked.spec.min_sites, asked.site.policy.require.min_sites
    if sites < least:
        return broken(f"min_sites {sites} is below {least}", f"set min_sites to at least {least}")
    return holds(f"min_sites {sites}, at least {least}")


@of_training
def protection(asked: Question, spec: JobSpec) -> Verdict:
    """Updates must be protected in a way that the policy accepts."""
    kind, accepted = spec.aggregation.kind, asked.site.policy.require.protection
    if kind in accepted:
        return holds(f"{kind} is in {listed(accepted)}")
    return broken(f"{kind} is not in {listed(accepted)}", "set aggregation.kind")


def parties(asked: Question) -> Verdict:
    """The job must have enough sites for those that may collude: two honest ones in every sum, whoever drops out."""
    spec, sites = asked.spec, len(asked.request.envelope.sites)
    colluding = spec.num_colluding_sites
    if isinstance(spec, PsiSpec):
        return Verdict("unset", "nothing is added up")
    if not colluding:
        return Verdict("unset", "the server sees every update")
    if isinstance(spec, JobSpec) and spec.grouping:
        return Verdict("unset", "each group has a threshold of its own")
    try:
        threshold = Parties(sites, colluding).threshold
    except ProtocolError as error:
        finding, _, remedy = str(error).partition(" → ")
        return broken(finding, remedy)
    found = f"{sites} sites, {colluding} may collude: the threshold is {threshold}"
    return holds(f"{found}, min_sites {spec.min_sites}; {max(threshold, spec.min_sites)} must set the job up")


def colluding(asked: Question) -> Verdict:
    """The protection must withstand as many sites at the server's side as the policy demands."""
    if isinstance(asked.spec, PsiSpec):
        return Verdict("unset", "nothing is added up")
    colluding, least = asked.spec.num_colluding_sites, asked.site.policy.require.min_colluding_sites
    if least is None:
        return UNSET
    found = f"{protected_by(asked.spec)} withstands {colluding} colluding sites, at least {least} are demanded"
    remedy = "raise num_colluding_sites" if colluding else "choose a protection that withstands any"
    return holds(found) if colluding >= least else broken(found, remedy)


def trust_model(asked: Question) -> Verdict:
    """The job may not ask the site to trust the server more than the policy does."""
    model = asked.spec.trust_model(asked.site.keys_at_site)
    accepted = asked.site.policy.require.trust_models
    if accepted is None:
        return UNSET
    found = f"{protected_by(asked.spec)} takes a {model}; accepted are {listed(accepted)}"
    return holds(found) if model in accepted else broken(found, "set aggregation.kind")
