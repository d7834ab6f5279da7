"""A server that lies to the sites of a grouped job: about who is in which group, and about the groups' totals."""

import numpy as np
import pytest
from tests.grouped import grouped, groups_of
from tests.simulator import Simulation, names_of, snapshot

from almoner.errors import FederationError, ProtocolError
from almoner.secagg import group_site
from almoner.secagg.group_server import GroupedServer
from almoner.secagg.grouping import DrawnGroups
from almoner.secagg.total import read_total


@pytest.fixture(scope="module")
def started() -> Simulation:
    job = grouped(9, 3)
    job.set_up()
    return job


class SwappingServer(GroupedServer):
    """Leads the set-up over groups of its own choice."""

    def _in_step(self, sites, start):
        drawn = self._grouping.groups
        self.drawn = drawn
        swapped = list(self._terms.job.sites)
        chosen = tuple(tuple(swapped[place : place + 3]) for place in (0, 3, 6))
        if chosen == drawn:
            chosen = tuple(tuple(swapped[place::3]) for place in (0, 1, 2))
        self._grouping = DrawnGroups(self._terms, chosen)
        terms = [self._grouping.terms_of(place) for place in range(3)]
        self._servers = {place: self._servers[place].__class__(own, self._roster) for place, own in enumerate(terms)}
        return super()._in_step(sites, start)


@pytest.mark.threat("T-42")
def test_groups_that_the_server_chose_agree_on_no_keys():
    job = grouped(9, 3)
    job.server.__class__ = SwappingServer
    with pytest.raises(FederationError, match=r"the group of .* failed \(keys: 0 of at least 3"):
        job.set_up()
    assert job.server.drawn != job.server._grouping.groups


def told_totals(job: Simulation, change) -> dict[str, np.ndarray]:
    """Run a round, and show every site what `change` makes of its groups' totals."""
    total = job.round(1)
    grouping = job.server._grouping
    parts = {place: part for place, (_, part) in grouping.split("total", total.contributors, total.body).items()}
    opened = {}
    for site, side in job.sites.items():
        try:
            opened[site] = side.open(
                1, total.contributors, b"".join(change(grouping.place(site), dict(parts)).values())
            )
        except ProtocolError as error:
            job.errors[site] = error
    return opened


def swapped(place: int, parts: dict[int, bytes]) -> dict[int, bytes]:
    return parts | {0: parts[1], 1: parts[0]}


@pytest.mark.threat("T-37")
def test_the_total_of_another_group_is_not_taken_for_the_own_one(started: Simulation, monkeypatch):
    """The frames of two groups of three are alike; only tag and root tell."""
    job = snapshot(started)
    with monkeypatch.context() as patch:
        patch.setattr(
            group_site.SecaggSite,
            "open",
            lambda self, number, sites, total, beside: read_total(self._terms, len(sites), total),
        )
        assert set(told_totals(job, swapped)) == set(names_of(9))
    job = snapshot(started)
    first, second, third = groups_of(job)
    assert set(told_totals(job, swapped)) == set(third)
    for site in (*first, *second):
        assert "the total's root is not that" in str(job.errors[site])


@pytest.mark.threat("T-37")
def test_a_total_without_the_own_group_is_refused(started: Simulation):
    job = snapshot(started)
    total = job.round(1)
    grouping = job.server._grouping
    parts = grouping.split("total", total.contributors, total.body)
    for site, side in job.sites.items():
        place = grouping.place(site)
        others = tuple(name for name in total.contributors if name not in grouping.groups[place])
        body = b"".join(part for other, (_, part) in parts.items() if other != place)
        with pytest.raises(ProtocolError, match="a total without the group of"):
            side.open(1, others, body)


@pytest.mark.threat("T-37")
def test_a_group_counts_with_as_many_contributors_as_it_needs(started: Simulation):
    """The server passes off one site's name as a whole group."""
    job = snapshot(started)
    total = job.round(1)
    grouping = job.server._grouping
    site = grouping.groups[0][0]
    fewer = tuple(name for name in total.contributors if name not in grouping.groups[1][1:])
    with pytest.raises(ProtocolError, match="fewer than it needs"):
        job.sites[site].open(1, fewer, total.body)
