"""The last layer by itself: a small model on features that the others make."""

import numpy as np
import pytest
import torch
from personal_cases import loss

from almoner.errors import PolicyViolation
from almoner.training.flat import dimension, flatten, unflatten
from almoner.training.noise import UnsafeSeededRandom
from almoner.training.personalise.fine_tune import FineTune
from almoner.training.personalise.heads import features_of, split_head
from almoner.training.personalise.method import train_models
from almoner.training.personalise.plan import PersonalPlan
from almoner.training.personalise.shared import GlobalModel
from almoner.training.personalise.silos import Silo
from almoner.training.units import UnitRecords

PLAN = PersonalPlan(
    rounds=3, local_steps=1, learning_rate=0.25, max_grad_norm=1.0, sampling_prob=0.5, noise_multiplier=0.5
)
HEAD = 4


def model() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1), torch.nn.Flatten(0))


def records(number: int = 2500) -> UnitRecords:
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(number, 2)).astype(np.float32))
    return UnitRecords(features, (features[:, 0] > 0).float(), np.arange(number) // 2)


def test_head_of_body_is_the_model() -> None:
    whole, weights, data = model(), np.linspace(-1, 1, 13), records()
    split = split_head(model(), weights)
    unflatten(whole, weights)
    seen = features_of(split.body, data)
    assert dimension(split.head) == HEAD
    assert torch.equal(split.head(seen.features), whole(data.features))
    assert np.array_equal(seen.unit, data.unit)
    assert np.array_equal(np.concatenate([flatten(split.body), flatten(split.head)]), flatten(whole))


def test_one_layer_is_all_head() -> None:
    line, data = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0)), records(3)
    split = split_head(line, np.arange(3.0))
    assert dimension(split.head) == 3
    assert features_of(split.body, data) is data


def test_a_site_without_records_has_a_head_too() -> None:
    assert features_of(split_head(model(), np.zeros(13)).body, records(0)).features.shape == (0, 3)


@pytest.mark.parametrize("other", [torch.nn.Linear(2, 1), torch.nn.Sequential(torch.nn.Tanh())])
def test_what_has_no_last_layer_is_refused(other: torch.nn.Module) -> None:
    with pytest.raises(PolicyViolation, match="no last layer"):
        split_head(other, np.zeros(3))


def test_tuning_changes_the_last_layer_alone() -> None:
    silos = {"a": Silo(records(40), 20), "b": Silo(records(20), 10)}
    shared = train_models(GlobalModel(), model(), loss, silos, PLAN, rng=UnsafeSeededRandom(0))["a"]
    tuned = train_models(FineTune(2, 0.5), model(), loss, silos, PLAN, rng=UnsafeSeededRandom(0))
    for weights in tuned.values():
        assert np.array_equal(weights[:-HEAD], shared[:-HEAD])
        assert (weights[-HEAD:] != shared[-HEAD:]).all()
    assert not np.array_equal(tuned["a"], tuned["b"])
