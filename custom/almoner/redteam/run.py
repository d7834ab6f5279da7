"""The whole red team against one job: each part's figures, plots and lines, all from one seed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from almoner.experiments.defences import RobustRule
from almoner.experiments.public import load_public_sites
from almoner.redteam.audit.report import audit_job, audit_json
from almoner.redteam.lines import audit_lines, membership_lines, reconstruction_lines
from almoner.redteam.membership.study import infer_membership, membership_json
from almoner.redteam.plots import draw_audit, draw_pictures, draw_roc
from almoner.redteam.poisoning.arena import load_arena
from almoner.redteam.poisoning.catalogue import ATTACKS
from almoner.redteam.poisoning.matrix import Contest, run_duels
from almoner.redteam.poisoning.plots import heat_maps
from almoner.redteam.poisoning.summary import summarise
from almoner.redteam.poisoning.tables import render_summary, summary_json
from almoner.redteam.poisoning.tasks import TRIGGERS
from almoner.redteam.reconstruction.pictures import public_digits
from almoner.redteam.reconstruction.pinning import refusals
from almoner.redteam.reconstruction.study import (
    BATCH_SIZES,
    Effort,
    job_protection,
    reconstruct,
    reconstruction_json,
)
from almoner.schema.declarations import Declarations, job_sites
from almoner.schema.job import JobSpec
from almoner.workloads.registry import workload

PARTS = ("audit", "membership", "reconstruction", "poisoning")

_LIARS = 1
_DEFENCE = RobustRule("median")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How large the attacks are.

    Args:
        seed: of all randomness but that of the audit's replayed step and of its second count of draws, which is the
            sites' own.
        canaries: m, in each run of the audit.
        runs: of the audit.
        models: trained for each set of units in membership inference; each is the target once.
        effort: of reconstruction.
    """

    seed: int = 0
    canaries: int = 1000
    runs: int = 12
    models: int = 32
    effort: Effort = field(default_factory=Effort)


@dataclass(frozen=True, slots=True)
class Part:
    """What one part gives.

    Args:
        facts: for redteam.json.
        plots: PNG files by name.
        lines: for the reader.
    """

    facts: dict[str, Any]
    plots: dict[str, bytes]
    lines: list[str]


Say = Callable[[str], None]


def run_part(part: str, spec: JobSpec, declarations: Declarations, cache: Path, settings: Settings, say: Say) -> Part:
    """Run one of `PARTS` on public data, in this process.

    Args:
        part: its name.
        spec: the job.
        declarations: of its consortium.
        cache: keeps the public data's archives.
        settings: how large.
        say: is told now and then how far it is.

    Raises:
        PolicyViolation: the job's data is not registered public, or its trainer claims nothing.
        DataError: the data cannot be fetched.
    """
    if spec.privacy.mechanism == "distributed_dp" and part != "audit":
        return _not_run(part, settings, "no site's noise is its own → attack the same job with mechanism dp_sgd")
    match part:
        case "audit":
            return _audit(spec, declarations, settings)
        case "membership":
            return _membership(spec, declarations, cache, settings, say)
        case "reconstruction":
            return _reconstruction(spec, cache, settings)
        case _:
            return _poisoning(spec, declarations, cache, settings, say)


def _not_run(part: str, settings: Settings, why: str) -> Part:
    said = f"not run: {why}"
    return Part({"seed": settings.seed, "not_run": said}, {}, [f"{part}: {said}"])


def _audit(spec: JobSpec, declarations: Declarations, settings: Settings) -> Part:
    sites = len(job_sites(spec, declarations))
    audit = audit_job(spec, sites, num_canaries=settings.canaries, num_runs=settings.runs, seed=settings.seed)
    return Part(audit_json(audit), {"audit.png": draw_audit(audit)}, audit_lines(audit))


def _membership(spec: JobSpec, declarations: Declarations, cache: Path, settings: Settings, say: Say) -> Part:
    sites = load_public_sites(spec, declarations, cache)
    task = workload(spec.workload)
    arms = infer_membership(spec, task, sites, models=settings.models, seed=settings.seed, say=say)
    return Part(
        {"seed": settings.seed, "arms": membership_json(arms)}, {"roc.png": draw_roc(arms)}, membership_lines(arms)
    )


def _poisoning(spec: JobSpec, declarations: Declarations, cache: Path, settings: Settings, say: Say) -> Part:
    """Let one site lie by each attack, against the plain sum and the median; `redteam poison` has the other rules."""
    if spec.workload not in TRIGGERS:
        return _not_run("poisoning", settings, f"no trigger of a backdoor is known for workload {spec.workload}")
    arena = load_arena(spec, declarations, cache, rounds=None, l2_clip_norm=None)
    contest = Contest(len(arena.sites), tuple(ATTACKS), (_DEFENCE,), (_LIARS,), (settings.seed,))

    def progress(done: int, total: int) -> None:
        if done == total:
            say(f"poisoning: {total} federations trained")

    summary = summarise(contest, run_duels(arena, contest.duels, 1, progress))
    title = f"{spec.name}: one of {len(arena.sites)} sites lies, seed {settings.seed}"
    lines = ["poisoning", *(f"  {line}" for line in render_summary(summary))]
    return Part({"seed": settings.seed, **summary_json(summary)}, {"poisoning.png": heat_maps(summary, title)}, lines)


def _reconstruction(spec: JobSpec, cache: Path, settings: Settings) -> Part:
    digits = public_digits(cache)
    outcomes, bound = reconstruct(spec, digits, settings.seed, settings.effort)
    refused = refusals(digits.features[:1000].double().numpy(), settings.seed)
    kinds = [("inversion", batch) for batch in BATCH_SIZES] + [("crafted weights", BATCH_SIZES[-1])]
    plots = {
        f"{attack.replace(' ', '-')}-{batch}.png": draw_pictures(outcomes, attack, batch)
        for attack, batch in [*kinds, ("gradient matching", 1)]
    }
    found = reconstruction_json(job_protection(spec), outcomes, bound)
    facts = {"seed": settings.seed, **found, "refusals": refused}
    return Part(facts, plots, reconstruction_lines(outcomes, bound, refused))
