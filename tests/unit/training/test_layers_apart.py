"""A layer that mixes records takes the bound on one unit's effect away; its type is refused."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from almoner.errors import PolicyViolation
from almoner.training import gradients
from almoner.training.flat import flatten
from almoner.training.gradients import UnitGradients
from almoner.training.units import UnitRecords

MIXING = {
    "as it is": nn.BatchNorm1d(2),
    "without parameters": nn.BatchNorm1d(2, affine=False),
    "without buffers": nn.BatchNorm1d(2, track_running_stats=False),
    "with neither": nn.BatchNorm1d(2, affine=False, track_running_stats=False),
    "over processes": nn.SyncBatchNorm(2),
    "lazy": nn.LazyBatchNorm1d(),
    "remembering": nn.InstanceNorm1d(2, track_running_stats=True),
}


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum(1)


def clipped_sum(layer: nn.Module, units: list[int]) -> np.ndarray:
    """Return the sum over some of four far-apart records, of bound 1."""
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [50.0, -40.0]])
    torch.manual_seed(0)
    model = nn.Sequential(OrderedDict(first=nn.Linear(2, 2), between=layer, last=nn.Linear(2, 2)))
    data = UnitRecords(features, -features, np.arange(4))
    found = UnitGradients(model, squared, data, max_grad_norm=1.0, micro_batch_size=4, min_micro_batches=1)
    return found.clipped_sum(flatten(model), np.array(units))


@pytest.mark.threat("T-94")
@pytest.mark.parametrize("case", MIXING)
def test_layers_that_mix_or_remember_records_are_refused(case: str) -> None:
    with pytest.raises(PolicyViolation, match=r"layer between \(\w+\) mixes records"):
        clipped_sum(MIXING[case], [0])


@pytest.mark.threat("T-94")
def test_what_opacus_lets_pass_moves_the_sum_by_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def effect(layer: nn.Module) -> float:
        return float(np.linalg.norm(clipped_sum(layer, [0, 1, 2, 3]) - clipped_sum(layer, [0, 1, 2])))

    assert effect(nn.LayerNorm(2)) <= 1.0
    monkeypatch.setattr(gradients, "verify_layers", lambda model: None)
    with pytest.raises(PolicyViolation, match="depends on other records"):
        effect(MIXING["without parameters"])
    monkeypatch.setattr(gradients, "verify_pass", lambda *arguments: None)
    assert effect(MIXING["without parameters"]) > 1.5


def test_layers_that_take_each_record_by_itself() -> None:
    for layer in (nn.GroupNorm(1, 2), nn.LayerNorm(2), nn.Tanh()):
        assert np.isfinite(clipped_sum(layer, [0, 1])).all()
