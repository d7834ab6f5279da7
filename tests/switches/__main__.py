"""Try controls: each one's test passes with it, and fails by its own assertion when it alone is switched off.

Example: python -m tests.switches T-01 T-04
Example: python -m tests.switches            (all of them; minutes)
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from almoner.schema.documents import load_document
from almoner.schema.threat_model import Control, Threat, ThreatModel

ROOT = Path(__file__).resolve().parents[2]
HOOKS = ROOT / "tests" / "integration" / "hooks"
ASSERTIONS = ("AssertionError", "Failed")
"""By what a test must fail: its own assertion, or pytest's "did not raise". By any other, the stand-in is at fault."""
SECONDS = 600


@dataclass(frozen=True)
class Trial:
    """What was seen of one control.

    Args:
        verdict: `stops it`, or what is wrong.
        seen: by what the test failed without the control.
    """

    threat: str
    code: str
    test: str
    verdict: str
    seen: str
    seconds: float


def run(test: str, control: Control | None) -> tuple[list[dict[str, Any]], bool, str]:
    """Run a test; return its reports, whether the control was taken out, and what pytest printed last."""
    with tempfile.TemporaryDirectory() as folder:
        outcome, seen = Path(folder) / "outcome", Path(folder) / "seen"
        environment = os.environ | {"ALMONER_TEST_OUTCOME": str(outcome), "ALMONER_TEST_OFF_SEEN": str(seen)}
        environment |= {"OMP_NUM_THREADS": "1", "HYPOTHESIS_STORAGE_DIRECTORY": f"{folder}/examples"}
        if control is not None:
            switch = {"code": control.code, "off": control.without}
            environment |= {"PYTHONPATH": str(HOOKS), "ALMONER_TEST_OFF": json.dumps([switch])}
        options = ["-q", "-p", "tests.switches.outcome", "--tb=short"]
        command = [sys.executable, "-m", "pytest", *options, f"--basetemp={folder}/tmp", test]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        reports = [json.loads(line) for line in outcome.read_text().splitlines()] if outcome.exists() else []
        return reports, seen.exists(), (done.stdout + done.stderr)[-2000:]


def try_control(threat: Threat, control: Control, verbose: bool) -> Trial:
    """Run a control's test with it and without it."""
    start = time.monotonic()
    with_it, _, printed = run(control.test, None)
    failed = [report for report in with_it if report["outcome"] == "failed"]
    if failed or not any(report["when"] == "call" and report["outcome"] == "passed" for report in with_it):
        verdict, seen = "its test does not pass", failed[0]["message"] if failed else "no test ran"
    else:
        reports, taken_out, printed = run(control.test, control)
        failures = [report for report in reports if report["outcome"] == "failed"]
        found = [report for report in failures if report["when"] == "call" and report["kind"] in ASSERTIONS]
        seen = next((f"{report['kind']}: {report['message']}" for report in [*found, *failures]), "")
        if not taken_out:
            verdict = "not taken out: the test never imports it, or its name or expression is wrong"
        elif not failures:
            verdict = "THE TEST PASSES WITHOUT IT"
        else:
            verdict = "stops it" if found else "the stand-in does not fit"
    if verbose and verdict != "stops it":
        print(printed)
    return Trial(threat.id, control.code, control.test, verdict, seen, round(time.monotonic() - start, 1))


def main(arguments: list[str] | None = None) -> int:
    """Try the controls of the threats named, or of all; return 1 if one does not stop its threat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("threats", nargs="*", help="such as T-01; all if none is given")
    parser.add_argument("--file", type=Path, default=ROOT / "threat_model" / "threats.yaml")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--verbose", action="store_true", help="print what pytest said of those that fail")
    parser.add_argument("--report", type=Path, default=ROOT / "build" / "switches.json")
    chosen = parser.parse_args(arguments)
    threats = load_document(chosen.file, ThreatModel).threats
    if unknown := set(chosen.threats) - {threat.id for threat in threats}:
        parser.error(f"{chosen.file} has no {', '.join(sorted(unknown))}")
    pairs = [(t, control) for t in threats if not chosen.threats or t.id in chosen.threats for control in t.controls]
    trials = []
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for trial in pool.map(lambda pair: try_control(*pair, verbose=chosen.verbose), pairs):
            trials.append(trial)
            print(f"{trial.threat:6} {trial.verdict:10} {trial.code}", flush=True)
            print(f"       {trial.test}  ({trial.seconds:.0f} s)  without it: {trial.seen or '-'}", flush=True)
    chosen.report.parent.mkdir(exist_ok=True)
    chosen.report.write_text(json.dumps([asdict(trial) for trial in trials], indent=1) + "\n")
    good = sum(trial.verdict == "stops it" for trial in trials)
    print(f"{good} of {len(trials)} controls stop their threat; {chosen.report}")
    return 0 if good == len(trials) else 1


if __name__ == "__main__":
    sys.exit(main())
