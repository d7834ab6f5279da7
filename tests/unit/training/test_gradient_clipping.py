"""The bound on one unit's effect, in exact arithmetic, for any factors that the model's arithmetic can give.

With weights of zero and the loss `output · target`, a record's factors are its own numbers: x is its features, p its
target. So whatever hypothesis puts into a record arrives at the clipping as it is.
"""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn

from almoner.errors import PolicyViolation
from almoner.training import gradient_clipping
from almoner.training.flat import dimension
from almoner.training.gradient_clipping import FLUSH, MARGIN, MAX_ROWS, RunningSum, check_sizes, clipping_factors
from almoner.training.gradient_layers import EmbeddingGradients, FullGradients, LayerGradients, LinearGradients
from almoner.training.gradients import UnitGradients
from almoner.training.units import UnitRecords

HUGE, TINY = 3.4e38, 1e-45
ANY = st.floats(width=32) | st.sampled_from([HUGE, -HUGE, TINY, 1e-38, np.inf, np.nan, 0.0, 1.0])
CLIPS = st.sampled_from([2.0**-20, 0.1, 1.0, 1000.0])


def norm_squared(vector: np.ndarray) -> Fraction:
    return sum((Fraction(float(entry)) ** 2 for entry in vector), Fraction(0))


def product(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs[:, 0] * targets


def effects(values: np.ndarray, unit: np.ndarray, clip: float, size: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the sum over all units, and the sums without each of them."""
    model, everybody = nn.Linear(values.shape[1] - 1, 1), np.arange(unit.max() + 1)
    data = UnitRecords(torch.from_numpy(values[:, 1:].copy()), torch.from_numpy(values[:, 0].copy()), unit)
    gradients = UnitGradients(model, product, data, max_grad_norm=clip, micro_batch_size=size, min_micro_batches=1)
    weights = np.zeros(dimension(model))
    without = [gradients.clipped_sum(weights, np.delete(everybody, left_out)) for left_out in everybody]
    return gradients.clipped_sum(weights, everybody), without


@given(
    values=arrays(np.float32, (10, 3), elements=ANY),
    unit=st.lists(st.integers(0, 4), min_size=10, max_size=10),
    clip=CLIPS,
    size=st.integers(1, 11),
)
@example(np.full((10, 3), HUGE, np.float32), list(range(5)) * 2, 1.0, 4)
@example(np.full((10, 3), TINY, np.float32), list(range(5)) * 2, 1.0, 4)
@settings(deadline=None)
def test_a_unit_moves_the_computed_sum_by_no_more_than_the_bound(
    values: np.ndarray, unit: list[int], clip: float, size: int
) -> None:
    whole, without = effects(values, np.unique(unit, return_inverse=True)[1], clip, size)
    assert np.isfinite(whole).all()
    for rest in without:
        difference = [Fraction(float(one)) - Fraction(float(other)) for one, other in zip(whole, rest, strict=True)]
        assert sum(entry**2 for entry in difference) <= Fraction(clip) ** 2


def cancelling() -> tuple[np.ndarray, np.ndarray]:
    """Twenty ordinary units, and one in between whose first and last record cancel but for a little."""
    values = np.ones((23, 2), np.float32)
    values[10:13] = [[1.0, 2.0**90], [1.0, 1.0], [-1.0, 2.0**90]]
    return values, np.array([*range(10), 10, 10, 10, *range(11, 21)])


@pytest.mark.threat("T-99")
@pytest.mark.parametrize("size", [11, 12, 23])
def test_a_unit_whose_records_cancel_takes_nobody_out_of_the_sum(size: int) -> None:
    whole, without = effects(*cancelling(), 1.0, size)
    assert norm_squared(whole - without[10]) <= 1


@pytest.mark.threat("T-99")
def test_without_its_mass_such_a_unit_takes_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten units and the small rest are lost in 2^90, which then goes."""
    monkeypatch.setattr(gradient_clipping, "NORM_ERROR", 0.0)
    monkeypatch.setattr(gradient_clipping, "CANCELLATION", 2.0**200)
    whole, without = effects(*cancelling(), 1.0, 23)
    assert norm_squared(whole - without[10]) > 25


Factors = tuple[LayerGradients, list[list[Fraction]]]


def linear(inputs: np.ndarray, outputs: np.ndarray) -> Factors:
    """A linear layer with a bias, and its records' exact gradients."""
    width, height = inputs.shape[2], outputs.shape[2]
    layer = LinearGradients(
        torch.from_numpy(inputs.copy()),
        torch.from_numpy(outputs.copy()),
        slice(0, width * height),
        slice(width * height, (width + 1) * height),
    )
    exact = []
    for x, p in zip(inputs, outputs, strict=True):
        right = [[Fraction(float(entry)) for entry in row] + [Fraction(1)] for row in x]
        left = [[Fraction(float(entry)) for entry in row] for row in p]
        pairs = [(i, j) for j in range(width) for i in range(height)] + [(i, width) for i in range(height)]
        exact.append([sum(a[i] * b[j] for a, b in zip(left, right, strict=True)) for i, j in pairs])
    return layer, exact


def embedding(outputs: np.ndarray, indices: np.ndarray) -> Factors:
    """An embedding of three words, and its records' exact gradients."""
    layer = EmbeddingGradients(
        torch.from_numpy(indices), torch.from_numpy(outputs.copy()), slice(0, 3 * outputs.shape[2]), None
    )
    exact = []
    for words, p in zip(indices, outputs, strict=True):
        table = [[Fraction(0)] * outputs.shape[2] for _ in range(3)]
        for word, row in zip(words, p, strict=True):
            table[word] = [old + Fraction(float(entry)) for old, entry in zip(table[word], row, strict=True)]
        exact.append([entry for row in table for entry in row])
    return layer, exact


def full(rows: np.ndarray) -> Factors:
    """A layer with its gradients in full."""
    layer = FullGradients([(slice(0, rows.shape[1]), torch.from_numpy(rows.copy()))])
    return layer, [[Fraction(float(entry)) for entry in row] for row in rows]


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from([HUGE, -HUGE, TINY, 1.0])


@given(
    inputs=arrays(np.float32, (4, 2, 2), elements=FINITE),
    outputs=arrays(np.float32, (4, 2, 2), elements=FINITE),
    indices=arrays(np.int64, (4, 2), elements=st.integers(0, 2)),
    cut=st.integers(1, 3),
    clip=CLIPS,
)
@settings(deadline=None)
def test_scaled_gradients_are_within_the_bound_in_exact_arithmetic(
    inputs: np.ndarray, outputs: np.ndarray, indices: np.ndarray, cut: int, clip: float
) -> None:
    """Two units of together four records; the factor is an exact number, and so is the gradient it scales."""
    starts = np.array([0, cut, 4])
    for layer, records in (linear(inputs, outputs), embedding(outputs, indices), full(outputs[:, 0])):
        masses = torch.stack([layer.masses[:cut].sum(), layer.masses[cut:].sum()])
        factors = clipping_factors(layer.squared_norms(starts), masses, clip)
        assert bool((factors > 0).all())
        for factor, first, last in zip(factors.tolist(), starts[:-1], starts[1:], strict=True):
            gradient = [sum(entries, Fraction(0)) for entries in zip(*records[first:last], strict=True)]
            scaled = Fraction(factor) ** 2 * sum(entry**2 for entry in gradient)
            assert scaled <= (Fraction(clip) * (1 - Fraction(MARGIN)) * (1 + Fraction(2) ** -49)) ** 2


@given(norms=arrays(np.float64, 5, elements=st.floats(1e-3, 1e3)), clip=CLIPS)
def test_clipping_scales_and_nothing_else(norms: np.ndarray, clip: float) -> None:
    """A gradient of one term is scaled to the norm C(1 − 2^-10), or left alone."""
    factors = clipping_factors(torch.from_numpy(norms) ** 2, torch.from_numpy(norms), clip).numpy()
    assert factors == pytest.approx(np.minimum(1.0, clip * (1 - MARGIN) / norms), rel=1e-7)


def test_products_of_many_rows_are_taken_apart() -> None:
    """Sums over more positions than one product may have, against exact ones."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(3, MAX_ROWS + 5, 2)).astype(np.float32)
    outputs = rng.normal(size=(3, MAX_ROWS + 5, 1)).astype(np.float32)
    layer = LinearGradients(torch.from_numpy(inputs), torch.from_numpy(outputs), slice(0, 2), slice(2, 3))
    total = torch.zeros(3, dtype=torch.float64)
    layer.add_sum(total, 1, torch.tensor([0.5, 0.25], dtype=torch.float64))
    own = np.concatenate([inputs, np.ones_like(inputs[:, :, :1])], axis=2).astype(np.float64)
    expected = np.einsum("rlo,rli,r->i", outputs[1:].astype(np.float64), own[1:], [0.5, 0.25])
    assert total.numpy() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("products", [1, 3])
def test_a_sum_of_many_passes_is_complete(products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_clipping, "FLUSH", 6)
    for passes in (3, 7, 20):
        total = RunningSum(1)
        for number in range(passes):
            total.expect(products)
            total.open += number
        assert total.total().item() == sum(range(passes))


@pytest.mark.parametrize("sizes", [(2**27 + 1, 1.0, 8, 8), (8, 2.0**65, 8, 8), (8, 1.0, 2**10, 2**11)])
def test_public_numbers_that_the_proof_does_not_cover_are_refused(sizes: tuple[int, float, int, int]) -> None:
    check_sizes(2**27, 2.0**64, 2**4, 2**16)
    with pytest.raises(PolicyViolation, match="out of range"):
        check_sizes(*sizes)


def test_more_positions_than_a_sum_has_room_for_are_refused() -> None:
    with pytest.raises(PolicyViolation, match="shorter sequences"):
        FullGradients([(slice(0, 1), torch.zeros(MAX_ROWS * FLUSH // 2 + 1, 1))])
