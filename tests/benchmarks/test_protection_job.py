"""The benchmarks' own jobs run, and what they count is what happened."""

import numpy as np
import pytest
from tests.benchmarks.protected_models import make_update
from tests.benchmarks.protection_job import STEP, ProtectedJob, Scheme, to_grid, to_grid_at_random

from almoner.errors import ProtocolError

CALLS = {"he": set(), "secagg": {"reveal"}}


@pytest.mark.parametrize("scheme", ["he", "secagg"])
def test_rounds_are_checked_and_counted_for_each_site(scheme: Scheme) -> None:
    job = ProtectedJob(scheme, 5, 100)
    updates = {name: make_update(100, seed) for seed, name in enumerate(job.names)}
    job.round(updates)
    costs = job.round(updates, silent=job.names[:1])
    calls = {"quantise", "begin", "protect", "acknowledge", "open"} | CALLS[scheme]
    assert set(costs.sites) == calls
    assert {call: len(spent) for call, spent in costs.sites.items()} == {
        call: 4 if call in ("quantise", "begin", "protect") else 5 for call in calls
    }
    assert len(job.set_up_costs.sites["keys"]) == 5


def test_a_wrong_sum_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    job = ProtectedJob("he", 4, 10)
    updates = {name: make_update(10, seed) for seed, name in enumerate(job.names)}
    site = job.sites[job.names[2]]
    monkeypatch.setattr(site, "open", lambda number, contributors, total: np.zeros(10, dtype=np.int64))
    with pytest.raises(ProtocolError, match="site-03 opened another sum"):
        job.round(updates)


def test_updates_fit_the_grid() -> None:
    update = make_update(10_000, 1)
    assert np.abs(to_grid(update) * STEP - update).max() <= STEP / 2
    assert np.abs(to_grid_at_random(update) * STEP - update).max() <= STEP
