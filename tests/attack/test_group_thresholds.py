"""All colluding sites in one group: a threshold that takes them to be spread over the groups gives one update away."""

import numpy as np
import pytest
from tests.grouped import grouped_terms
from tests.simulator import Simulation, losing

from almoner.errors import FederationError
from almoner.protection.groups import GroupLayout
from almoner.protection.scheme import IntVector

NUM_SITES, NUM_GROUPS, COLLUDING = 12, 3, 2
LAYOUT = GroupLayout(NUM_SITES, NUM_GROUPS, COLLUDING, 1, "median")
VICTIM, COLLUDERS = "site-1", ("site-3", "site-4")


def learned(colluding: int) -> IntVector:
    """Keep the other honest site of a group out of a round, and take the colluding sites' values off its sum."""
    group = Simulation.of("secagg", LAYOUT.sizes[0], colluding=colluding, min_sites=1)
    group.shown = losing((1, "train", "site-2"))
    group.set_up()
    group.round(1)
    total = next(iter(group.open_all(1).values()))
    return total - group.sum_of(1, COLLUDERS)


@pytest.mark.threat("T-46")
def test_all_colluding_sites_may_sit_in_one_group():
    spread = -(-COLLUDING // NUM_GROUPS)
    alone = Simulation.of("secagg", LAYOUT.sizes[0]).values(1, VICTIM)
    assert np.array_equal(learned(spread), alone)
    terms = grouped_terms(NUM_SITES, NUM_GROUPS, COLLUDING)
    for start in range(0, NUM_SITES, LAYOUT.sizes[0]):
        group = terms.of_group(terms.job.sites[start : start + LAYOUT.sizes[0]])
        with pytest.raises(FederationError):
            learned(group.num_colluding_sites)
    assert {parties.num_colluding_sites for parties in LAYOUT.parties} == {COLLUDING}
