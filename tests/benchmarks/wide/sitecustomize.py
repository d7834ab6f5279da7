"""Benchmark-only: makes the heart workload's model a vector of a million that nobody trains.

Python imports this module at start where `round_overhead.py` puts this folder on PYTHONPATH. So a round is all that
the platform does in one, and no more: the model is a vector of zeros, and a site's update is one fixed vector.
"""

import hashlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder

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


def keep_path(module):
    allowed = module.site_environment

    def environment(home, inherited):
        return allowed(home, inherited) | {"PYTHONPATH": inherited["PYTHONPATH"]}

    module.site_environment = environment


WRAPPERS = {
    "almoner.workloads.registry": widen_registry,
    "almoner.workloads.heart_disease": widen_model,
    "almoner.flare.local_work": skip_training,
    "almoner.flare.environment": keep_path,
}


class WrappingLoader(Loader):
    def __init__(self, loader, wrapper):
        self.loader, self.wrapper = loader, wrapper

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        self.wrapper(module)

    def __getattr__(self, name):
        return getattr(self.loader, name)


class Finder(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in WRAPPERS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        spec.loader = WrappingLoader(spec.loader, WRAPPERS[name])
        return spec


sys.meta_path.insert(0, Finder())
