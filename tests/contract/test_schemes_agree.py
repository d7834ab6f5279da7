"""Every scheme opens the same sums as plain addition, over the same network."""

import random

import numpy as np
import pytest
from tests.simulator import Simulation

pytest.importorskip("almoner.protection.plain")
pytest.importorskip("almoner.encryption.bfv_site")


@pytest.mark.parametrize("scheme", ["plain", "he", "secagg"])
def test_sums_are_those_of_the_values_with_losses_repeats_and_any_order(scheme):
    job = Simulation.of(scheme, 5, dimension=10_000)
    job.repeat, job.order = True, random.Random(1)
    job.set_up()
    for number in (1, 2, 3):
        lost = f"site-{number}"
        job.heard = lambda q, site, said, lost=lost, n=number: (
            None if (q.task, q.number, site) == ("train", n, lost) else said
        )
        if number == 3:
            job.heard = lambda q, site, said: said
        total = job.round(number)
        opened = job.open_all(number)
        assert len(opened) >= 4 - (scheme != "secagg")
        assert all(np.array_equal(sums, job.sum_of(number, total.contributors)) for sums in opened.values())
