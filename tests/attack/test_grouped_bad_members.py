"""A member of a group that breaks the protocol: words that are no values, or a tag that is not theirs."""

from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
from tests.grouped import grouped, groups_of
from tests.simulator import Simulation, names_of, snapshot

from almoner.errors import FederationError
from almoner.protection.scheme import RoundTotal
from almoner.secagg import contribution
from almoner.secagg.group_means import GroupSum
from almoner.secagg.group_server import GroupedServer
from almoner.secagg.packing import Packing


@pytest.fixture(scope="module")
def started() -> Simulation:
    job = grouped(15, 5)
    job.set_up()
    return job


def false_words() -> object:
    pack = Packing.pack

    def packed(self, values, out=None):
        words = pack(self, values, out)
        words += words.dtype.type(1 << 20 | 1 << 41 | 1 << 62)
        return words

    return mock.patch.object(Packing, "pack", packed)


def bad_tag() -> object:
    encode = contribution.encode_tag
    return mock.patch.object(contribution, "encode_tag", lambda tag: encode(tag ^ 1))


def breaking(job: Simulation, how: Callable[[], object]) -> tuple[str, ...]:
    """Have one member do it in round 1; return its group."""
    group = groups_of(job)[1]
    side = job.sites[group[0]]
    honest = side.protect

    def protect(number, values):
        if number > 1:
            return honest(number, values)
        with how():
            return honest(number, values)

    side.protect = protect
    return group


def two_rounds(job: Simulation) -> None:
    for number in (1, 2):
        job.round(number)


def goes_on(job: Simulation, group: tuple[str, ...]) -> None:
    """Check that all sites but the group's open rounds 1 and 2 alike."""
    rest = tuple(site for site in names_of(15) if site not in group)
    assert job.round(2).contributors == rest
    for number in (1, 2):
        opened = job.open_all(number)
        assert set(opened) == set(rest)
        assert len({sums.tobytes() for sums in opened.values()}) == 1


@pytest.mark.threat("T-44")
def test_false_words_of_one_member_fail_its_group_alone(started: Simulation, monkeypatch, caplog):
    job = snapshot(started)
    breaking(job, false_words)

    def unread(self, server, number, sites):
        total: RoundTotal = yield from server.round(number, sites, self._told)
        return total, GroupSum(total.contributors, np.zeros(job.dimension, dtype=np.int64))

    with monkeypatch.context() as patch:
        patch.setattr(GroupedServer, "_summed", unread)
        job.round(1)
    assert job.open_all(1) == {}
    assert set(job.errors) == set(names_of(15))
    job = snapshot(started)
    group = breaking(job, false_words)
    total = job.round(1)
    assert not set(total.contributors) & set(group)
    assert f"the group of {', '.join(group)} failed: open: the total holds no sum" in caplog.text
    goes_on(job, group)
    assert job.errors == {}


@pytest.mark.threat("T-44")
def test_a_bad_tag_of_one_member_fails_its_group_alone(started: Simulation):
    """Nobody can tell it from a server that lies: the honest members leave, and so their group is out."""
    job = snapshot(started)
    group = breaking(job, bad_tag)
    assert set(job.round(1).contributors) >= set(group)
    goes_on(job, group)
    for site in group:
        assert "the total's tag does not verify" in str(job.errors[site])


@pytest.mark.threat("T-44")
@pytest.mark.parametrize("how", [false_words, bad_tag])
def test_where_no_failed_group_is_borne_the_job_ends_with_the_groups_name(how: Callable[[], object]):
    job = grouped(9, 3)
    job.set_up()
    group = breaking(job, how)
    with pytest.raises(FederationError, match=f"the group of {', '.join(group)} failed .* the layout bears 0"):
        two_rounds(job)
