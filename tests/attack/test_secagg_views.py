"""Model inconsistency: one site of a sum is told the true total, the others a forged one after which they hardly learn.

Then their sum tells of that one site. Here a site that was told a forged total contributes zeros.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from tests.attack.test_secagg_forged_sums import forged, parts
from tests.grouped import grouped, groups_of
from tests.simulator import Simulation, running

from almoner.errors import FederationError
from almoner.protection.scheme import IntVector
from almoner.secagg import server as server_module
from almoner.secagg import site as site_module
from almoner.secagg.session import Session
from almoner.secagg.tag import RoundTag
from almoner.secagg.total import read_total


def without_views(patch: pytest.MonkeyPatch) -> None:
    """Have every ring made as if nothing was told before."""
    for module in (server_module, site_module):
        patch.setattr(module, "absorb", lambda view, *more: b"")


@contextmanager
def a_server_that_takes_everything() -> Iterator[None]:
    """Have the server look at no signature of a contribution; the sites do."""
    read = server_module.read_contribution

    def unchecked(*arguments):
        with mock.patch.object(Session, "verify", return_value=None):
            return read(*arguments)

    with mock.patch.object(server_module, "read_contribution", unchecked):
        yield


def second_round(job: Simulation, victim: str, lied_to: tuple[str, ...], lie: bytes) -> bytes:
    """Tell some sites the lie, and all others the true total; return the next round's total."""
    true, honest = job.totals[1], job.values
    for site, side in job.sites.items():
        job.opened[site] = {1: side.open(1, true.contributors, lie if site in lied_to else true.body)}
    model = job.opened[victim][1]

    def values(number: int, site: str) -> IntVector:
        return honest(number, site) if np.array_equal(job.opened[site][1], model) else np.zeros(job.dimension, np.int64)

    job.values = values
    with a_server_that_takes_everything():
        return job.round(2).body


def in_groups() -> bool:
    """Lie to a site's group about another group's sum, which no site can check."""
    job = grouped(9, 3)
    job.set_up()
    true = job.round(1)
    (_, first), (_, second), _ = job.server._grouping.split("total", true.contributors, true.body).values()
    victim, *others = groups_of(job)[0]
    total = second_round(job, victim, tuple(others), first + second + second)
    own = total[: len(first)]
    return np.array_equal(read_total(job.server._grouping.terms_of(0), 3, own), job.values(2, victim))


def with_the_tag_key() -> bool:
    """Lie to all but one about the sum, with the key to its tag, which a colluding site has lent."""
    job = running(5)
    true = job.round(1)
    agreed, session = job.sites["site-5"]._job
    words, _, root = parts(job, true.body)
    words, sums = words.copy(), job.sum_of(1, true.contributors)
    words[0] += words.dtype.type(1)
    sums[0] += 1
    tag = RoundTag(agreed.tag_key, agreed.transcript, 1)
    check = tag.running(5 * session.terms.limit)
    check.add(sums)
    lie = forged(job, 5, words, check.value() + sum(tag.pad(site) for site in true.contributors), root)
    total = second_round(job, "site-1", true.contributors[1:], lie)
    return np.array_equal(read_total(session.terms, 5, total), job.values(2, "site-1"))


@pytest.mark.threat("T-47")
@pytest.mark.parametrize("attack", [in_groups, with_the_tag_key])
def test_sites_with_different_models_are_in_no_sum_together(monkeypatch, attack):
    with monkeypatch.context() as patch:
        without_views(patch)
        assert attack()
    with pytest.raises(FederationError, match=r"0 of at least 3 sites acknowledged|acknowledge: 0 of 4 sites answered"):
        attack()
