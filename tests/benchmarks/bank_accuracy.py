"""AUC and average precision of the bank job at its ε, beside what it costs not to have privacy or the others.

    python -m tests.benchmarks.bank_accuracy [cache folder]

Each figure is the mean and standard deviation over seeds (noise and samples), on the job's own split. `all` is one
ranking of the ten banks' test accounts together; `own` is the mean over banks of the figure on each bank's own, where a
bank that trains alone uses its own model. Hyper-parameters and features were chosen on a split of the training accounts.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from almoner.data.prepare import prepare_sites
from almoner.data.registry import public_dataset
from almoner.privacy.calibration import calibrate_noise
from almoner.schema.declarations import declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.units import UnitRecords
from almoner.workloads.base import Workload
from almoner.workloads.baselines import (
    PublicSite,
    TrainingPlan,
    Weights,
    pool,
    simulate_federation,
    train_pooled,
    unsafe_train_without_noise,
)
from almoner.workloads.metrics import auc, average_precision, outputs_at
from almoner.workloads.registry import workload as workload_named

ROOT = Path(__file__).parents[2]
DEFAULT_CACHE = ROOT / "build" / "cache"
SEEDS = 3

Sites = Mapping[str, PublicSite]
Models = Mapping[str, Weights]
"""Which model each bank uses."""


def load_banks(task: Workload, spec: JobSpec, cache: Path) -> dict[str, PublicSite]:
    """Lay the ten banks out in a scratch folder and load them as the sites would, with their declared sizes."""
    declared = declarations_of_study(ROOT, spec.study).sites
    with tempfile.TemporaryDirectory() as folder:
        paths = prepare_sites(public_dataset(spec.dataset), cache, Path(folder))
        return {
            site: PublicSite(declared[site].datasets[spec.dataset], task.load(path)) for site, path in paths.items()
        }


def plan_of(spec: JobSpec) -> TrainingPlan:
    """Return the job's public numbers."""
    return TrainingPlan(
        rounds=spec.rounds,
        local_steps=spec.training.local_steps,
        learning_rate=spec.training.learning_rate,
        max_grad_norm=spec.privacy.max_grad_norm,
        sampling_prob=spec.privacy.sampling_prob,
    )


def _figures(task: Workload, weights: Weights, test: UnitRecords) -> tuple[float, float]:
    scores = outputs_at(task, weights, test).numpy().astype(np.float64)
    defaulted = test.targets.numpy() > 0.5
    return auc(scores, defaulted), average_precision(scores, defaulted)


def _scores(task: Workload, models: Models, sites: Sites) -> dict[str, float]:
    own = [_figures(task, models[name], site.data.test) for name, site in sites.items()]
    scores = {
        f"own_{name}": statistics.mean(figures)
        for name, figures in zip(("auc", "ap"), zip(*own, strict=True), strict=True)
    }
    if len({id(weights) for weights in models.values()}) == 1:
        together = _figures(task, next(iter(models.values())), pool(sites).data.test)
        scores |= dict(zip(("all_auc", "all_ap"), together, strict=True))
    return scores


def _arms(task: Workload, sites: Sites, spec: JobSpec) -> dict[str, Callable[[int], Models]]:
    plan, privacy = plan_of(spec), spec.privacy
    sigma = calibrate_noise(privacy.target_epsilon, privacy.target_delta, privacy.sampling_prob, spec.num_steps)
    longer = replace(plan, rounds=3 * plan.rounds)

    def shared(train: Callable[[UnsafeSeededRandom], Weights]) -> Callable[[int], Models]:
        return lambda seed: dict.fromkeys(sites, train(UnsafeSeededRandom(seed)))

    def alone(train: Callable[[Sites, UnsafeSeededRandom], Weights]) -> Callable[[int], Models]:
        return lambda seed: {name: train({name: site}, UnsafeSeededRandom(seed)) for name, site in sites.items()}

    return {
        "federated_private": shared(
            lambda rng: simulate_federation(task, sites, plan, noise_multiplier=sigma, rng=rng)
        ),
        "pooled_private": shared(lambda rng: train_pooled(task, sites, plan, noise_multiplier=sigma, rng=rng)),
        "alone_private": alone(lambda own, rng: simulate_federation(task, own, plan, noise_multiplier=sigma, rng=rng)),
        "federated_non_private": shared(lambda rng: unsafe_train_without_noise(task, sites, longer, rng=rng)),
        "pooled_non_private": shared(
            lambda rng: unsafe_train_without_noise(task, {"pooled": pool(sites)}, longer, rng=rng)
        ),
        "alone_non_private": alone(lambda own, rng: unsafe_train_without_noise(task, own, longer, rng=rng)),
    }


def run(cache: Path = DEFAULT_CACHE) -> dict[str, object]:
    """Measure every arm.

    Args:
        cache: folder that keeps the downloaded wheel.

    Returns:
        For each arm the mean and standard deviation of its figures; and the seconds that all took.
    """
    torch.set_num_threads(1)
    started = time.perf_counter()
    spec = load_document(ROOT / "jobs" / "bank_credit_plain.yaml", JobSpec)
    task = workload_named(spec.workload)
    sites = load_banks(task, spec, cache)
    results: dict[str, object] = {"target_epsilon": spec.privacy.target_epsilon, "seeds": SEEDS}
    for name, train in _arms(task, sites, spec).items():
        scores = [_scores(task, train(seed), sites) for seed in range(SEEDS)]
        results[name] = {
            figure: {
                "mean": round(statistics.mean(score[figure] for score in scores), 4),
                "stdev": round(statistics.stdev(score[figure] for score in scores), 4),
            }
            for figure in scores[0]
        }
        print(name, results[name], file=sys.stderr, flush=True)
    results["seconds"] = round(time.perf_counter() - started, 1)
    return results


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_CACHE), indent=2))
