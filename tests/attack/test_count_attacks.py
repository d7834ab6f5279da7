"""A release of counts is noised for one unit that moves them by one; loaders make units of several records."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from almoner.data.heart_disease import COLUMNS
from almoner.flare.training.local_work import LocalWork
from almoner.training.flat import flatten
from almoner.workloads.metrics import correct_labels
from almoner.workloads.registry import workload

VISITS = 500
TASK = workload("heart_disease")
WEIGHTS = flatten(TASK.build_model())


def site_file(folder: Path, patients: list[str]) -> Path:
    """Write a file of test records, one for each name."""
    lines = [",".join(("record_id", "split", *COLUMNS))]
    lines += [",".join([name, "test", *("1" for _ in COLUMNS)]) for name in patients]
    path = folder / f"{len(patients)}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.threat("T-85")
def test_a_patient_of_many_visits_moves_the_counts_by_one(tmp_path: Path) -> None:
    without = site_file(tmp_path, ["p0"])
    beside = site_file(tmp_path, ["p0", *["p1"] * VISITS])
    counts = []
    dataset = SimpleNamespace(images=None, max_records_per_unit=VISITS)  # so that none is left out when it is loaded
    for path in (without, beside):
        context = SimpleNamespace(workload=TASK, data_path=path, dataset=dataset)
        work = LocalWork(context, TASK.build_model())  # type: ignore[arg-type]
        counts.append(np.array(work.count_test_records(WEIGHTS)))
    assert np.abs(counts[1] - counts[0]).sum() == 1
    assert len(correct_labels(TASK, WEIGHTS, TASK.load(beside).test)) == 1 + VISITS  # what counting records would tell
