"""A job process starts from the registered weights or not at all; the server never sends any."""

import pytest
import torch

from almoner.errors import PolicyViolation
from almoner.flare.training.context import _verified_workload
from almoner.schema.job import JobSpec
from almoner.workloads.heart_disease import HeartDisease
from almoner.workloads.registry import workload


def test_the_registered_weights(heart_spec: JobSpec) -> None:
    assert isinstance(_verified_workload(heart_spec, ""), HeartDisease)


@pytest.mark.threat("T-32")
def test_crafted_weights(heart_spec: JobSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = HeartDisease.build_model

    def crafted(self: HeartDisease) -> torch.nn.Module:
        model = honest(self)
        torch.nn.init.constant_(next(model.parameters()), 1e6)
        return model

    monkeypatch.setattr(HeartDisease, "build_model", crafted)
    assert float(next(workload("heart_disease").build_model().parameters()).detach().max()) == 1e6  # nobody looks
    with pytest.raises(PolicyViolation, match="initial_weights is declared as b70724"):
        _verified_workload(heart_spec, "")
