"""A release over a million records: within 2 s and 500 MB, all of it, measured in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

from tests.statistics_cases import HEADER, people, request

RECORDS = 1_000_000
TRIES = 3
"""The machine is shared: processor seconds, and the least of so many tries."""

_CHILD = """
import json, sys, time
from pathlib import Path
from almoner.release.answers import interpret
from almoner.release.laws import local_noise
from almoner.release.run import run_statistics
from almoner.schema.statistics import StatisticsSpec
spec, seconds = StatisticsSpec.model_validate_json(sys.argv[2]), []
for _ in range(int(sys.argv[3])):
    start = time.process_time()
    answers = interpret(spec, run_statistics(Path(sys.argv[1]), spec), local_noise(spec))
    seconds.append(time.process_time() - start)
    if seconds[-1] < 2:
        break
status = Path("/proc/self/status").read_text().split()
megabytes = int(status[status.index("VmHWM:") + 1]) / 1024  # ru_maxrss starts with what the parent had
print(json.dumps({"seconds": min(seconds), "megabytes": megabytes, "count": answers[0].value}))
"""


def test_a_million_records(tmp_path: Path) -> None:
    queries = (
        {"name": "n", "kind": "count", "share": 0.2},
        {"name": "mean", "kind": "mean", "share": 0.4, "column": "hours", "by": ["sex"]},
        {"name": "table", "kind": "table", "share": 0.2, "columns": ["sex", "city"]},
        {"name": "q", "kind": "quantiles", "share": 0.2, "column": "age", "probs": [0.25, 0.5, 0.75]},
    )
    block = b"\n".join(people(10_000)) + b"\n"
    path = tmp_path / "million.csv"
    with path.open("wb") as file:
        file.write(HEADER.encode() + b"\n")
        for _ in range(RECORDS // 10_000):
            file.write(block)
    command = [sys.executable, "-c", _CHILD, str(path), request(queries).model_dump_json(), str(TRIES)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert abs(found["count"] - RECORDS) < 1_000
    assert found["seconds"] < 2.0, found
    assert found["megabytes"] < 500, found
