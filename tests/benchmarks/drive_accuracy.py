"""AUC of the drives' job on each maker's own drives, beside that of the maker's own model without privacy.

    python -m tests.benchmarks drives

Every model is measured on one maker's test drives, mean of three seeds. Noise and samples are seeded.
"""

import statistics
from collections.abc import Callable
from pathlib import Path

from almoner.experiments.baselines import unsafe_fit
from almoner.experiments.public import load_public_sites
from almoner.experiments.simulate import Weights
from almoner.experiments.whole_job import simulate_job
from almoner.schema.declarations import declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.training.noise import UnsafeSeededRandom
from almoner.workloads.metrics import figures_at
from almoner.workloads.registry import workload

ROOT = Path(__file__).parents[2]
SEEDS = range(3)


def run() -> dict[str, object]:
    """Return the mean AUC by maker: of the job, and of the maker alone."""
    spec = load_document(ROOT / "jobs" / "predictive_maintenance.yaml", JobSpec)
    task = workload(spec.workload)
    sites = load_public_sites(spec, declarations_of_study(ROOT, spec.study), ROOT / "build" / "cache")
    jobs = [simulate_job(spec, sites, rng=UnsafeSeededRandom(seed)) for seed in SEEDS]

    def alone(site: str) -> list[Weights]:
        return [unsafe_fit(task, sites[site], UnsafeSeededRandom(seed)) for seed in SEEDS]

    def mean_auc(site: str, models: list[Weights]) -> float:
        return round(statistics.mean(figures_at(task, model, sites[site].data.test)["auc"] for model in models), 3)

    arms: dict[str, Callable[[str], list[Weights]]] = {"job": lambda _: jobs, "alone_non_private": alone}
    return {site: {arm: mean_auc(site, models(site)) for arm, models in arms.items()} for site in sites}
