"""Runs the benchmarks and writes `build/bench.json`.

    python -m tests.benchmarks                 all of them
    python -m tests.benchmarks flare heart     those named; the figures of the others stay in the file

Run it from the checkout. A benchmark is a module with `run() -> dict[str, object]`, entered in `BENCHMARKS`.
"""

import argparse
import importlib
import time

from tests.benchmarks.report import BENCH_FILE, describe_run, merge, render_table

BENCHMARKS = {
    "flare": "tests.benchmarks.flare_overhead",
    "gate": "tests.benchmarks.gate_overhead",
    "heart": "tests.benchmarks.heart_accuracy",
    "bank": "tests.benchmarks.bank_accuracy",
    "drives": "tests.benchmarks.drive_accuracy",
    "ledger": "tests.benchmarks.ledger_speed",
    "accounting": "tests.benchmarks.accounting_speed",
    "he": "tests.benchmarks.he_speed",
    "secagg": "tests.benchmarks.secagg_speed",
    "psi": "tests.benchmarks.psi_speed",
    "memory": "tests.benchmarks.protection_memory",
    "robust": "tests.benchmarks.robust_speed",
    "training": "tests.benchmarks.training_speed",
}


def main() -> None:
    """Run what the command line names, and write each benchmark's figures as soon as they are there."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Run benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(BENCHMARKS)} (default: all)")
    names: list[str] = parser.parse_args().names or list(BENCHMARKS)
    if unknown := sorted(set(names) - set(BENCHMARKS)):
        parser.error(f"unknown benchmark {', '.join(unknown)} → one of {', '.join(BENCHMARKS)}")
    for name in dict.fromkeys(names):
        about, start = describe_run(), time.monotonic()
        figures: dict[str, object] = importlib.import_module(BENCHMARKS[name]).run()
        merge(BENCH_FILE, name, figures, about | {"seconds": round(time.monotonic() - start, 1)})
        print(render_table(name, figures), flush=True)
    print(f"written to {BENCH_FILE}")


if __name__ == "__main__":
    main()
