"""A patient with many records: neither sampling, nor clipping, nor the choice of records may count them one by one."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from almoner.data.heart_disease import COLUMNS
from almoner.flare.training.local_work import LocalWork
from almoner.schema.site import DatasetConfig
from almoner.training import units
from almoner.training.gradients import UnitGradients
from almoner.training.grid import UpdateGrid
from almoner.training.units import UnitRecords, at_most
from almoner.workloads.registry import workload

NUM_RECORDS, LIMIT, OTHERS = 8, 3, 40
TASK = workload("heart_disease")
GRID = UpdateGrid(step=2.0**-30, limit=2**50)


def records(unit: list[int], patient: int = 0) -> UnitRecords:
    """Return records of one feature row each, equal for one patient, who pulls with all his strength."""
    source = torch.Generator().manual_seed(1)
    features = torch.randn(len(unit), 16, generator=source)
    features[torch.tensor(unit) == patient] = 20.0
    return UnitRecords(features, torch.zeros(len(unit)), np.array(unit, dtype=np.int64))


def moved(data: UnitRecords, patient: list[int]) -> float:
    """Return how far the clipped sum of all units moves when some of them are not drawn, at C = 1."""
    made = UnitGradients(
        TASK.build_model(), TASK.loss, data, max_grad_norm=1.0, micro_batch_size=32, min_micro_batches=1
    )
    weights, everybody = np.zeros(17), np.arange(data.num_units)
    return float(
        np.linalg.norm(
            made.clipped_sum(weights, everybody) - made.clipped_sum(weights, np.setdiff1d(everybody, patient))
        )
    )


@pytest.mark.threat("T-108")
def test_a_patient_of_eight_records_moves_a_step_by_eight_c_if_each_is_clipped_by_itself() -> None:
    of_patients = records([0] * NUM_RECORDS + list(range(1, OTHERS)))
    by_itself = UnitRecords(of_patients.features, of_patients.targets, np.arange(len(of_patients.unit)))
    assert moved(by_itself, list(range(NUM_RECORDS))) > NUM_RECORDS * 0.99
    assert moved(of_patients, [0]) <= 1.0
    assert moved(at_most(of_patients, LIMIT), [0]) <= 1.0


def chosen_by_shuffle(data: UnitRecords, limit: int, seed: int = 0) -> UnitRecords:
    """Choose a unit's records as is often done: the first ones of all records, shuffled with a seed."""
    order = np.random.default_rng(seed).permutation(len(data.unit))
    rank = np.array([int(np.sum(data.unit[order[:place]] == data.unit[at])) for place, at in enumerate(order)])
    kept = np.sort(order[rank < limit])
    return UnitRecords(data.features[kept], data.targets[kept], data.unit[kept])


def kept_of(data: UnitRecords) -> dict[int, set[bytes]]:
    """Return the records of each unit, by their bytes."""
    return {
        int(unit): {row.numpy().tobytes() for row in data.features[data.unit == unit]} for unit in np.unique(data.unit)
    }


@pytest.mark.threat("T-109")
def test_who_comes_changes_whose_records_count_if_they_are_chosen_by_a_shuffle() -> None:
    everybody = records(sorted(list(range(1, OTHERS)) * NUM_RECORDS) + [0] * NUM_RECORDS)
    before = UnitRecords(
        everybody.features[:-NUM_RECORDS], everybody.targets[:-NUM_RECORDS], everybody.unit[:-NUM_RECORDS] - 1
    )

    def others_changed(first: UnitRecords, second: UnitRecords) -> int:
        found, expected = kept_of(second), kept_of(first)
        return sum(found[unit + 1] != expected[unit] for unit in expected)

    shuffled = others_changed(chosen_by_shuffle(before, LIMIT), chosen_by_shuffle(everybody, LIMIT))
    assert shuffled > OTHERS / 2, "one patient came, and most others are now known by other records"
    assert others_changed(at_most(before, LIMIT), at_most(everybody, LIMIT)) == 0


def site_file(folder: Path) -> Path:
    """Write a site's file: one patient with eight different visits, and others with one."""
    names = ["p0"] * NUM_RECORDS + [f"p{number}" for number in range(1, OTHERS)]
    lines = [",".join(("record_id", "split", *COLUMNS))]
    lines += [",".join([name, "train", *(str(20 + number) for _ in COLUMNS)]) for number, name in enumerate(names)]
    path = folder / "heart.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def rows_drawn(path: Path, config: DatasetConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Train one step in which everybody is drawn; return patient 0's rows, and the padded rows of all passes."""
    heard: list[NDArray[np.int64]] = []
    rows: list[int] = []
    patient = next(iter(TASK.load(path).train.unit[:1]))

    def listening(self: UnitGradients, batch: NDArray[np.int64]) -> object:
        heard.append(self._data.unit[batch])
        rows.append(self._size)
        return run(self, batch)

    run = UnitGradients._run
    monkeypatch.setattr(UnitGradients, "_run", listening)
    spec = SimpleNamespace(
        privacy=SimpleNamespace(mechanism="dp_sgd", max_grad_norm=1.0, sampling_prob=1.0),
        training=SimpleNamespace(local_steps=1, learning_rate=0.1, proximal=0.0),
    )
    context = SimpleNamespace(
        workload=TASK, data_path=path, dataset=config, spec=spec, plan=SimpleNamespace(noise_multiplier=1.0), grid=GRID
    )
    LocalWork(context, TASK.build_model()).train(np.zeros(17))  # type: ignore[arg-type]
    return int(np.sum(np.concatenate(heard) == patient)), sum(rows)


@pytest.mark.threat("T-108")
def test_a_patient_of_eight_lines_in_a_sites_file_moves_a_step_by_one_c(tmp_path: Path) -> None:
    visits = TASK.load(site_file(tmp_path)).train
    assert moved(visits, np.unique(visits.unit[:NUM_RECORDS]).tolist()) <= 1.0


@pytest.mark.threat("T-109")
def test_no_patient_has_more_rows_in_a_step_than_the_site_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, config = (
        site_file(tmp_path),
        {"population": "p", "path": "heart.csv", "nominal_records": OTHERS, "public": True},
    )
    declared = DatasetConfig(**config, max_records_per_unit=LIMIT)
    own, padded = rows_drawn(path, declared, monkeypatch)
    assert own == LIMIT
    assert padded >= OTHERS * LIMIT, "the number of passes is that of as many records of each"
    monkeypatch.setattr("almoner.workloads.site_data.bound_records", lambda data, limit: data)
    assert rows_drawn(path, declared, monkeypatch)[0] == NUM_RECORDS


@pytest.mark.threat("T-109")
def test_a_site_that_declares_one_record_of_a_patient_uses_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = DatasetConfig(
        population="p", path="heart.csv", nominal_records=OTHERS, public=True, one_record_per_unit=True
    )
    assert rows_drawn(site_file(tmp_path), declared, monkeypatch)[0] == 1


def test_the_choice_is_keyed() -> None:
    data = records([0] * 50)
    data.features.copy_(torch.randn(50, 16, generator=torch.Generator().manual_seed(2)))
    before = kept_of(at_most(data, LIMIT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "_CHOICE_KEY", b"another")
        assert kept_of(at_most(data, LIMIT)) != before
