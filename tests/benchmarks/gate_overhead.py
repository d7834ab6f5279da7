"""What the gate costs a job: the heart job on two federations that run side by side, one without the gate.

Their jobs alternate, so that both meet the same load; the gate is taken out as in the tests of its attacks. The
fixed time at which decisions leave is no part of the gate and is out in both; `decision_deadline_s` says what it is.
"""

import statistics
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.flare_overhead import ROOT, heart_spec, run_job, running_consortium, scratch
from tests.benchmarks.flare_times import Places

from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.session import open_session
from almoner.flare.gates.deploy_processor import DECISION_SECONDS

JOBS = 3
LEAD = "lead@cleveland.example"
GATED = {"PYTHONPATH": str(ROOT / "tests" / "integration" / "hooks"), "ALMONER_TEST_NO_DEADLINE": "1"}
UNGATED = GATED | {"ALMONER_TEST_UNGATED": "all"}


def run() -> dict[str, object]:
    """Measure both; figures in seconds, medians over `jobs` jobs, the first of each left out as a warm-up."""
    spec = heart_spec()
    seconds: dict[str, list[float]] = {"gated": [], "ungated": []}
    with scratch() as folder, ExitStack() as running:
        consortia = {
            name: running.enter_context(running_consortium(Path(folder) / name, environment))
            for name, environment in (("gated", GATED), ("ungated", UNGATED))
        }
        for _ in range(JOBS + 1):
            for name, consortium in consortia.items():
                sites = consortium.declarations.consortium.sites
                kits = tuple(consortium.site_folder(site) / "kit" for site in sites)
                places = Places(consortium.server_kit, kits, consortium.root / "server" / "jobs")
                with open_session(consortium.user_kit(LEAD), spec.study) as session:
                    exported = export_job(spec, consortium.declarations, consortium.root / "jobs")
                    times = run_job(session, exported, places, spec.rounds)
                seconds[name].append(sum(times.phases.values()))
    gated, ungated = (statistics.median(seconds[name][1:]) for name in ("gated", "ungated"))
    return {
        "job_overhead_s": round(gated - ungated, 3),
        "job_s": round(gated, 2),
        "job_s_ungated": round(ungated, 2),
        "decision_deadline_s": DECISION_SECONDS,
        "jobs": JOBS,
    }
