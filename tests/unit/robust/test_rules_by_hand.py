"""Golden values of each rule, worked out by hand."""

import numpy as np
import pytest

from almoner.errors import PolicyViolation, ProtocolError
from almoner.robust import krum
from almoner.robust.rules import make_rule


def aggregate(kind, rows, f=1, sizes=None, **options):
    rows = np.array(rows, dtype=np.float32)
    rows = rows[:, None] if rows.ndim == 1 else rows
    return make_rule(kind, f, **options).aggregate(rows, np.ones(len(rows)) if sizes is None else np.array(sizes))


def weights(result):
    return [row.weight for row in result.report.rows]


def test_krum_takes_n_f_2_neighbours():
    """Two: 0 → 1+6.25, 1 → 1+2.25, 2.5 → 2.25+4, 4.5 → 4+12.25, 9 → 20.25+42.25. With three, 2.5 would win."""
    result = aggregate("krum", [0, 1, 2.5, 4.5, 9])
    assert result.vector.tolist() == [1]
    assert [row.score for row in result.report.rows] == [7.25, 3.25, 6.25, 16.25, 62.5]
    assert [row.reason for row in result.report.rows] == ["cut by krum", "", *["cut by krum"] * 3]


def test_of_rows_with_equal_scores_krum_takes_the_least_in_any_order():
    """Three neighbours: 1, 2, 3 and 4 have 1+1+4 each."""
    for rows in ([0, 1, 2, 3, 4, 5], [5, 3, 0, 4, 2, 1], [3, 2, 1, 0, 5, 4]):
        assert aggregate("krum", rows).vector.tolist() == [1]


def test_krum_decides_the_same_when_products_are_rounded_otherwise(monkeypatch):
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.integers(-2, 3, (6, 40)), 2, axis=0) + np.arange(12)[:, None] % 2
    right = krum.squared_distances
    chosen = set()
    for seed in range(20):
        noise = np.random.default_rng(seed).uniform(-1, 1, (12, 12))

        def shaken(cloud, precision, noise=noise):
            return right(cloud, precision) * (1 + krum.relative_error(cloud, precision) * (noise + noise.T) / 2)

        monkeypatch.setattr(krum, "squared_distances", shaken)
        chosen.add(aggregate("krum", rows, f=2).vector.tobytes())
    assert len(chosen) == 1


def test_multi_krum_averages_all_but_f_by_declared_size():
    result = aggregate("multi_krum", [0, 1, 2, 3, 100], sizes=[1, 1, 1, 3, 1000])
    assert result.vector.tolist() == [2]
    assert weights(result) == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2, 0])


def test_bulyan_averages_the_values_nearest_to_the_median():
    """Krum takes 2 (1+1+4+4), 3 (1+4+6.25), 1 (1+9); then 4 and 5.5 are each other's nearest, and 4 is nearer to 0;
    then 0 and 5.5 are, and 5.5 is nearer to 1000. Of these five, 2, 3 and 4 are nearest to 3."""
    result = aggregate("bulyan", [1000, 0, 1, 2, 3, 4, 5.5])
    assert result.vector.tolist() == [3]
    assert [row.kept for row in result.report.rows] == [False, False, True, True, True, True, True]


def test_median_and_trimmed_mean():
    rows = [[1, -9], [2, 0], [3, 1], [1e9, 2]]
    assert aggregate("median", rows).vector.tolist() == [2.5, 0.5]
    assert aggregate("trimmed_mean", rows).vector.tolist() == [2.5, 0.5]
    assert aggregate("median", rows[:3]).vector.tolist() == [2, 0]


def test_geometric_median_of_a_triangle_is_where_its_sides_look_equal():
    """Fermat's point of an equilateral triangle is its centre; of a flat one, the wide corner."""
    height = np.sqrt(3) / 2
    centre = aggregate("geometric_median", [[0, 0], [1, 0], [0.5, height]])
    np.testing.assert_allclose(centre.vector, [0.5, height / 3], rtol=1e-6)
    flat = aggregate("geometric_median", [[-10, 0], [10, 0], [0, 1]])
    np.testing.assert_allclose(flat.vector, [0, 1], atol=1e-3)


def test_clips():
    rows = [[3, 4], [0, 1], [0, 0]]
    mean = aggregate("norm_clipped_mean", rows, sizes=[1, 2, 1], l2_clip_norm=2.5)
    np.testing.assert_allclose(mean.vector, [1.5 / 4, (2 + 2) / 4])
    assert weights(mean) == pytest.approx([0.125, 0.5, 0.25])
    assert [(row.score, row.reason) for row in mean.report.rows] == [(5, "clipped"), (1, ""), (0, "")]
    static = aggregate("median", rows, pre=("static_clipping",), l2_clip_norm=2.5)
    assert static.vector.tolist() == [0, 1]
    assert [row.reason for row in static.report.rows] == ["clipped", "", ""]


def test_centered_clipping_moves_a_clip_at_a_time():
    """Ten rows at 10, clip 1: the centre is at 1, 2, 3."""
    result = aggregate("centered_clipping", [10] * 10, l2_clip_norm=1.0)
    np.testing.assert_allclose(result.vector, [3], rtol=1e-6)


def test_mixing_averages_the_nearest_rows():
    """0, 1 and 2 become 1, 10 becomes (10+2+1)/3; the median of 1, 1, 1, 13/3 is 1."""
    result = aggregate("median", [0, 1, 2, 10], pre=("nearest_neighbour_mixing",))
    assert result.vector.tolist() == [1]
    assert result.report.rule == "nearest_neighbour_mixing+median"
    assert weights(result) == pytest.approx([3 / 12, 4 / 12, 4 / 12, 1 / 12])


def test_buckets_follow_from_the_seed_and_the_number_of_rows():
    rows = np.arange(5.0)
    results = {aggregate("median", rows, pre=("bucketing",), seed=bytes([seed])).vector.item() for seed in range(20)}
    assert len(results) > 3
    again = [aggregate("median", rows, pre=("bucketing",), seed=b"a").vector.item() for _ in range(2)]
    assert again[0] == again[1]


def test_weights_say_what_the_result_is_made_of():
    rows = np.random.default_rng(2).standard_normal((21, 30)).astype(np.float32)
    for kind in ("krum", "multi_krum", "geometric_median", "norm_clipped_mean", "centered_clipping"):
        for pre in ((), ("nearest_neighbour_mixing",), ("static_clipping",), ("bucketing",)):
            result = aggregate(kind, rows, f=1, pre=pre, l2_clip_norm=3.0, seed=b"s")
            np.testing.assert_allclose(np.array(weights(result)) @ rows, result.vector, rtol=1e-4, atol=1e-5)


def test_what_a_rule_needs_is_asked_for():
    for kind in ("norm_clipped_mean", "centered_clipping"):
        for clip in (None, 0.0, -1.0, float("inf"), float("nan")):
            with pytest.raises(PolicyViolation, match=f"{kind}: l2_clip_norm {clip}"):
                make_rule(kind, 1, l2_clip_norm=clip)
    with pytest.raises(PolicyViolation, match="static_clipping: l2_clip_norm None"):
        make_rule("median", 1, ("static_clipping",))
    with pytest.raises(PolicyViolation, match="bucketing: no seed"):
        make_rule("median", 1, ("bucketing",))


def test_a_negative_f_is_refused():
    with pytest.raises(PolicyViolation, match="at least 0"):
        aggregate("median", [1, 2, 3], f=-1)


def test_a_message_says_how_many_rows_were_dropped():
    with pytest.raises(ProtocolError, match="2 of 5 rows are not finite or beyond 2\\^50"):
        aggregate("median", [1, 2, np.nan, 3e38, 3])
