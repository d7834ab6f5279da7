"""A job's protection without a federation: sites and server in this process, each call measured, no network.

What a site does in a round is split by call: `quantise` (floats to the grid), `begin`, `protect`, `acknowledge`,
`reveal` (with the keys of the next round in it), `open` (check and unpack the sum). The server's part is all of its
side of the conversation.
"""

from collections.abc import Mapping
from functools import cache
from typing import Literal, cast

import numpy as np
from tests.benchmarks.protected_models import Update

from almoner.encryption.bfv_server import BfvServer
from almoner.encryption.bfv_site import BfvSite
from almoner.experiments.pipeline.driven import Costs, DrivenJob, Measure, processor_seconds
from almoner.experiments.pipeline.trial_consortium import TrialConsortium
from almoner.protection.scheme import VALUE_BOUND, IntVector
from almoner.protection.set_up import JobTerms
from almoner.secagg.quantise import quantise
from almoner.secagg.server import SecaggServer
from almoner.secagg.site import SecaggSite
from almoner.training.grid import UpdateGrid

Scheme = Literal["he", "secagg"]

STEP = 2.0**-17
"""Updates have a standard deviation of 0.05: five of them to the end of the grid, at ±0.25."""


@cache
def _consortium(names: tuple[str, ...]) -> TrialConsortium:
    """Make the sites' certificates."""
    return TrialConsortium.of(dict.fromkeys(names, 100), "some-data")


class ProtectedJob:
    """One job's sites and server, their keys agreed on.

    Args:
        scheme: what protects it.
        num_sites: n.
        dimension: d.
        measure: runs a call and returns its result and what it cost; by default processor seconds.
    """

    def __init__(self, scheme: Scheme, num_sites: int, dimension: int, measure: Measure = processor_seconds) -> None:
        self.names = tuple(f"site-{number:02d}" for number in range(1, num_sites + 1))
        self._measure, self._to_grid = measure, to_grid if scheme == "he" else to_grid_at_random
        terms = JobTerms(
            envelope_digest="ab" * 32,
            job_id="6a1b1111-0000-4000-8000-000000000000",
            scheme=scheme,
            sites=self.names,
            declared=(100,) * num_sites,
            num_colluding_sites=1,
            min_sites=3,
            dimension=dimension,
            limit=VALUE_BOUND,
            step=STEP,
            nonce="0123456789abcdef" * 2,
        )
        server, site = {"he": (BfvServer, BfvSite), "secagg": (SecaggServer, SecaggSite)}[scheme]
        made = _consortium(self.names)
        sides = {name: site(terms, made.roster, made.root_pem, name, made.private_keys[name]) for name in self.names}
        self._job = DrivenJob(server(terms, made.roster), sides, measure)
        self.sites, self.set_up_costs = self._job.sites, self._job.set_up_costs
        self.message_bytes = sides[self.names[0]].answer_bytes("train")

    def round(self, updates: Mapping[str, Update], silent: tuple[str, ...] = ()) -> Costs:
        """Run one round and check its sum.

        Args:
            updates: of every site.
            silent: sites whose message does not arrive; they answer what comes after.

        Raises:
            ProtocolError: the sites opened different sums.
            RuntimeError: the sum is not that of the others' values.
        """
        measured = {
            name: self._measure(lambda update=update: self._to_grid(update)) for name, update in updates.items()
        }
        values = {name: found for name, (found, _) in measured.items()}
        opened, _, costs = self._job.round(values, silent)
        costs.sites["quantise"] = [cost for name, (_, cost) in measured.items() if name not in silent]
        expected = np.zeros(opened.size, dtype=np.int64)
        for name in set(self.names) - set(silent):
            np.add(expected, np.clip(values[name], -VALUE_BOUND, VALUE_BOUND), out=expected)
        if not np.array_equal(opened, expected):
            raise RuntimeError(f"round {self._job.number}: the sum is another one")
        return costs


def to_grid(update: Update) -> IntVector:
    """Return an update's nearest grid points, as the trainer rounds."""
    return UpdateGrid(STEP).to_integers(update)


def to_grid_at_random(update: Update) -> IntVector:
    """Return grid points next to an update's, right on average, as Flower rounds: int32, as secagg takes it too."""
    return cast(IntVector, quantise(update, STEP, VALUE_BOUND))
