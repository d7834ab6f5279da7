"""`almoner redteam run`: the audit, membership inference and reconstruction against one job."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from almoner.cli.app import console, errors, print_json
from almoner.cli.curve import CACHE_OPTION, JSON_OPTION, OUT_OPTION, ROOT_OPTION
from almoner.errors import PolicyViolation
from almoner.experiments.runs import DEFAULT_RUNS, RunFolder, verify_can_hold
from almoner.redteam.run import PARTS, Settings, run_part
from almoner.schema.attacked import attacked_job
from almoner.schema.declarations import declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.workloads.installed import package_digest

REDTEAM = "redteam.json"


def run_command(
    spec_path: Annotated[Path, typer.Argument(help="a training job, such as jobs/heart_disease.yaml")],
    root: Annotated[Path, ROOT_OPTION] = Path(),
    cache: Annotated[Path, CACHE_OPTION] = Path("build/cache"),
    out: Annotated[Path, OUT_OPTION] = DEFAULT_RUNS,
    part: Annotated[list[str] | None, typer.Option("--part", help=f"only {', '.join(PARTS)}; repeatable")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="of all randomness that can be repeated")] = 0,
    canaries: Annotated[int, typer.Option("--canaries", min=1, help="in each run of the audit")] = Settings().canaries,
    runs: Annotated[int, typer.Option("--runs", min=1, max=100, help="of the audit")] = Settings().runs,
    models: Annotated[
        int, typer.Option("--models", min=2, help="trained of each kind for membership inference")
    ] = Settings().models,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Attack a job: is its ε kept, who was in its data, what did its records look like, what can a lying site do.

    The audit puts canaries through the job's real trainer, and through broken ones that it must find. Membership
    inference trains the job many times on halves of its data. Reconstruction takes public pictures out of updates, with
    each protection off and on. Poisoning lets one site lie. All of it on data that is registered public; nothing is
    charged to a ledger. It leaves build/runs/<job>-redteam-<time>-<hex>/ with config.yaml, redteam.json and plots. An
    audit that passes found no violation at 95 %; it proves nothing.

    Example: almoner redteam run jobs/heart_disease.yaml
    """
    started = time.monotonic()
    spec = load_document(spec_path, JobSpec)
    settings, parts = Settings(seed=seed, canaries=canaries, runs=runs, models=models), _chosen(part)
    verify_can_hold(out)
    declarations = declarations_of_study(root, spec.study)
    found = {name: run_part(name, spec, declarations, cache, settings, errors.print) for name in parts}
    facts = {
        "job": spec.name,
        "attacked": attacked_job(spec.model_dump(mode="json"), package_digest()),
        "unit": spec.privacy.unit,
        "seed": seed,
        **{name: one.facts for name, one in found.items()},
        "seconds": round(time.monotonic() - started, 1),
    }
    folder = RunFolder.create(out, f"{spec.name}-redteam")
    folder.write_config(["almoner", *sys.argv[1:]], [spec], [seed])
    folder.write_json(REDTEAM, facts)
    for one in found.values():
        for name, plot in one.plots.items():
            folder.write(name, plot)
    if as_json:
        print_json(facts | {"folder": str(folder.path)})
        return
    for line in (*(line for one in found.values() for line in one.lines), f"{facts['seconds']:.0f} s; {folder.path}"):
        console.print(line)


def _chosen(wanted: list[str] | None) -> tuple[str, ...]:
    """Return the parts that are asked for, all if none is."""
    for name in wanted or ():
        if name not in PARTS:
            raise PolicyViolation(f"part '{name}': unknown → one of {', '.join(PARTS)}")
    return tuple(name for name in PARTS if not wanted or name in wanted)
