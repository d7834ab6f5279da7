"""The noise is OpenDP's, on integers, at the scale for which its own map claims no more than what is charged."""

import math

import numpy as np
import opendp.prelude as dp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.statistics_cases import privacy, request

from almoner.errors import PolicyViolation
from almoner.privacy.statistics_plan import part_event, statistics_parts, statistics_plan
from almoner.privacy.zcdp import largest_rho
from almoner.release.laws import scale_for
from almoner.release.mechanisms import measurement, noised
from almoner.schema.receipt import PureRelease, SampledGaussian, ZcdpRelease


@given(st.floats(1e-4, 20), st.integers(1, 2**40))
@settings(max_examples=200, deadline=None)
def test_opendp_claims_no_more_than_what_is_charged(cost: float, bound: int) -> None:
    pure = measurement(PureRelease(kind="pure_release", epsilon=cost, count=1), 3, bound)
    assert cost * (1 - 1e-9) <= pure.map(bound) <= cost
    zcdp = measurement(ZcdpRelease(kind="zcdp_release", rho=cost, count=1), 3, bound)
    assert cost * (1 - 1e-9) <= zcdp.map(bound) <= cost
    assert zcdp.map(2 * bound) > 3.9 * cost  # the maps grow with the distance


def test_a_mechanism_that_claims_more_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    measurement.cache_clear()
    honest = dp.m.make_gaussian
    monkeypatch.setattr(dp.m, "make_gaussian", lambda *space, scale: honest(*space, scale=scale / 2))
    with pytest.raises(PolicyViolation, match="OpenDP has no noise"):
        noised(request(privacy=privacy("discrete_gaussian")), np.zeros(request().num_cells, dtype=np.int64))


def test_other_events_have_no_noise_here() -> None:
    event = SampledGaussian(kind="sampled_gaussian", noise_multiplier=1.0, sampling_prob=1.0, count=1)
    assert scale_for(event, 1) == math.inf
    with pytest.raises(PolicyViolation):
        measurement(event, 1, 1)


@pytest.mark.parametrize("mechanism", ["integer_laplace", "discrete_gaussian"])
def test_every_part_is_noised_by_its_own_event_and_all_of_them_are_charged(mechanism: str) -> None:
    spec = request(privacy=privacy(mechanism))
    parts, step = statistics_parts(spec), statistics_plan(spec).steps[0]
    assert step.events == tuple(part_event(spec, part) for part in parts)
    assert [part.start for part in parts] == [sum(p.num_cells for p in parts[:i]) for i in range(len(parts))]
    assert sum(part.num_cells for part in parts) == spec.num_cells
    total = math.fsum(event.epsilon if isinstance(event, PureRelease) else event.rho for event in step.events)
    assert total == pytest.approx(1.0 if mechanism == "integer_laplace" else largest_rho(1.0, 1e-6), rel=1e-9)
    changed = noised(spec, np.zeros(spec.num_cells, dtype=np.int64))
    for part in parts:
        spread = np.abs(changed[part.cells]).max()
        assert spread <= 60 * scale_for(part_event(spec, part), part.bound)  # P < 1e-20
    assert len(np.unique(changed)) > 20


def test_noise_is_drawn_anew_and_never_leaves_the_integers() -> None:
    spec = request()
    first, second = (noised(spec, np.zeros(spec.num_cells, dtype=np.int64)) for _ in range(2))
    assert first.dtype == np.int64
    assert not np.array_equal(first, second)
