"""How many sites a protection needs, from how many take part and how many are assumed to collude."""

from dataclasses import dataclass

from almoner.errors import ProtocolError
from almoner.schema.envelope import AnyJobSpec

MIN_SITES = 3
MAX_SITES = 50


@dataclass(frozen=True)
class Parties:
    """The sites of a job; one that is absent counts as dropped.

    *Guarantee*: with at most c colluding sites, any two sets of `threshold` sites have an honest site in common,
    and any set of `threshold` sites has two honest members.

    Args:
        num_sites: n, all sites of the job.
        num_colluding_sites: c, sites assumed to be under the server's control.

    Raises:
        ProtocolError: there is no threshold t ≤ n for these numbers.
    """

    num_sites: int
    num_colluding_sites: int

    def __post_init__(self) -> None:
        if not MIN_SITES <= self.num_sites <= MAX_SITES:
            raise ProtocolError(f"{self.num_sites} sites → this protection needs {MIN_SITES} to {MAX_SITES}")
        if self.num_colluding_sites < 1:
            raise ProtocolError(f"num_colluding_sites {self.num_colluding_sites} → at least 1")
        if self.threshold > self.num_sites:
            raise ProtocolError(
                f"{self.num_sites} sites cannot withstand {self.num_colluding_sites} colluding ones: it takes "
                f"{self.threshold} → more sites, or a smaller num_colluding_sites"
            )

    @property
    def threshold(self) -> int:
        """t: fewer sites open nothing. Two sets of t among n overlap in 2t - n > c; t ≥ c + 2 leaves two honest."""
        return max((self.num_sites + self.num_colluding_sites) // 2 + 1, self.num_colluding_sites + 2)


def quorum(spec: AnyJobSpec, num_sites: int) -> int:
    """Return how many sites must say the same before it counts: fewer could be those that collude.

    Args:
        num_sites: all sites of the job.

    Raises:
        ProtocolError: there are too few sites for those that may collude.
    """
    colluding = spec.num_colluding_sites
    return max(spec.min_sites, Parties(num_sites, colluding).threshold if colluding else 1)
