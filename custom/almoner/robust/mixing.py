"""Pre-aggregations that average rows with others, so that a rule sees rows which differ less."""

import hashlib

import numpy as np

from almoner.robust.cloud import Cloud
from almoner.robust.conditions import BUCKET_SIZE
from almoner.robust.distances import squared_distances
from almoner.robust.rule import PreAggregation


class NearestNeighbourMixing(PreAggregation):
    """Replace each row by the mean of the n − f rows nearest to it, itself among them.

    *Guarantee*: an honest row's replacement lies within one honest diameter of it.

    Reference: Allouah et al., arXiv:2302.01772, Algorithm 2.
    """

    kind = "nearest_neighbour_mixing"

    def apply(self, cloud: Cloud, num_byzantine: int) -> Cloud:
        """Mix the rows."""
        count = cloud.num_rows - num_byzantine
        nearest = np.argsort(squared_distances(cloud), axis=1, kind="stable")[:, :count]
        mixing = np.zeros((cloud.num_rows, cloud.num_rows))
        np.put_along_axis(mixing, nearest, 1 / count, axis=1)
        return cloud.mixed(mixing)


class Bucketing(PreAggregation):
    """Put the rows into buckets of two, at random, and go on with the means of the buckets.

    *Guarantee*: at most f buckets have a Byzantine row. The buckets follow from the seed and the number of rows.

    Reference: Karimireddy et al., arXiv:2006.09365, Algorithm 1.

    Args:
        seed: public, and other for each round; no sender may know it before all rows are there.
    """

    kind = "bucketing"

    def __init__(self, seed: bytes) -> None:
        self.seed = seed

    def apply(self, cloud: Cloud, num_byzantine: int) -> Cloud:
        """Average the buckets."""
        drawn = sorted(range(cloud.num_rows), key=lambda row: hashlib.sha256(self.seed + row.to_bytes(4)).digest())
        owners = np.empty(cloud.num_rows, dtype=np.intp)
        owners[drawn] = np.arange(cloud.num_rows) // BUCKET_SIZE
        member = owners == np.arange(owners.max() + 1)[:, None]
        mixing = member / member.sum(axis=1, keepdims=True)
        return cloud.mixed(mixing, owners, member @ cloud.sizes)
