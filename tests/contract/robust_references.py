"""Every robust rule as its paper writes it: float64, pair by pair, no tricks. What the fast ones are compared with."""

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


def distances(rows: Points) -> Points:
    return np.array([[np.sum((one - other) ** 2) for other in rows] for one in rows])


def scores(square: Points, f: int) -> Points:
    count = len(square)
    others = [np.sort(np.delete(square[i], i)) for i in range(count)]
    return np.array([row[: max(1, count - f - 2)].sum() for row in others])


def krum(rows: Points, f: int) -> Points:
    return rows[np.argmin(scores(distances(rows), f))]


def multi_krum(rows: Points, f: int) -> Points:
    return rows[np.argsort(scores(distances(rows), f), kind="stable")[: len(rows) - f]].mean(axis=0)


def bulyan(rows: Points, f: int) -> Points:
    square, left, chosen = distances(rows), list(range(len(rows))), []
    for _ in range(len(rows) - 2 * f):
        among = square[np.ix_(left, left)]
        ranks = [(score, *sorted(row)) for score, row in zip(scores(among, f), among.tolist(), strict=True)]
        chosen.append(left.pop(ranks.index(min(ranks))))
    kept = rows[chosen]
    middle = np.median(kept, axis=0)
    nearest = np.argsort(np.abs(kept - middle), axis=0, kind="stable")[: len(chosen) - 2 * f]
    return np.take_along_axis(kept, nearest, axis=0).mean(axis=0)


def median(rows: Points, f: int) -> Points:
    return np.median(rows, axis=0)


def trimmed_mean(rows: Points, f: int) -> Points:
    return np.sort(rows, axis=0)[f : len(rows) - f].mean(axis=0)


def geometric_median(rows: Points, f: int) -> Points:
    point = np.median(rows, axis=0)
    for _ in range(5000):
        inverse = 1 / np.maximum(np.linalg.norm(rows - point, axis=1), 1e-12)
        before, point = point, inverse @ rows / inverse.sum()
        if np.abs(point - before).max() < 1e-12:
            break
    return point


def clipped(rows: Points, clip: float) -> Points:
    norms = np.linalg.norm(rows, axis=1)
    return rows * np.minimum(1, clip / np.maximum(norms, clip))[:, None]


def norm_clipped_mean(rows: Points, sizes: Points, clip: float) -> Points:
    return np.average(clipped(rows, clip), axis=0, weights=sizes)


def centered_clipping(rows: Points, clip: float) -> Points:
    centre = np.zeros(rows.shape[1])
    for _ in range(3):
        centre = centre + clipped(rows - centre, clip).mean(axis=0)
    return centre


def mixed_with_nearest(rows: Points, f: int) -> Points:
    order = np.argsort(distances(rows), axis=1, kind="stable")[:, : len(rows) - f]
    return np.array([rows[near].mean(axis=0) for near in order])
