"""Builds the arena of a job: its sites' public data, and its public numbers."""

from dataclasses import replace
from pathlib import Path

from almoner.errors import PolicyViolation
from almoner.experiments.defences import clip_norm_of
from almoner.experiments.public import load_public_sites
from almoner.experiments.simulate import TrainingPlan
from almoner.privacy.plan import job_events
from almoner.redteam.poisoning.duel import Arena
from almoner.redteam.poisoning.tasks import trigger_for
from almoner.schema.declarations import Declarations
from almoner.schema.job import JobSpec
from almoner.workloads.registry import workload


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
        PolicyViolation: a site's data is not registered public, nothing is known of the workload, or the job's noise is
            not each site's own.
        DataError: a site has no such data, or the data cannot be fetched.
    """
    trigger, plan = trigger_for(spec.workload), TrainingPlan.of(spec)
    if spec.privacy.mechanism != "dp_sgd":
        raise PolicyViolation(
            f"job {spec.name}: duels are fought with each site's own noise → choose a job with mechanism dp_sgd"
        )
    return Arena(
        workload=workload(spec.workload),
        sites=load_public_sites(spec, declarations, cache),
        plan=plan if rounds is None else replace(plan, rounds=rounds),
        noise_multiplier=job_events(spec).noise_multiplier,
        trigger=trigger,
        l2_clip_norm=clip_norm_of(spec) if l2_clip_norm is None else l2_clip_norm,
    )
