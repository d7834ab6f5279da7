"""`almoner release`: answer a request at one site, or show on public data what its ε costs in accuracy."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from almoner.cli.app import console, errors, new_group, print_json
from almoner.experiments.runs import verify_can_hold
from almoner.flare.commands.public_release import public_cells
from almoner.flare.site.site_files import load_kit
from almoner.schema.declarations import declarations_of_study
from almoner.schema.documents import load_document
from almoner.schema.statistics import StatisticsSpec

app = new_group("Answer requests for statistics at one site; show error against ε.")

SPEC_ARGUMENT = typer.Argument(help="a StatisticsSpec, such as jobs/census_release.yaml")
ROOT_OPTION = typer.Option("--root", help="the folder with provisioning/, policies/ and site_configs/")
JSON_OPTION = typer.Option("--json", help="print JSON for scripts")


@app.callback()
def release_group() -> None:
    """Answer requests for statistics at one site; show error against ε."""


@app.command("run")
def run_command(
    spec_path: Annotated[Path, SPEC_ARGUMENT],
    site: Annotated[Path, typer.Option("--site", help="the site's folder: it holds kit/, data/ and ledger/")],
    kit: Annotated[Path, typer.Option("--kit", help="your startup kit: the folder with startup/client.key in it")],
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Answer a request at this site, by its policy, from its account; no server is asked.

    What was answered before is told again for nothing, until the site commits to its data again. Exit code 1 if
    the site refuses.

    Example: almoner release run jobs/census_release.yaml --site build/census/sites/census-office --kit KIT
    """
    from almoner.flare.commands.local_release import release_at_site  # the rules take seconds to import

    spec = load_document(spec_path, StatisticsSpec)
    found = release_at_site(load_kit(site / "kit"), spec, kit)
    if as_json:
        answers = [answer.model_dump(mode="json") for answer in found.answers]
        decision = found.decision.model_dump(mode="json")
        print_json({"decision": decision, "job_id": found.job_id, "repeated": found.repeated, "answers": answers})
    else:
        console.print(found.decision.render())
        for answer in found.answers:
            console.print(answer.sentence)
        if found.repeated:
            console.print(f"the same was asked before (job {found.job_id}): the same numbers again, nothing charged")
        elif found.answers:
            console.print(_split(spec))
    if found.decision.verdict == "refused":
        raise typer.Exit(1)


def _split(spec: StatisticsSpec) -> str:
    """Return how the budget was split."""
    privacy = spec.privacy
    shares = ", ".join(f"{query.name} {query.share:.0%}" for query in spec.queries)
    delta = "" if privacy.mechanism == "integer_laplace" else f" at δ={privacy.target_delta:g}"
    return (
        f"ε={privacy.target_epsilon:g}{delta} for one {privacy.unit} ({privacy.neighboring_relation}), by "
        f"{privacy.mechanism}, split: {shares}"
    )


@app.command("curve")
def curve_command(
    spec_path: Annotated[Path, SPEC_ARGUMENT],
    root: Annotated[Path, ROOT_OPTION] = Path(),
    out: Annotated[Path, typer.Option("--out", help="folder for <job>-curve.png and .csv")] = Path("build/curves"),
    cache: Annotated[Path, typer.Option("--cache", help="where fetched data sets are kept")] = Path("build/cache"),
    runs: Annotated[int, typer.Option("--runs", help="releases at each ε", min=2, max=10_000)] = 200,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Sweep ε over 0.1, 0.3, 1, 3 and 10, compare with the true answer, and draw error against ε beside theory.

    The true answer is used, so only data registered `public: true` may be; the ledger is not involved.

    Example: almoner release curve jobs/census_release.yaml
    """
    from almoner.release.curve import EPSILONS, measure_curve, render_csv  # plots take seconds to import
    from almoner.release.curve_plot import draw_curve

    spec = load_document(spec_path, StatisticsSpec)
    verify_can_hold(out)
    cells = public_cells(spec, declarations_of_study(root, spec.study), cache)
    with Progress(console=errors, disable=not errors.is_terminal) as progress:
        task = progress.add_task("releasing", total=len(EPSILONS) * runs)
        points = measure_curve(spec, cells, lambda epsilon, done: progress.advance(task), runs=runs)
    out.mkdir(parents=True, exist_ok=True)
    png, table = out / f"{spec.name}-curve.png", out / f"{spec.name}-curve.csv"
    draw_curve(points, f"{spec.name}: {runs} releases at each ε, {spec.privacy.mechanism}", png)
    table.write_text(render_csv(points))
    if as_json:
        print_json({"points": [vars(point) for point in points], "png": str(png), "csv": str(table)})
        return
    for point in points:
        console.print(
            f"ε={point.epsilon:<5g} {point.query}: {point.statistic}  error {point.error:.4g}, "
            f"95 % of runs {point.band_low:.4g} to {point.band_high:.4g}, theory {point.theory:.4g}"
        )
    console.print(f"{png}\n{table}")
