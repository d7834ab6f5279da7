"""One comparison: a job's sites and numbers, and how a candidate is trained and judged on them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from almoner.errors import PolicyViolation
from almoner.experiments.personalise.candidates import Candidate
from almoner.experiments.personalise.holdout import held_out
from almoner.experiments.public import PublicSite
from almoner.privacy.calibration import calibrate_noise
from almoner.schema.job import JobSpec
from almoner.training.flat import unflatten
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.personalise.method import train_models
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.silos import Silo
from almoner.workloads.base import Workload
from almoner.workloads.registry import workload


@dataclass(frozen=True, slots=True)
class Trial:
    """One training run.

    Args:
        candidate: what is trained.
        seed: of its noise and samples, and of the split where it is not judged on test records.
        is_final: whether it is judged on test records, after training on all training records.
    """

    candidate: Candidate
    seed: int
    is_final: bool


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """What all trials share.

    Args:
        task: the workload.
        sites: public data by name.
        plan: the job's public numbers; σ is that of the job as it is.
        target_epsilon, target_delta: what every method costs a site in total.
    """

    task: Workload
    sites: Mapping[str, PublicSite]
    plan: PersonalPlan
    target_epsilon: float
    target_delta: float

    def plan_of(self, candidate: Candidate) -> PersonalPlan:
        """Return a candidate's numbers: σ such that all its steps together cost the target."""
        steps = candidate.method.num_steps(self.plan)
        sigma = calibrate_noise(self.target_epsilon, self.target_delta, self.plan.sampling_prob, steps)
        return replace(candidate.plan(self.plan), noise_multiplier=sigma)

    def run(self, trial: Trial) -> dict[str, float]:
        """Train, and return the workload's main figure of each site's model on the site's own records."""
        sites = self.sites if trial.is_final else held_out(self.sites, trial.seed)
        silos = {name: Silo(site.data.train, site.config.nominal_records) for name, site in sites.items()}
        model, rng = self.task.build_model(), UnsafeSeededRandom(trial.seed)
        method, plan = trial.candidate.method, self.plan_of(trial.candidate)
        found = {}
        for name, weights in train_models(method, model, self.task.loss, silos, plan, rng=rng).items():
            unflatten(model, weights)
            found[name] = next(iter(self.task.figures(model, sites[name].data.test).values()))
        return found

    @property
    def test_records(self) -> dict[str, int]:
        """How many test records each site has."""
        return {name: len(site.data.test.unit) for name, site in self.sites.items()}


def study_of(spec: JobSpec, sites: Mapping[str, PublicSite]) -> Study:
    """Return the study of a job.

    Args:
        spec: the job. Its updates are added up, as every kind of aggregation does but a robust rule.
        sites: its public data.

    Raises:
        PolicyViolation: when the job's mechanism does not noise each site's own update.
        DocumentError: when the noise cannot be calibrated.
    """
    privacy, training = spec.privacy, spec.training
    if privacy.mechanism != "dp_sgd":
        raise PolicyViolation(
            f"{spec.name}: personal models need noise that a site's own update has by itself → use mechanism dp_sgd"
        )
    sigma = calibrate_noise(privacy.target_epsilon, privacy.target_delta, privacy.sampling_prob, spec.num_steps)
    plan = PersonalPlan(
        rounds=spec.rounds,
        local_steps=training.local_steps,
        learning_rate=training.learning_rate,
        max_grad_norm=privacy.max_grad_norm,
        sampling_prob=privacy.sampling_prob,
        noise_multiplier=sigma,
        server_momentum=training.server_momentum,
        proximal=training.proximal,
        update_limit=training.update_limit,
    )
    return Study(workload(spec.workload), sites, plan, privacy.target_epsilon, privacy.target_delta)
