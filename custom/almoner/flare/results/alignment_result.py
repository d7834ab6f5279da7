"""What an alignment leaves for its submitter: that it was done, and the noised size if the job has that release."""

from pydantic import BaseModel, ConfigDict

from almoner.release.laplace_law import quantile

CONFIDENCE = 0.95


class AlignmentResult(BaseModel):
    """The end of an alignment; which records are in common stays at the sites.

    Args:
        noisy_size: the leader's number of identifiers in common, with integer Laplace noise; may be negative.
        epsilon: of that release, charged at every site; None without one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    sites: tuple[str, ...]
    leader: str
    noisy_size: int | None = None
    epsilon: float | None = None

    def sentence(self) -> str:
        """Return the result in words; the interval is rounded outwards, and covers the noise alone."""
        done = f"aligned {', '.join(self.sites)}; each keeps its own records in common"
        if self.noisy_size is None or self.epsilon is None:
            return f"{done}; no number was released"
        reach = quantile(1 - CONFIDENCE, self.epsilon, 1)
        low, high = max(0, self.noisy_size - reach), max(0, self.noisy_size + reach)
        return (
            f"{done}; about {max(0, self.noisy_size)} identifiers in common, {low} to {high} "
            f"(confidence {CONFIDENCE * 100:g} %, integer Laplace noise, ε={self.epsilon:g} at each site)"
        )
