"""The tables at the end of the demo: how good the model is, and what it cost each hospital."""

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from almoner.flare.job_result import JobResult
from almoner.flare.provisioning import ProvisionedConsortium
from almoner.flare.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import job_events, largest_target_epsilon
from almoner.release.accuracy import NoisyAccuracy
from almoner.release.interpret import interpret, interpret_sum
from almoner.schema.job import JobSpec
from almoner.training.noise import SecureRandom
from almoner.workloads.base import Workload
from almoner.workloads.baselines import (
    PublicSite,
    TrainingPlan,
    pool,
    train_pooled,
    unsafe_train_alone,
    unsafe_train_pooled,
)
from almoner.workloads.metrics import accuracy, auc, outputs_at
from almoner.workloads.registry import workload


def _public_sites(consortium: ProvisionedConsortium, spec: JobSpec, task: Workload) -> dict[str, PublicSite]:
    """Load all hospitals' data in this process: allowed, since the data set is registered public."""
    sites = {}
    for site, config in consortium.declarations.sites.items():
        dataset = config.datasets[spec.dataset]
        sites[site] = PublicSite(dataset, task.load(consortium.site_folder(site) / dataset.path))
    return sites


def model_table(consortium: ProvisionedConsortium, spec: JobSpec, result: JobResult) -> Table:
    """Compare the federated model with its baselines on all hospitals' test records."""
    torch.set_num_threads(1)  # small batches: threads cost far more than they bring
    task = workload(spec.workload)
    sites = _public_sites(consortium, spec, task)
    plan = TrainingPlan(
        rounds=spec.rounds,
        local_steps=spec.training.local_steps,
        learning_rate=spec.training.learning_rate,
        max_grad_norm=spec.privacy.max_grad_norm,
        sampling_prob=spec.privacy.sampling_prob,
    )
    noise, epsilon = job_events(spec).noise_multiplier, f"ε={spec.privacy.target_epsilon:g} a site"
    rows: list[tuple[str, str, NDArray[np.float64]]] = []
    if result.model is not None:
        rows.append(("federated, DP, encrypted (this job)", epsilon, np.array(result.model)))
    rows.append(("pooled, DP", epsilon, train_pooled(task, sites, plan, noise_multiplier=noise, rng=SecureRandom())))
    rows.append(("pooled, not private", "∞", unsafe_train_pooled(task, sites, rng=SecureRandom())))
    for site, weights in unsafe_train_alone(task, sites, rng=SecureRandom()).items():
        rows.append((f"{site} alone, not private", "∞", weights))
    table = Table(
        "model",
        "privacy",
        "accuracy",
        "AUC",
        title=f"on the {pool(sites).data.test.num_units} test records of all four hospitals (public data)",
    )
    test = pool(sites).data.test
    positive = (test.targets > 0).numpy().reshape(-1)
    for name, privacy, weights in rows:
        scores = outputs_at(task, weights, test).numpy().astype(np.float64).reshape(-1)
        table.add_row(name, privacy, f"{accuracy(task, weights, test):.3f}", f"{auc(scores, positive):.3f}")
    return table


def release_lines(spec: JobSpec, result: JobResult) -> list[str]:
    """Say what each site's noised accuracy tells, and what their sum does."""
    if not spec.releases:
        return []
    epsilon = spec.releases[0].epsilon
    releases = {site: NoisyAccuracy.from_bytes(bytes.fromhex(text)) for site, text in result.releases.items()}
    lines = [
        f"{site}: {interpret(release.noisy_correct, release.noisy_wrong, epsilon).text}"
        for site, release in releases.items()
    ]
    return [*lines, f"{len(releases)} sites together: {interpret_sum(list(releases.values()), epsilon).text}"]


def account_table(consortium: ProvisionedConsortium, spec: JobSpec) -> Table:
    """Show each site's account after the job."""
    asked = f"{spec.privacy.target_epsilon:g}" + "".join(f" + {release.epsilon:g}" for release in spec.releases)
    table = Table("site", "ε asked", "ε spent", "ε cap", "left (training ε that fits)", "ledger head")
    for site, policy in consortium.declarations.policies.items():
        with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
            population = consortium.declarations.sites[site].population_of(spec.dataset)
            opened = policy.account_of(population)
            account = ledger.account(opened.population)
            _, head = ledger.head()
        left = f"{largest_target_epsilon(spec, account.filter.budget - account.rdp_spent, account.filter.order):.2f}"
        table.add_row(site, asked, f"{account.epsilon_spent:.3f}", f"{opened.epsilon_cap:g}", left, head[:16])
    return table
