"""Accuracy of the heart disease job at ε=1 and ε=2, beside what it costs not to have privacy or the others.

    python -m tests.benchmarks.heart_accuracy [cache folder]

Each figure is over five split keys (private arms: three noise seeds each), on the test records of all
four hospitals together. The noise multipliers are PLD's for 20 rounds at q=0.5 and δ=1e-4, rounded up.
Noise and samples are seeded, so the figures repeat. Features and learning rate were chosen on other
split keys, on the training part alone (the records are the same 740).
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from almoner.data.prepare import prepare_sites
from almoner.data.registry import public_dataset
from almoner.experiments.baselines import train_pooled, unsafe_train_alone, unsafe_train_pooled
from almoner.experiments.public import PublicSite, pool
from almoner.experiments.simulate import TrainingPlan, Weights, simulate_federation, unsafe_train_without_noise
from almoner.schema.site import DatasetConfig
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.base import Workload
from almoner.workloads.metrics import accuracy, auc, outputs_at
from almoner.workloads.registry import workload as workload_named

NOMINAL_RECORDS = {"cleveland": 212, "hungary": 183, "switzerland": 32, "va-long-beach": 91}
NOISE_MULTIPLIERS = {"1": 7.30, "2": 4.07}
NOISE_SEEDS = 3
SPLIT_KEYS = tuple(f"heart-accuracy-{number}".encode() for number in range(5))
PLAN = TrainingPlan(rounds=20, local_steps=1, learning_rate=0.5, max_grad_norm=1.0, sampling_prob=0.5)
NON_PRIVATE_ROUNDS = TrainingPlan(rounds=20, local_steps=1, learning_rate=1.0, max_grad_norm=64.0, sampling_prob=1.0)
DEFAULT_CACHE = Path(__file__).parents[2] / "build" / "data-cache"

Sites = Mapping[str, PublicSite]


def load_sites(task: Workload, cache: Path, split_key: bytes) -> dict[str, PublicSite]:
    """Lay the four hospitals out in a scratch folder and load them as the sites would."""
    with tempfile.TemporaryDirectory() as root:
        paths = prepare_sites(public_dataset("heart_disease"), cache, Path(root), split_key=split_key)
        return {site: PublicSite(_config(site), task.load(path)) for site, path in paths.items()}


def _config(site: str) -> DatasetConfig:
    return DatasetConfig(
        population=f"{site}-cardiology",
        path="data/heart.csv",
        nominal_records=NOMINAL_RECORDS[site],
        public=True,
        one_record_per_unit=True,
    )


def _scores(task: Workload, weights: Weights, sites: Sites) -> dict[str, float]:
    test = pool(sites).data.test
    outputs = outputs_at(task, weights, test).numpy().astype(np.float64)
    return {"accuracy": accuracy(task, weights, test), "auc": auc(outputs, test.targets.numpy() > 0.5)}


def _alone(task: Workload, sites: Sites, seed: int) -> dict[str, float]:
    """Each hospital's own model on its own test records, weighted by their number."""
    models = unsafe_train_alone(task, sites, rng=UnsafeSeededRandom(seed))
    tests = {site: data.data.test for site, data in sites.items()}
    correct = sum(accuracy(task, models[site], test) * len(test.unit) for site, test in tests.items())
    return {"accuracy": correct / sum(len(test.unit) for test in tests.values())}


def _arms(task: Workload) -> dict[str, Callable[[Sites, int], dict[str, float]]]:
    arms: dict[str, Callable[[Sites, int], dict[str, float]]] = {
        "pooled_non_private": lambda sites, seed: _scores(
            task, unsafe_train_pooled(task, sites, rng=UnsafeSeededRandom(seed)), sites
        ),
        "federated_non_private": lambda sites, seed: _scores(
            task, unsafe_train_without_noise(task, sites, NON_PRIVATE_ROUNDS, rng=UnsafeSeededRandom(seed)), sites
        ),
        "alone_non_private": lambda sites, seed: _alone(task, sites, seed),
    }
    for epsilon, sigma in NOISE_MULTIPLIERS.items():
        arms[f"federated_epsilon_{epsilon}"] = lambda sites, seed, sigma=sigma: _scores(
            task,
            simulate_federation(task, sites, PLAN, noise_multiplier=sigma, rng=UnsafeSeededRandom(seed)),
            sites,
        )
        arms[f"pooled_epsilon_{epsilon}"] = lambda sites, seed, sigma=sigma: _scores(
            task, train_pooled(task, sites, PLAN, noise_multiplier=sigma, rng=UnsafeSeededRandom(seed)), sites
        )
    return arms


def run(cache: Path = DEFAULT_CACHE) -> dict[str, object]:
    """Measure every arm over all split keys.

    Args:
        cache: folder that keeps the downloaded wheel.

    Returns:
        For each arm the mean and standard deviation of its figures; and the seconds that all took.
    """
    torch.set_num_threads(1)
    started = time.perf_counter()
    task = workload_named("heart_disease")
    folds = [load_sites(task, cache, key) for key in SPLIT_KEYS]
    results: dict[str, object] = {"split_keys": len(folds), "learning_rate": PLAN.learning_rate}
    for name, arm in _arms(task).items():
        seeds = NOISE_SEEDS if "epsilon" in name else 1
        scores = [arm(sites, 10 * fold + seed) for fold, sites in enumerate(folds) for seed in range(seeds)]
        results[name] = {
            figure: {
                "mean": round(statistics.mean(score[figure] for score in scores), 4),
                "stdev": round(statistics.stdev(score[figure] for score in scores), 4),
            }
            for figure in scores[0]
        }
    results["seconds"] = round(time.perf_counter() - started, 1)
    return results


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_CACHE), indent=2))
