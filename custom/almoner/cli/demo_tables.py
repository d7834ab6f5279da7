"""The tables at the end of the demo: how good the model is, and what it cost each hospital."""

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from almoner.experiments.baselines import train_pooled, unsafe_train_alone, unsafe_train_pooled
from almoner.experiments.public import PublicSite, pool
from almoner.experiments.simulate import TrainingPlan
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.results.job_result import JobResult
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import job_events, largest_target_epsilon
from almoner.release.accuracy import NoisyAccuracy
from almoner.release.interpret import interpret, interpret_sum
from almoner.schema.job import JobSpec
from almoner.training.noise import SecureRandom
from almoner.workloads.metrics import figures_at
from almoner.workloads.registry import workload


def model_table(spec: JobSpec, result: JobResult, sites: dict[str, PublicSite]) -> Table:
    """Compare the federated model with its baselines on all hospitals' test records."""
    torch.set_num_threads(1)  # small batches: threads cost far more than they bring
    task = workload(spec.workload)
    plan = TrainingPlan.of(spec)
    noise, epsilon = job_events(spec).noise_multiplier, f"ε={spec.target_epsilon:g} a site"
    rows: list[tuple[str, str, NDArray[np.float64]]] = []
    if result.model is not None:
        rows.append(("federated, DP, encrypted (this job)", epsilon, np.array(result.model)))
    rows.append(("pooled, DP", epsilon, train_pooled(task, sites, plan, noise_multiplier=noise, rng=SecureRandom())))
    rows.append(("pooled, not private", "∞", unsafe_train_pooled(task, sites, rng=SecureRandom())))
    for site, weights in unsafe_train_alone(task, sites, rng=SecureRandom()).items():
        rows.append((f"{site} alone, not private", "∞", weights))
    test = pool(sites).data.test
    title = f"on the {test.num_units} test records of all four hospitals (public data)"
    table = Table("model", "privacy", "accuracy", "AUC", title=title)
    for name, privacy, weights in rows:
        figures = figures_at(task, weights, test)
        table.add_row(name, privacy, f"{figures['accuracy']:.3f}", f"{figures['auc']:.3f}")
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
    asked = f"{spec.target_epsilon:g}" + "".join(f" + {release.epsilon:g}" for release in spec.releases)
    table = Table("site", "ε asked", "ε spent", "ε cap", "left (training ε that fits)", "ledger head")
    for site, policy in consortium.declarations.policies.items():
        with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
            population = consortium.declarations.sites[site].population_of(spec.dataset)
            opened = policy.account_of(population)
            account = ledger.account(opened.population)
            _, head = ledger.head()
        remaining = account.filter.budget - account.rdp_spent
        left = f"{largest_target_epsilon(spec, remaining, account.filter.order):.2f}"
        table.add_row(site, asked, f"{account.epsilon_spent:.3f}", f"{opened.epsilon_cap:g}", left, head[:16])
    return table
