import numpy as np
import pytest
import torch

from almoner.errors import ProtocolError
from almoner.training.flat import dimension, flatten, pieces, unflatten


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))


def test_order_is_that_of_named_parameters() -> None:
    network = model()
    flat = flatten(network)
    assert flat.dtype == np.float64
    assert flat.shape == (dimension(network),) == (11,)
    parts = [parameter.detach().numpy().ravel() for _, parameter in network.named_parameters()]
    assert np.array_equal(flat, np.concatenate(parts))


def test_round_trip_keeps_what_fits_the_models_precision() -> None:
    network = model()
    vector = np.arange(11, dtype=np.float64) / 8
    unflatten(network, vector)
    assert np.array_equal(flatten(network), vector)
    unflatten(network, np.full(11, 0.1))
    assert np.array_equal(flatten(network), np.full(11, np.float32(0.1), dtype=np.float64))


def test_flat_copy_does_not_follow_the_model() -> None:
    network = model()
    flat = flatten(network)
    before = flat.copy()
    unflatten(network, np.zeros(11))
    assert np.array_equal(flat, before)


@pytest.mark.parametrize("weights", [np.zeros(10), np.zeros((11, 1)), np.zeros(11, np.float32)])
def test_another_shape_or_type_is_refused(weights: np.ndarray) -> None:
    network = model()
    before = flatten(network)
    with pytest.raises(ProtocolError, match="instead of"):
        unflatten(network, weights)
    assert np.array_equal(flatten(network), before)


@pytest.mark.parametrize("size", [0, 1, 2**15, 2**15 + 1, 100_000])
def test_pieces_make_up_the_whole_in_order(size: int) -> None:
    assert [place for piece in pieces(size) for place in range(size)[piece]] == list(range(size))
