"""Each check of an author's workload finds the mistake that it is for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from almoner.errors import DataError, PolicyViolation
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads import checks
from almoner.workloads.heart_disease import HeartDisease
from almoner.workloads.registry import WORKLOADS, workload

HEADER = "record_id,split,age,sex,cp,trestbps,chol,fbs,restecg,thalch,exang,oldpeak,num"
TABLE = "\n".join(
    [
        HEADER,
        "a,train,50,Male,non-anginal,120,200,TRUE,normal,150,FALSE,1.0,0",
        "b,train,60,Female,asymptomatic,130,210,FALSE,normal,140,TRUE,2.0,1",
        "c,test,70,Male,asymptomatic,140,220,FALSE,normal,130,TRUE,0.5,2",
    ]
)


def records() -> UnitRecords:
    features = torch.arange(48, dtype=torch.float32).reshape(3, 16) / 20
    return UnitRecords(features, torch.tensor([0.0, 1.0, 1.0]), np.arange(3))


def test_a_sound_workload_passes(tmp_path: Path) -> None:
    task = HeartDisease()
    checks.verify_declaration(task, "heart_disease", WORKLOADS["heart_disease"])
    checks.verify_trainable(task)
    checks.verify_records_apart(task, records())
    checks.verify_loader(task, TABLE, tmp_path)


@pytest.mark.parametrize("name", WORKLOADS)
def test_installed_models_are_trainable(name: str) -> None:
    checks.verify_trainable(workload(name))


class Centred(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(16, 1)

    def forward(self, batch: Tensor) -> Tensor:
        return self.linear(batch - batch.mean(0)).flatten()


class CentredOutputs(HeartDisease):
    def build_model(self) -> torch.nn.Module:
        return Centred()


class CentredLoss(HeartDisease):
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - outputs.mean() - targets).square()


class OneLoss(HeartDisease):
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().loss(outputs, targets).mean()


@pytest.mark.parametrize(("task", "what"), [(CentredOutputs(), "output"), (CentredLoss(), "loss"), (OneLoss(), "loss")])
def test_records_that_depend_on_each_other(task: HeartDisease, what: str) -> None:
    checks.verify_trainable(task)  # the types of layers do not show it
    with pytest.raises(PolicyViolation, match=f"a record's {what} depends on others"):
        checks.verify_records_apart(task, records())


class Raises(HeartDisease):
    def load(self, path: Path) -> UnitData:
        for line in path.read_text().splitlines()[1:]:
            float(line.split(",")[2])
        return super().load(path)


class Standardised(HeartDisease):
    def load(self, path: Path) -> UnitData:
        data = super().load(path)
        train = data.train
        mean = train.features.mean(0) if len(train.features) else 0.0
        return UnitData(UnitRecords(train.features - mean, train.targets, train.unit), data.test)


def test_loaders_that_raise_or_look_at_all_records(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        checks.verify_loader(Raises(), TABLE, tmp_path)
    with pytest.raises(PolicyViolation, match="changes others"):
        checks.verify_loader(Standardised(), TABLE, tmp_path)
    with pytest.raises(DataError, match="no record of train, or none of test"):
        checks.verify_loader(HeartDisease(), TABLE.replace(",test,", ",train,"), tmp_path)
