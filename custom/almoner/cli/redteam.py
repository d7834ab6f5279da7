"""`almoner redteam`: attack what the platform claims, in this process and on public data alone."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from almoner.cli.app import console, new_group, print_json
from almoner.cli.curve import ROUNDS_OPTION
from almoner.cli.progress import RunProgress
from almoner.cli.redteam_run import run_command
from almoner.data.atomic import write_atomically
from almoner.errors import PolicyViolation
from almoner.experiments.defences import Defence
from almoner.experiments.runs import verify_can_hold
from almoner.redteam.poisoning.arena import load_arena
from almoner.redteam.poisoning.catalogue import ATTACKS
from almoner.redteam.poisoning.defences import defences_for
from almoner.redteam.poisoning.duel import Arena
from almoner.redteam.poisoning.matrix import Contest, run_duels
from almoner.redteam.poisoning.plots import heat_maps
from almoner.redteam.poisoning.summary import summarise
from almoner.redteam.poisoning.tables import render_csv, render_summary, summary_json
from almoner.schema.declarations import declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec

app = new_group("Attack what the platform claims; on public data alone.")
app.command("run")(run_command)


@app.callback()
def redteam_group() -> None:
    """Attack what the platform claims; on public data alone."""


@app.command("poison")
def poison_command(
    spec_path: Annotated[Path, typer.Argument(help="a JobSpec, such as jobs/bank_credit.yaml")],
    root: Annotated[Path, typer.Option("--root", help="the folder with provisioning/ and site_configs/")] = Path(),
    cache: Annotated[Path, typer.Option("--cache", help="keeps the public data's archive")] = Path("build/cache"),
    out: Annotated[Path, typer.Option("--out", help="folder for heat map, CSV and JSON")] = Path("build/redteam"),
    attack: Annotated[list[str] | None, typer.Option("--attack", help="only this attack; repeatable")] = None,
    defence: Annotated[list[str] | None, typer.Option("--defence", help="only this defence; repeatable")] = None,
    num_byzantine: Annotated[
        list[int] | None, typer.Option("--num-byzantine", help="sites that lie, f; repeatable; 1 and 2 if not given")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="runs of each cell; figures are their means")] = 1,
    rounds: Annotated[int | None, ROUNDS_OPTION] = None,
    l2_clip_norm: Annotated[
        float | None, typer.Option("--l2-clip-norm", min=1e-6, max=1e6, help="for rules that clip")
    ] = None,
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="runs at a time")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Let some of a job's sites lie, by each attack against each rule, and say what the model is then worth.

    The sites train in this process as they would in the job, with its noise, on data that is registered public;
    any other is refused. Nothing is charged to a ledger.

    Example: almoner redteam poison jobs/bank_credit.yaml --rounds 5
    """
    started = time.monotonic()
    spec = load_document(spec_path, JobSpec)
    attacks, defences = _chosen(attack, tuple(ATTACKS), "attack"), _chosen_defences(defence, defences_for(spec))
    verify_can_hold(out)
    arena = load_arena(spec, declarations_of_study(root, spec.study), cache, rounds=rounds, l2_clip_norm=l2_clip_norm)
    liars = tuple(dict.fromkeys(num_byzantine or (1, 2)))
    contest = Contest(len(arena.sites), attacks, defences, liars, tuple(range(seeds)))
    scores = run_duels(arena, contest.duels, processes, RunProgress())
    summary = summarise(contest, scores)
    facts = _facts(spec, arena, contest) | summary_json(summary) | {"seconds": round(time.monotonic() - started, 1)}
    write_atomically(out / f"poison-{spec.name}.json", (json.dumps(facts, indent=2) + "\n").encode())
    write_atomically(out / f"poison-{spec.name}.csv", render_csv(scores).encode())
    write_atomically(out / f"poison-{spec.name}.png", heat_maps(summary, _title(facts)))
    if as_json:
        print_json(facts)
        return
    for line in (_title(facts), *render_summary(summary), f"heat map, CSV, JSON: {out}/poison-{spec.name}.*"):
        console.print(line)


def _chosen(wanted: list[str] | None, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return the names that are asked for, all if none is."""
    for name in wanted or ():
        if name not in known:
            raise PolicyViolation(f"{what} '{name}': unknown → one of {', '.join(known)}")
    return tuple(dict.fromkeys(wanted)) if wanted else known


def _chosen_defences(wanted: list[str] | None, known: tuple[Defence, ...]) -> tuple[Defence, ...]:
    by_name = {defence.name: defence for defence in known}
    return tuple(by_name[name] for name in _chosen(wanted, tuple(by_name), "defence"))


def _facts(spec: JobSpec, arena: Arena, contest: Contest) -> dict[str, Any]:
    """Return what the figures are about."""
    return {
        "job": spec.name,
        "rounds": arena.plan.rounds,
        "local_steps": arena.plan.local_steps,
        "target_epsilon": spec.target_epsilon,
        "target_delta": spec.target_delta,
        "unit": spec.privacy.unit,
        "noise_multiplier": arena.noise_multiplier,
        "l2_clip_norm": arena.l2_clip_norm,
        "sites": {name: site.config.nominal_records for name, site in arena.sites.items()},
        "seeds": list(contest.seeds),
        "lying_sites": {
            str(seed): [list(arena.sites)[index] for index in arena.colluders(seed, max(contest.num_byzantine))]
            for seed in contest.seeds
        },
        "test_records": len(arena.test.unit),
    }


def _title(facts: dict[str, Any]) -> str:
    return (
        f"{facts['job']}: {len(facts['sites'])} sites, {facts['rounds']} rounds, ε={facts['target_epsilon']:g} "
        f"(δ={facts['target_delta']:g}, {facts['unit']}) over the whole job, {len(facts['seeds'])} seeds"
    )
