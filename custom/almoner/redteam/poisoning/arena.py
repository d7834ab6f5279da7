"""Builds the arena of a job: its sites' public data, and its public numbers."""

import tempfile
from pathlib import Path

from almoner.data.prepare import prepare_sites
from almoner.data.registry import public_dataset
from almoner.errors import DataError
from almoner.privacy.plan import job_events
from almoner.redteam.poisoning.duel import Arena
from almoner.redteam.poisoning.tasks import poison_task
from almoner.schema.declarations import Declarations
from almoner.schema.job import JobSpec
from almoner.schema.site import DatasetConfig
from almoner.workloads.base import Workload
from almoner.workloads.baselines import PublicSite, TrainingPlan, verify_public
from almoner.workloads.registry import workload

DEFAULT_CLIP_NORM = 1.0


def load_arena(
    spec: JobSpec, declarations: Declarations, cache: Path, *, rounds: int | None, l2_clip_norm: float | None
) -> Arena:
    """Load what a job would train on, if all of it is registered public.

    Args:
        spec: the job; its noise is that of the whole job, also with fewer rounds.
        declarations: of its consortium.
        cache: folder that keeps the public data's archive.
        rounds: in place of the job's; None for those.
        l2_clip_norm: for rules that clip; None for the job's own, or 1.

    Raises:
        PolicyViolation: a site's data is not registered public, or nothing is known of the workload.
        DataError: a site has no such data, or the data cannot be fetched.
    """
    task, model = poison_task(spec.workload), workload(spec.workload)
    configs = {name: _dataset(site.datasets.get(spec.dataset), name, spec) for name, site in declarations.sites.items()}
    for config in configs.values():
        verify_public(config)
    return Arena(
        workload=model,
        sites=_load(configs, task.dataset, cache, model),
        plan=TrainingPlan(
            rounds=spec.rounds if rounds is None else rounds,
            local_steps=spec.training.local_steps,
            learning_rate=spec.training.learning_rate,
            max_grad_norm=spec.privacy.max_grad_norm,
            sampling_prob=spec.privacy.sampling_prob,
        ),
        noise_multiplier=job_events(spec).noise_multiplier,
        trigger=task.trigger,
        l2_clip_norm=_clip_norm(spec) if l2_clip_norm is None else l2_clip_norm,
    )


def _dataset(config: DatasetConfig | None, site: str, spec: JobSpec) -> DatasetConfig:
    if config is None:
        raise DataError(f"{site}: has no data set {spec.dataset} → add it to its configuration, or choose another job")
    return config


def _load(configs: dict[str, DatasetConfig], dataset: str, cache: Path, model: Workload) -> dict[str, PublicSite]:
    """Lay the public data out in a scratch folder, and load it as the sites would."""
    with tempfile.TemporaryDirectory(prefix="almoner-redteam-") as folder:
        paths = prepare_sites(public_dataset(dataset), cache, Path(folder))
        if missing := sorted(set(configs) - set(paths)):
            raise DataError(f"{dataset}: holds nothing of {', '.join(missing)} → choose a job of its own sites")
        return {site: PublicSite(config, model.load(paths[site])) for site, config in configs.items()}


def _clip_norm(spec: JobSpec) -> float:
    """Return the job's own l2_clip_norm, where it has one."""
    own = getattr(spec.aggregation, "l2_clip_norm", None)
    return DEFAULT_CLIP_NORM if own is None else float(own)
