"""What a request for statistics leaves for its submitter: noised integers, and what is needed to read them."""

from collections.abc import Collection

import numpy as np
from pydantic import BaseModel, ConfigDict

from almoner.errors import FederationError
from almoner.release.answers import interpret
from almoner.release.combined import added_up, opened
from almoner.release.laws import local_noise
from almoner.schema.answer import Answer
from almoner.schema.statistics import StatisticsSpec

ALL_SITES = "all sites"


class StatisticsResult(BaseModel):
    """The noised integers of a request.

    Args:
        sites: all sites of the job.
        by_site: each site's own, under the local trust model.
        total: that of `contributors`, under the distributed one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    spec: StatisticsSpec
    sites: tuple[str, ...]
    by_site: dict[str, tuple[int, ...]] = {}
    total: tuple[int, ...] = ()
    contributors: tuple[str, ...] = ()

    def answers(self) -> dict[str, tuple[Answer, ...]]:
        """Return every number with its interval: of each site that told its own, and of those together.

        The last key says which sites the sum is of: `ALL_SITES`, or how many of them, and without whom.

        Raises:
            FederationError: the result holds another number of integers than the request asks for.
        """
        wanted, cells = self.spec.num_cells, {site: np.array(own, np.int64) for site, own in self.by_site.items()}
        if any(own.size != wanted for own in cells.values()) or (not cells and len(self.total) != wanted):
            raise FederationError(f"result of {self.spec.name}: not {wanted} integers → download it again")
        if not cells:
            total = np.array(self.total, np.int64)
            return {
                self._together(self.contributors): opened(self.spec, total, len(self.sites), len(self.contributors))
            }
        noise = local_noise(self.spec)
        alone = {site: interpret(self.spec, own, noise) for site, own in cells.items()}
        return {**alone, self._together(cells): added_up(self.spec, cells)}

    def _together(self, present: Collection[str]) -> str:
        """Say which sites are in a sum."""
        missing = [site for site in self.sites if site not in present]
        if not missing:
            return ALL_SITES
        return f"{len(self.sites) - len(missing)} of {len(self.sites)} sites, without {', '.join(missing)}"


def read_cells(body: bytes) -> tuple[int, ...]:
    """Return the integers of a reply."""
    return tuple(np.frombuffer(body, dtype="<i8").tolist())
