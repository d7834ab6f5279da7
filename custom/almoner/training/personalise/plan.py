"""The public numbers that all methods share."""

from dataclasses import dataclass

from almoner.training.grid import DEFAULT_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalPlan:
    """The public numbers that all methods share, named as in a JobSpec.

    Args:
        noise_multiplier: σ of each noised step, at every site.
        update_limit: the largest integer of an update.
    """

    rounds: int
    local_steps: int
    learning_rate: float
    max_grad_norm: float
    sampling_prob: float
    noise_multiplier: float
    server_momentum: float = 0.0
    proximal: float = 0.0
    update_limit: int = DEFAULT_LIMIT

    @property
    def num_steps(self) -> int:
        """Noised steps of a site in the job as it is, T."""
        return self.rounds * self.local_steps
