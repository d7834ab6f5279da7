"""What a protection adds to a round of a whole federation: five sites, a model of a million parameters.

One federation of real processes runs jobs without protection, with HE and with secret sharing in turn. The hook
`wide.py` of the integration tests replaces model and training, so that a round has everything but the training. It is
timed as in `flare_overhead`: from a site's one training task to its next, by the clock, all on this machine.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.flare_overhead import BUILD, ROOT, run_job, scratch
from tests.benchmarks.flare_times import Places

from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.session import open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.schema.aggregation import HeAggregation, PlainAggregation, SecaggAggregation
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec

HOOKS = {
    "PYTHONPATH": str(ROOT / "tests" / "integration" / "hooks"),
    "ALMONER_TEST_WIDE": "1",
    "ALMONER_TEST_NO_DEADLINE": "1",
}
LEAD = "lead@cleveland.example"
FIFTH, LIKE = "basel", "hungary"
ROUNDS = 5
JOBS = 3
AGGREGATIONS = {
    "plain": PlainAggregation(kind="plain"),
    "he": HeAggregation(kind="he", num_colluding_sites=1),
    "secagg": SecaggAggregation(kind="secagg", num_colluding_sites=1),
}
WIDER = {
    "max_epsilon_cap: 3.0": "max_epsilon_cap: 100.0",
    "epsilon_cap: 3.0": "epsilon_cap: 100.0",
    "epsilon_per_job: 1.5": "epsilon_per_job: 10.0",
    "min_noise_multiplier: 0.8": "min_noise_multiplier: 0.1",
    "protection: [he, secagg]": "protection: [plain, he, secagg]",
}
"""What the sites of this benchmark admit beyond the checkout's."""


def declare(folder: Path) -> Path:
    """Copy the checkout's declarations, with a fifth site and wider policies."""
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("policies", "site_configs"):
        text = (folder / name / f"{LIKE}.yaml").read_text()
        (folder / name / f"{FIFTH}.yaml").write_text(text.replace(LIKE, FIFTH))
    for policy in (folder / "policies").glob("*.yaml"):
        text = policy.read_text()
        for narrow, wide in WIDER.items():
            text = text.replace(narrow, wide)
        policy.write_text(text)
    consortium = folder / "provisioning" / "consortium.yaml"
    consortium.write_text(consortium.read_text().replace("va-long-beach]\n", f"va-long-beach, {FIFTH}]\n"))
    return folder


def make_consortium(folder: Path) -> ProvisionedConsortium:
    """Provision the five sites, and give the fifth the data of another."""
    consortium = provision(declare(folder / "declared"), folder / "made", free_port())
    prepare_sites(HEART_DISEASE, BUILD / "cache", folder / "made" / "sites")
    fifth = consortium.site_folder(FIFTH) / HEART_DISEASE.site_file
    fifth.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(consortium.site_folder(LIKE) / HEART_DISEASE.site_file, fifth)
    return consortium


def job_spec(kind: str) -> JobSpec:
    """Return the main job with few rounds, without a release, under one protection."""
    spec = load_document(ROOT / "jobs" / "heart_disease.yaml", JobSpec)
    privacy = spec.privacy.model_copy(update={"target_epsilon": 8.0})
    changes = {"privacy": privacy, "releases": (), "rounds": ROUNDS, "min_sites": 5, "name": f"bench-{kind}"}
    return spec.model_copy(update=changes | {"aggregation": AGGREGATIONS[kind]})


def measure() -> dict[str, object]:
    """Run the jobs in turn; the first of each kind is a warm-up."""
    seconds: dict[str, list[float]] = {kind: [] for kind in AGGREGATIONS}
    with scratch() as folder:
        consortium = make_consortium(folder)
        kits = tuple(consortium.site_folder(site) / "kit" for site in consortium.declarations.consortium.sites)
        places = Places(consortium.server_kit, kits, consortium.root / "server" / "jobs")
        with Federation(consortium, HOOKS) as federation:
            federation.start(lambda text: None)
            with open_session(consortium.user_kit(LEAD), job_spec("plain").study) as session:
                for _ in range(JOBS + 1):
                    for kind, found in seconds.items():
                        exported = export_job(job_spec(kind), consortium.declarations, folder / "jobs")
                        found.append(run_job(session, exported, places, ROUNDS).round_s)
    rounds = {kind: statistics.median(found[1:]) for kind, found in seconds.items()}
    return {
        "round_overhead_s": round(rounds["secagg"] - rounds["plain"], 3),
        "round_s": {kind: round(found, 3) for kind, found in rounds.items()},
    }


def in_own_process() -> dict[str, object]:
    """Measure in a process whose heart workload is the wide one."""
    command = [sys.executable, "-m", "tests.benchmarks.round_overhead"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | HOOKS, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    print(json.dumps(measure()), flush=True)
