"""What an audit is about: a short run of a job's mechanism, with an ε that canaries can say something about."""

import math
from dataclasses import dataclass

from almoner.errors import PolicyViolation
from almoner.privacy.calibration import calibrate_noise
from almoner.privacy.distributed_training import shares_that_count
from almoner.privacy.pld import pld_epsilon
from almoner.schema.job import JobSpec, Mechanism
from almoner.schema.receipt import SampledGaussian

EPSILONS = (1.0, 4.0)
"""Runs of a smaller or larger ε are too quiet, or need too many canaries."""

MAX_STEPS = 40
MAX_SAMPLING_PROB = 0.25
"""So that there is a sampling rate four times as large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRun:
    """The public numbers of the run that is audited; what it claims is `epsilon` at `delta` for one unit.

    Args:
        mechanism: `dp_sgd` or `distributed_dp`.
        num_shares: sites whose noise is σ together: 1 where each site's own is.
        noise_multiplier: σ over the sensitivity.
        sampling_prob: q.
        rounds: of `local_steps` each.
        update_bits: of an integer that is sent.
    """

    mechanism: Mechanism
    num_shares: int
    noise_multiplier: float
    sampling_prob: float
    rounds: int
    local_steps: int
    learning_rate: float
    max_grad_norm: float
    proximal: float
    update_bits: int
    delta: float

    @property
    def num_steps(self) -> int:
        """T, the noisy steps of the whole run."""
        return self.rounds * self.local_steps

    @property
    def code_path(self) -> str:
        """What is run, of the shipped code."""
        if self.mechanism == "dp_sgd":
            return "training.trainers.make_trainer -> DpSgdTrainer.run_round -> Descent.apply"
        shares = f"the sum of {self.num_shares} sites' shares"
        return f"training.trainers.make_trainer -> DistributedTrainer.run_round, {shares} -> Descent.apply"

    @property
    def deviation(self) -> float:
        """Standard deviation of a round's noise in one coordinate, in units of C; no canary's gradient answers it."""
        kept = 1.0 - self.learning_rate * self.proximal
        return self.noise_multiplier * math.sqrt(math.fsum(kept ** (2 * step) for step in range(self.local_steps)))

    @property
    def epsilon(self) -> float:
        """The claim."""
        return self.epsilon_at(self.noise_multiplier)

    def event_at(self, noise_multiplier: float) -> SampledGaussian:
        """Return what the run would cost with another noise."""
        return SampledGaussian(
            kind="sampled_gaussian",
            noise_multiplier=noise_multiplier,
            sampling_prob=self.sampling_prob,
            count=self.num_steps,
        )

    def epsilon_at(self, noise_multiplier: float) -> float:
        """Return what the run could claim with another noise."""
        return pld_epsilon((self.event_at(noise_multiplier),), self.delta)


def audited_run(spec: JobSpec, num_sites: int) -> AuditedRun:
    """Return the short run that stands for a job: its steps, δ, C, learning rate and grid; ε from 1 to 4, q up to 1/4.

    Distributed noise is audited as the Gaussian that the fewest shares make which the job counts on. For it the job is
    charged more than this Gaussian's ε, by Rényi orders alone; so the audit holds it to more than it claims.

    Args:
        spec: the job.
        num_sites: all sites of the job.

    Raises:
        PolicyViolation: the job claims nothing, or has too few sites for those that may collude.
        DocumentError: the noise cannot be calibrated.
    """
    epsilon, delta = spec.target_epsilon, spec.target_delta
    mechanism = spec.privacy.mechanism
    if mechanism == "none" or not spec.num_steps or epsilon is None or delta is None:
        raise PolicyViolation(f"job {spec.name}: claims no ε of training → audit a training job with mechanism dp_sgd")
    steps = spec.training.local_steps
    rounds = min(spec.rounds, max(1, MAX_STEPS // steps))
    prob = min(spec.privacy.sampling_prob, MAX_SAMPLING_PROB)
    return AuditedRun(
        mechanism=mechanism,
        num_shares=shares_that_count(num_sites, spec.num_colluding_sites) if mechanism == "distributed_dp" else 1,
        noise_multiplier=calibrate_noise(min(max(epsilon, EPSILONS[0]), EPSILONS[1]), delta, prob, rounds * steps),
        sampling_prob=prob,
        rounds=rounds,
        local_steps=steps,
        learning_rate=spec.training.learning_rate,
        max_grad_norm=spec.privacy.max_grad_norm,
        proximal=spec.training.proximal,
        update_bits=spec.training.update_bits,
        delta=delta,
    )


def verify_enough(run: AuditedRun, num_canaries: int) -> None:
    """Refuse an audit that could not see a violation.

    Raises:
        PolicyViolation: there are fewer than 3·e^ε canaries, or fewer than 100.
    """
    least = max(100, math.ceil(3 * math.exp(run.epsilon)))
    if num_canaries < least:
        raise PolicyViolation(f"audit: {num_canaries} canaries for ε={run.epsilon:.2f} → take {least} or more")
