"""AUC and average precision of the bank job at its ε, beside what it costs not to have privacy or the others.

    python -m tests.benchmarks.bank_accuracy [cache folder]

Each figure is the mean and standard deviation over seeds (noise and samples), on the job's own split. `all` is one
ranking of the ten banks' test accounts together; `own` is the mean over banks of the figure on each bank's own, where
a bank that trains alone uses its own model. Non-private arms clip as the others do, and train three times as long.
Hyper-parameters and features were chosen on a split of the training accounts.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from almoner.experiments.public import PublicSite, load_public_sites, pool
from almoner.experiments.simulate import TrainingPlan, Weights, simulate_federation, unsafe_train_without_noise
from almoner.privacy.calibration import calibrate_noise
from almoner.schema.declarations import declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.units import UnitRecords
from almoner.workloads.base import Workload
from almoner.workloads.metrics import auc, average_precision, outputs_at
from almoner.workloads.registry import workload as workload_named

ROOT = Path(__file__).parents[2]
DEFAULT_CACHE = ROOT / "build" / "cache"
SEEDS = 3

Sites = Mapping[str, PublicSite]
Arm = Callable[[int], dict[str, float]]


def _figures(task: Workload, weights: Weights, test: UnitRecords) -> tuple[float, float]:
    """Return AUC and average precision."""
    scores = outputs_at(task, weights, test).numpy().astype(np.float64)
    defaulted = test.targets.numpy() > 0.5
    return auc(scores, defaulted), average_precision(scores, defaulted)


def _shared(task: Workload, weights: Weights, sites: Sites) -> dict[str, float]:
    """Return the figures of one model."""
    together = _figures(task, weights, pool(sites).data.test)
    return {"all_auc": together[0], "all_ap": together[1]} | _own(task, dict.fromkeys(sites, weights), sites)


def _own(task: Workload, models: Mapping[str, Weights], sites: Sites) -> dict[str, float]:
    """Return the mean figures of the banks, each with its model on its own accounts."""
    figures = [_figures(task, models[name], site.data.test) for name, site in sites.items()]
    return {"own_auc": statistics.mean(one[0] for one in figures), "own_ap": statistics.mean(one[1] for one in figures)}


def _arms(task: Workload, sites: Sites, spec: JobSpec) -> dict[str, Arm]:
    """Return what is measured: seed to figures."""
    plan, privacy = TrainingPlan.of(spec), spec.privacy
    sigma = calibrate_noise(privacy.target_epsilon, privacy.target_delta, privacy.sampling_prob, spec.num_steps)
    longer = replace(plan, rounds=3 * plan.rounds)
    pooled = {"pooled": pool(sites)}

    def private(over: Sites, seed: int) -> Weights:
        return simulate_federation(task, over, plan, noise_multiplier=sigma, rng=UnsafeSeededRandom(seed))

    def non_private(over: Sites, seed: int) -> Weights:
        return unsafe_train_without_noise(task, over, longer, rng=UnsafeSeededRandom(seed))

    arms: dict[str, Arm] = {}
    for name, train in (("private", private), ("non_private", non_private)):
        arms[f"federated_{name}"] = lambda seed, train=train: _shared(task, train(sites, seed), sites)
        arms[f"pooled_{name}"] = lambda seed, train=train: _shared(task, train(pooled, seed), sites)
        arms[f"alone_{name}"] = lambda seed, train=train: _own(
            task, {bank: train({bank: site}, seed) for bank, site in sites.items()}, sites
        )
    return arms


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
    sites = load_public_sites(spec, declarations_of_study(ROOT, spec.study), cache)
    results: dict[str, object] = {"target_epsilon": spec.privacy.target_epsilon, "seeds": SEEDS}
    for name, arm in _arms(task, sites, spec).items():
        scores = [arm(seed) for seed in range(SEEDS)]
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
