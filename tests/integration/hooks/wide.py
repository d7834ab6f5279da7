"""Benchmark-only: makes the heart workload's model a vector of a million that nobody trains.

ALMONER_TEST_WIDE=1. So a round is all that the platform does in one, and no more: the model is a vector of zeros, a
site's update a fixed vector.
"""

import hashlib
import os

ON = bool(os.environ.get("ALMONER_TEST_WIDE"))
DIMENSION = 1_000_000


def widen_registry(module):
    from dataclasses import replace

    zeros = hashlib.sha256(bytes(8 * DIMENSION)).hexdigest()
    known = module.WORKLOADS["heart_disease"]
    module.WORKLOADS["heart_disease"] = replace(known, dimension=DIMENSION, initial_weights=zeros)


def widen_model(module):
    import torch

    class Wide(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.values = torch.nn.Parameter(torch.zeros(DIMENSION))

    module.HeartDisease.build_model = lambda self: Wide()


def skip_training(module):
    import numpy as np

    update = np.random.default_rng(1).integers(-1000, 1000, DIMENSION)
    module.LocalWork.train = lambda self, weights: update.copy()


WRAPPERS = {
    "almoner.workloads.registry": widen_registry,
    "almoner.workloads.heart_disease": widen_model,
    "almoner.flare.training.local_work": skip_training,
}
