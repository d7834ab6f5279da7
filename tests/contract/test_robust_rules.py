"""What every robust rule must do; a new one inherits `RuleContract`.

Each class states the bound that its rule keeps when f rows may be anything; Δ is the honest rows' diameter.
"""

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract import robust_references as reference

from almoner.errors import PolicyViolation, ProtocolError
from almoner.robust.conditions import min_rows
from almoner.robust.report import Aggregate
from almoner.robust.rule import Rule
from almoner.robust.rules import make_rule
from almoner.schema.aggregation import PreAggregationKind, RuleKind

CLIP = 2.5
INSANE = [math.nan, math.inf, -math.inf, 3e38, -3e38, 2.0**51]
FAR = [2.0**power for power in range(0, 51, 5)]
ANY_FLOAT = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-45, *FAR, -(2.0**50), 3e38, math.nan, math.inf])
allowed = [HealthCheck.differing_executors, HealthCheck.too_slow]
shared = settings(max_examples=40, deadline=None, suppress_health_check=allowed)


def normal(count: int, dimension: int, seed: int = 1, offset: float = 0.0) -> np.ndarray:
    """Rows on a grid of 2^-12, so that adding up to 2^11 to them is exact in float32."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return (np.rint(rows * 2**12) / 2**12 + offset).astype(np.float32)


def diameter(rows: np.ndarray) -> float:
    return math.sqrt(reference.distances(rows.astype(np.float64)).max())


class RuleContract:
    """Subclasses name the rule, what its paper says of it, and its bound."""

    kind: RuleKind
    pre: tuple[PreAggregationKind, ...] = ()
    translates = True
    weighs_sizes = False
    permutes: str = "exactly"

    def reference(self, rows: np.ndarray, f: int) -> np.ndarray:
        raise NotImplementedError

    def assert_bounded(self, result: np.ndarray, honest: np.ndarray, count: int, f: int) -> None:
        raise NotImplementedError

    def assert_agrees(self, result: np.ndarray, rows: np.ndarray, f: int) -> None:
        np.testing.assert_allclose(result, self.reference(rows, f), rtol=1e-5, atol=1e-5)

    def rule(self, f: int) -> Rule:
        return make_rule(self.kind, f, self.pre, CLIP, seed=b"round 1")

    def least(self, f: int) -> int:
        return min_rows(self.kind, f, self.pre)

    def aggregate(self, rows: np.ndarray, f: int, sizes: np.ndarray | None = None) -> Aggregate:
        return self.rule(f).aggregate(rows, np.ones(len(rows)) if sizes is None else sizes)

    @pytest.mark.parametrize("dimension", [1, 2, 1000, 65_535, 65_536, 65_537])
    def test_is_what_the_paper_says(self, dimension):
        for f in (1, 2):
            rows = np.random.default_rng(dimension).standard_normal((self.least(f) + 1, dimension), dtype=np.float32)
            result = self.aggregate(rows, f)
            assert (result.vector.dtype, result.vector.shape) == (np.float32, (dimension,))
            self.assert_agrees(result.vector, rows.astype(np.float64), f)

    @pytest.mark.parametrize("count", [13, 31, 32, 33, 50])
    def test_is_what_the_paper_says_for_many_rows(self, count):
        f = max(f for f in range(12) if self.least(f) <= count)
        rows = np.random.default_rng(count).standard_normal((count, 300), dtype=np.float32)
        self.assert_agrees(self.aggregate(rows, f).vector, rows.astype(np.float64), f)

    @given(st.data())
    @shared
    def test_f_rows_of_anything_are_bounded(self, data):
        f = data.draw(st.integers(0, 3))
        count = self.least(f) + data.draw(st.integers(0, 3))
        dimension = data.draw(st.integers(1, 4))
        honest = normal(count - f, dimension, data.draw(st.integers(0, 2**32)), data.draw(st.sampled_from([0, 3])))
        scale = data.draw(st.sampled_from([1, 1e-3, 1e-6, 1e6]))
        honest = (honest * np.float32(scale)).astype(np.float32)
        row = st.lists(ANY_FLOAT, min_size=dimension, max_size=dimension)
        near = st.sampled_from(honest.tolist()) if f else st.nothing()
        byzantine = data.draw(st.lists(row | near, min_size=f, max_size=f))
        rows = np.concatenate([honest, np.array(byzantine, dtype=np.float32).reshape(f, dimension)])
        order = np.array(data.draw(st.permutations(range(count))))
        result = self.aggregate(rows[order], f)
        assert np.isfinite(result.vector).all()
        json.dumps(result.report.to_json(), allow_nan=False)
        self.assert_bounded(result.vector.astype(np.float64), honest.astype(np.float64), count, f)

    @pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
    def test_one_far_row_is_bounded_at_any_distance(self, scale):
        for f in (1, 2):
            count = self.least(f) + 1
            honest = (normal(count - f, 300) * scale).astype(np.float32)
            for power in range(-5, 51):
                far = np.full((f, 300), 2.0**power, dtype=np.float32)
                result = self.aggregate(np.concatenate([honest, far]), f).vector
                self.assert_bounded(result.astype(np.float64), honest.astype(np.float64), count, f)

    @given(st.integers(0, 2**32), st.integers(0, 3), st.integers(0, 4))
    @shared
    def test_the_order_of_the_rows_changes_nothing(self, seed, f, more):
        if self.permutes == "not":
            pytest.skip("the draw of buckets is one of places")
        rows = normal(self.least(f) + more, 7, seed)
        order = np.random.default_rng(seed).permutation(len(rows))
        one, other = self.aggregate(rows, f), self.aggregate(rows[order], f)
        if self.permutes == "exactly":
            assert np.array_equal(one.vector, other.vector)
        np.testing.assert_allclose(one.vector, other.vector, rtol=1e-5, atol=1e-6)
        for place, row in zip(order, other.report.rows, strict=True):
            assert row.kept == one.report.rows[place].kept
            assert row.weight == pytest.approx(one.report.rows[place].weight, abs=1e-6)

    @pytest.mark.parametrize("offset", [1.0, -3.0, 2047.0])
    def test_an_offset_in_common_moves_the_result_alone(self, offset):
        for f in (0, 1, 2):
            rows = normal(self.least(f) + 2, 200, seed=f)
            here, there = self.aggregate(rows, f), self.aggregate(rows + np.float32(offset), f)
            same = np.allclose(there.vector, here.vector + np.float32(offset), rtol=1e-6, atol=1e-4)
            assert same == self.translates

    def test_tiny_differences_at_a_large_offset_are_seen(self):
        """Row by row 2^-12 apart at 2047: a Gram matrix in float32 sees nothing of it."""
        if not self.translates:
            pytest.skip("is about the norm of a row")
        rng = np.random.default_rng(5)
        for f in (1, 2):
            small = (rng.integers(-8, 9, (self.least(f) + 2, 500)) / 2**12).astype(np.float32)
            small[0] *= 4
            here, there = self.aggregate(small, f), self.aggregate(small + np.float32(2047), f)
            assert [row.kept for row in here.report.rows] == [row.kept for row in there.report.rows]
            moved = there.vector.astype(np.float64) - 2047
            assert np.abs(moved - here.vector).max() <= 8 * 2.0**-13  # float32 is 2^-13 apart here

    @pytest.mark.parametrize("f", [1, 2, 5])
    def test_refuses_fewer_rows_than_the_paper_asks_for(self, f):
        least = self.least(f)
        self.aggregate(normal(least, 3), f)
        with pytest.raises(PolicyViolation, match=rf"{self.kind}.*needs {least} rows.*f={f}.*there are {least - 1}"):
            self.aggregate(normal(least - 1, 3), f)

    @pytest.mark.threat("T-44")
    @pytest.mark.parametrize("value", INSANE)
    def test_drops_rows_that_are_not_finite_and_counts_them_against_f(self, value):
        f = 2
        rows = normal(self.least(f) + 1, 5000, seed=3)
        rows[1, 4999] = value
        with np.errstate(all="raise"):
            result = self.aggregate(rows, f)
        if "bucketing" not in self.pre:
            others = self.aggregate(np.delete(rows, 1, axis=0), f - 1)
            np.testing.assert_allclose(result.vector, others.vector, rtol=1e-6, atol=1e-7)
        assert np.isfinite(result.vector).all()
        assert result.report.rows[1].reason == "not finite or too large"
        assert (result.report.rows[1].kept, result.report.rows[1].weight) == (False, 0.0)

    @pytest.mark.threat("T-44")
    def test_refuses_more_rows_that_are_not_finite_than_f(self):
        rows = normal(self.least(1) + 3, 5)
        rows[[0, 2]] = math.nan
        with pytest.raises(ProtocolError, match=f"2 of {len(rows)} rows are not finite"):
            self.aggregate(rows, 1)

    @pytest.mark.threat("T-45")
    def test_sizes_count_in_no_rule_that_does_not_average(self):
        """A sender can claim none: there is a row, and the size that its site has declared in public."""
        rows = normal(self.least(1) + 3, 50)
        sizes = np.array([1e9] + [1.0] * (len(rows) - 1))
        plain, weighed = self.aggregate(rows, 1), self.aggregate(rows, 1, sizes)
        assert np.array_equal(plain.vector, weighed.vector) != self.weighs_sizes
        alike = self.aggregate(rows, 1, np.full(len(rows), 7.0))
        np.testing.assert_allclose(plain.vector, alike.vector, rtol=1e-6, atol=1e-7)

    def test_leaves_its_input_alone_and_returns_an_array_of_its_own(self):
        rows = normal(self.least(1), 3000)
        before = rows.copy()
        rows.flags.writeable = False
        first, again = self.aggregate(rows, 1), self.aggregate(rows, 1)
        assert np.array_equal(rows, before)
        assert not np.shares_memory(first.vector, rows)
        assert np.array_equal(first.vector, again.vector)
        assert first.report == again.report

    def test_equal_rows_are_their_own_result(self):
        for value in (0.0, -0.0, 1e-30, 1.5, -1e9 * (not self.uses_clip())):
            rows = np.full((self.least(1) + 1, 40), value, dtype=np.float32)
            factor = self.factor(value)
            np.testing.assert_allclose(self.aggregate(rows, 1).vector, rows[0] * factor, rtol=1e-6)

    def uses_clip(self) -> bool:
        return "clip" in f"{self.kind} {self.pre}"

    def factor(self, value: float) -> float:
        """What clipping makes of 40 entries of a value."""
        norm = abs(value) * math.sqrt(40)
        steps = 3 if self.kind == "centered_clipping" else 1
        return min(1.0, steps * CLIP / norm) if self.uses_clip() and norm else 1.0

    @pytest.mark.parametrize(
        "rows",
        [
            np.zeros((9, 3)),
            np.zeros(9, dtype=np.float32),
            np.zeros((9, 0), dtype=np.float32),
            np.zeros((9, 3, 1), dtype=np.float32),
        ],
    )
    def test_refuses_rows_of_another_form(self, rows):
        with pytest.raises(ProtocolError, match="aggregate: the rows"):
            self.aggregate(rows, 1)

    @pytest.mark.parametrize("sizes", [[1.0] * 8, [1.0] * 8 + [0.0], [1.0] * 8 + [-1.0], [1.0] * 8 + [math.nan]])
    def test_refuses_sizes_that_are_no_sizes(self, sizes):
        with pytest.raises(ProtocolError, match="one positive size a row"):
            self.aggregate(normal(9, 3), 0, np.array(sizes))


class TestKrum(RuleContract):
    kind = "krum"

    def reference(self, rows, f):
        return reference.krum(rows, f)

    def assert_bounded(self, result, honest, count, f):
        """An honest row lies within √(n−f−2)·Δ of the result."""
        reach = math.sqrt(count - f - 2) * diameter(honest)
        assert np.linalg.norm(honest - result, axis=1).min() <= reach * (1 + 1e-6)


class TestMultiKrum(RuleContract):
    kind = "multi_krum"
    weighs_sizes = True
    permutes = "nearly"

    def reference(self, rows, f):
        return reference.multi_krum(rows, f)

    def assert_bounded(self, result, honest, count, f):
        """All honest rows lie within (1 + √(n−f−2))·Δ of the result."""
        reach = (1 + math.sqrt(count - f - 2)) * diameter(honest)
        assert np.linalg.norm(honest - result, axis=1).max() <= reach + 1e-6 * np.abs(honest).max()


class CoordinateContract(RuleContract):
    """The result lies in the box of the honest rows, widened by `slack` of its widths."""

    slack = 0.0

    def assert_bounded(self, result, honest, count, f):
        low, high = honest.min(axis=0), honest.max(axis=0)
        slack = self.slack * (high - low) + 1e-6 * np.abs(honest).max()
        assert np.all(result >= low - slack)
        assert np.all(result <= high + slack)


class TestBulyan(CoordinateContract):
    kind = "bulyan"
    slack = 1.0

    def reference(self, rows, f):
        return reference.bulyan(rows, f)


class TestMedian(CoordinateContract):
    kind = "median"

    def reference(self, rows, f):
        return reference.median(rows, f)


class TestTrimmedMean(CoordinateContract):
    kind = "trimmed_mean"
    permutes = "nearly"

    def reference(self, rows, f):
        return reference.trimmed_mean(rows, f)


class TestGeometricMedian(RuleContract):
    kind = "geometric_median"
    permutes = "nearly"

    def reference(self, rows, f):
        return reference.geometric_median(rows, f)

    def assert_agrees(self, result, rows, f):
        """On a line every point between the two in the middle has the least sum: sums are compared."""
        sums = [np.linalg.norm(rows - point, axis=1).sum() for point in (result, self.reference(rows, f))]
        assert sums[0] <= sums[1] * (1 + 1e-6)
        if rows.shape[1] > 1:
            super().assert_agrees(result, rows, f)

    def assert_bounded(self, result, honest, count, f):
        """The result lies within 2(n−f)/(n−2f) honest radii of the honest mean."""
        mean = honest.mean(axis=0)
        reach = 2 * (count - f) / (count - 2 * f) * np.linalg.norm(honest - mean, axis=1).max()
        assert np.linalg.norm(result - mean) <= reach * 1.001 + 1e-6 * np.abs(honest).max()


class TestNormClippedMean(RuleContract):
    kind = "norm_clipped_mean"
    translates = False
    weighs_sizes = True
    permutes = "nearly"

    def reference(self, rows, f):
        return reference.norm_clipped_mean(rows, np.ones(len(rows)), CLIP)

    def assert_bounded(self, result, honest, count, f):
        """f rows of n move the mean of the clipped honest rows by at most f/n clips, less those that were dropped."""
        total = reference.clipped(honest, CLIP).sum(axis=0)
        reach = [np.linalg.norm(result * (count - gone) - total) - (f - gone) * CLIP for gone in range(f + 1)]
        assert min(reach) <= 1e-4 * CLIP
        assert np.linalg.norm(result) <= CLIP * (1 + 1e-5)


class TestCenteredClipping(RuleContract):
    kind = "centered_clipping"
    translates = False
    permutes = "nearly"

    def reference(self, rows, f):
        return reference.centered_clipping(rows, CLIP)

    def assert_bounded(self, result, honest, count, f):
        """The centre moves by at most one clip in each of three rounds."""
        assert np.linalg.norm(result) <= 3 * CLIP * (1 + 1e-5)


class TestMixedMedian(CoordinateContract):
    kind = "median"
    pre = ("nearest_neighbour_mixing",)
    permutes = "nearly"

    def reference(self, rows, f):
        return reference.median(reference.mixed_with_nearest(rows, f), f)

    def assert_bounded(self, result, honest, count, f):
        """Each honest row is mixed within Δ of itself, so the box of the honest rows grows by Δ."""
        reach = diameter(honest) * (1 + 1e-6) + 1e-6 * np.abs(honest).max()
        assert np.all(result >= honest.min(axis=0) - reach)
        assert np.all(result <= honest.max(axis=0) + reach)


class TestMixedKrum(RuleContract):
    kind = "krum"
    pre = ("nearest_neighbour_mixing",)
    permutes = "nearly"

    def assert_agrees(self, result, rows, f):
        """Mixtures of the same rows less one have equal scores: any of the best will do."""
        mixed = reference.mixed_with_nearest(rows, f)
        scores = reference.scores(reference.distances(mixed), f)
        best = mixed[scores <= scores.min() * (1 + 1e-5)]
        assert np.abs(best - result).max(axis=1).min() <= 1e-5

    def assert_bounded(self, result, honest, count, f):
        """The mixed honest rows have a diameter of at most 3Δ, and lie within Δ of the honest ones."""
        reach = (3 * math.sqrt(count - f - 2) + 1) * diameter(honest)
        assert np.linalg.norm(honest - result, axis=1).min() <= reach + 1e-6 * np.abs(honest).max()


class TestBucketedTrimmedMean(CoordinateContract):
    kind = "trimmed_mean"
    pre = ("bucketing",)
    permutes = "not"

    def reference(self, rows, f):
        return reference.trimmed_mean(make_buckets(rows), f)


class TestClippedMedian(RuleContract):
    kind = "median"
    pre = ("static_clipping",)
    translates = False

    def reference(self, rows, f):
        return reference.median(reference.clipped(rows, CLIP), f)

    def assert_bounded(self, result, honest, count, f):
        """The result lies in the box of the clipped honest rows."""
        clipped = reference.clipped(honest, CLIP)
        assert np.all(result >= clipped.min(axis=0) - 1e-6 * CLIP)
        assert np.all(result <= clipped.max(axis=0) + 1e-6 * CLIP)


class TestClippedKrum(RuleContract):
    kind = "krum"
    pre = ("static_clipping",)
    translates = False

    def reference(self, rows, f):
        return reference.krum(reference.clipped(rows, CLIP), f)

    def assert_bounded(self, result, honest, count, f):
        """An honest clipped row lies within √(n−f−2) diameters of the clipped honest rows."""
        clipped = reference.clipped(honest, CLIP)
        reach = math.sqrt(count - f - 2) * diameter(clipped)
        assert np.linalg.norm(clipped - result, axis=1).min() <= reach + 1e-6 * CLIP


@pytest.mark.threat("T-44")
@pytest.mark.parametrize("kind", ["krum", "median", "geometric_median"])
def test_one_nan_spoils_the_textbook_rule_and_not_this_one(kind):
    rows = normal(7, 60)
    rows[2, 7] = math.nan
    assert np.isnan(getattr(reference, kind)(rows.astype(np.float64), 1)).any()
    assert np.isfinite(make_rule(kind, 1).aggregate(rows, np.ones(7)).vector).all()


@pytest.mark.threat("T-44")
@pytest.mark.parametrize("kind", ["median", "trimmed_mean"])
def test_one_nan_spoils_this_rule_without_its_control(kind, monkeypatch):
    rows = normal(7, 60)
    rows[2, 7] = math.nan
    monkeypatch.setattr("almoner.robust.admit.is_sane", lambda row: True)
    assert np.isnan(make_rule(kind, 1).aggregate(rows, np.ones(7)).vector).any()


@pytest.mark.threat("T-44")
def test_far_rows_spoil_the_geometric_median_unless_they_are_left_out(monkeypatch):
    """What rounding makes of them is each processor's own: one draw of some twenty exceeds the bound anywhere."""
    count, f = 10, 4

    def drift(seed):
        """Return the distance of the result to the honest mean, in honest radii."""
        honest = normal(count - f, 300, seed) * np.float32(1e-3)
        far = 2.0**49 * (1 + np.random.default_rng(seed).random((f, 1))) * np.ones(300)
        rows = np.concatenate([honest, far.astype(np.float32)])
        result = make_rule("geometric_median", f).aggregate(rows, np.ones(count)).vector
        mean = honest.mean(axis=0)
        return float(np.linalg.norm(result - mean) / np.linalg.norm(honest - mean, axis=1).max())

    assert max(drift(seed) for seed in range(100)) < 0.5
    monkeypatch.setattr("almoner.robust.geometric_median._FARTHEST", math.inf)
    assert any(drift(seed) > 2 * (count - f) / (count - 2 * f) for seed in range(1000))


def make_buckets(rows: np.ndarray) -> np.ndarray:
    """Buckets of two as the seed `round 1` draws them."""
    order = sorted(range(len(rows)), key=lambda row: hashlib.sha256(b"round 1" + row.to_bytes(4)).digest())
    return np.array([rows[order[start : start + 2]].mean(axis=0) for start in range(0, len(rows), 2)])
