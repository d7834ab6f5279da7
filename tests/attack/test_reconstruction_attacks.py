"""Pictures out of updates: told where the protections are off, not where noise is on; crafted weights are refused."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.made_pictures import made_pictures

from almoner.redteam.reconstruction import pinning
from almoner.redteam.reconstruction.analytic import invert_imprint, invert_layer
from almoner.redteam.reconstruction.matching import match_gradient
from almoner.redteam.reconstruction.networks import convolutions, imprinting, perceptron
from almoner.redteam.reconstruction.pictures import closest, is_breached
from almoner.redteam.reconstruction.pinning import Handed, refusals
from almoner.redteam.reconstruction.study import rero_bound
from almoner.redteam.reconstruction.views import SITES_IN_A_SUM, VIEWS, Protection, View, seen_update
from almoner.schema.job import JobSpec
from almoner.training.units import UnitRecords

PROTECTION = Protection(max_grad_norm=1.0, noise_multiplier=7.3)
RAW, CLIPPED, NOISED, SUMMED, SUMMED_AND_NOISED = VIEWS
PICTURES = made_pictures(SITES_IN_A_SUM * 32)
PUBLIC: NDArray[np.float64] = made_pictures(400, seed=1).features.double().numpy()


def batch(site: int, size: int) -> UnitRecords:
    own = slice(site * size, (site + 1) * size)
    return UnitRecords(PICTURES.features[own], PICTURES.targets[own], np.arange(size))


def told(found: NDArray[np.float64], size: int) -> int:
    """Return how many pictures of the first site were told."""
    truths = batch(0, size).features.double().numpy()
    return sum(is_breached(truth, closest(truth, found)) for truth in truths)


@pytest.mark.threat("T-125")
def test_one_picture_is_read_off_a_linear_layer_unless_noise_is_on() -> None:
    def found(view: View) -> int:
        update = seen_update(perceptron(0), lambda site: batch(site, 1), view, PROTECTION, 0)
        return told(invert_layer(update), 1)

    assert [found(view) for view in (RAW, CLIPPED, NOISED, SUMMED_AND_NOISED)] == [1, 1, 0, 0]
    assert found(SUMMED) == 1  # secure aggregation alone does not hide it


def test_larger_batches_hide_most_pictures_from_honest_weights() -> None:
    counts = {}
    for size in (1, 8, 32):
        update = seen_update(perceptron(0), lambda site, size=size: batch(site, size), RAW, PROTECTION, 0)
        counts[size] = told(invert_layer(update), size) / size
    assert counts[1] == 1.0
    assert counts[32] < 0.5


@pytest.mark.threat("T-125", "T-126")
def test_crafted_weights_tell_most_of_a_batch_unless_noise_is_on() -> None:
    def found(view: View) -> int:
        model = imprinting(PUBLIC, 0)
        update = seen_update(model, lambda site: batch(site, 32), view, PROTECTION, 0)
        return told(invert_imprint(update), 32)

    assert found(RAW) >= 24
    assert found(CLIPPED) >= 24
    assert found(NOISED) == 0
    assert found(SUMMED_AND_NOISED) == 0


@pytest.mark.threat("T-126")
def test_crafted_weights_and_layers_are_refused_by_digest_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusals(PUBLIC, 0)
    assert said["the declared model"] == ""
    assert "initial_weights is declared as" in said["crafted weights"]
    assert "dimension is declared as 203530" in said["a layer in front"]
    monkeypatch.setattr(Handed, "initial_weights", "the digest is not looked at")
    assert refusals(PUBLIC, 0)["crafted weights"] == ""  # and then the test above shows what it tells
    monkeypatch.setattr(pinning, "verify_declaration", lambda *ignored: None)
    assert set(refusals(PUBLIC, 0).values()) == {""}


@pytest.mark.slow
@pytest.mark.threat("T-125")
def test_gradient_matching_finds_a_picture_unless_noise_is_on() -> None:
    def found(view: View) -> int:
        model, label = convolutions(1), int(batch(0, 1).targets[0])
        update = seen_update(model, lambda site: batch(site, 1), view, PROTECTION, 0)
        return told(match_gradient(model, update, label, steps=800, seed=1), 1)

    assert [found(view) for view in (RAW, NOISED, SUMMED_AND_NOISED)] == [1, 0, 0]


def test_the_bound_is_above_the_prior_and_grows_with_what_is_released(heart_spec: JobSpec) -> None:
    bound = rero_bound(heart_spec, PICTURES, np.arange(len(PICTURES.unit)), trials=150)
    assert 0 < bound.prior < bound.one_step < bound.whole_job < 0.2
