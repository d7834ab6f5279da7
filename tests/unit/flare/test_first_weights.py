"""A job process starts from the registered weights or not at all; the server never sends any."""

import pytest
import torch

from almoner.errors import ProtocolError
from almoner.flare.training_context import _verified_workload
from almoner.workloads.heart_disease import HeartDisease
from almoner.workloads.registry import workload


def test_the_registered_weights() -> None:
    assert isinstance(_verified_workload("heart_disease"), HeartDisease)


@pytest.mark.threat("T-32")
def test_crafted_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = HeartDisease.build_model

    def crafted(self: HeartDisease) -> torch.nn.Module:
        model = honest(self)
        torch.nn.init.constant_(next(model.parameters()), 1e6)
        return model

    monkeypatch.setattr(HeartDisease, "build_model", crafted)
    assert float(next(workload("heart_disease").build_model().parameters()).detach().max()) == 1e6  # nobody looks
    with pytest.raises(ProtocolError, match="does not start from the registered weights"):
        _verified_workload("heart_disease")
