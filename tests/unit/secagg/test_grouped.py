"""Secret sharing in groups, honest parties: the step, failed groups, dropouts, and what outlives a job."""

import numpy as np
from tests.grouped import expected_total, grouped, groups_of
from tests.simulator import names_of


def test_every_site_takes_the_median_of_the_groups_means():
    job = grouped(9, 3)
    assert job.set_up() == names_of(9)
    groups = groups_of(job)
    assert sorted(site for group in groups for site in group) == sorted(names_of(9))
    for number in (1, 2):
        total = job.round(number)
        assert total.contributors == names_of(9)
        opened = job.open_all(number)
        assert set(opened) == set(names_of(9))
        for sums in opened.values():
            assert sums.tobytes() == opened["site-1"].tobytes()
            assert np.abs(sums - expected_total(job, number, groups)).max() <= 1
    assert job.errors == {}
