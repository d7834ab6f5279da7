"""Shifted copies are records of the same unit: more to learn from, and no more that one unit can change."""

import numpy as np
import pytest
import torch

from almoner.errors import DataError
from almoner.experiments.public import PublicSite
from almoner.experiments.shifts import with_shifted
from almoner.schema.site import DatasetConfig
from almoner.training.gradients import UnitGradients
from almoner.training.units import UnitData, UnitRecords

MAX_GRAD_NORM = 0.5


def site(features: torch.Tensor) -> dict[str, PublicSite]:
    records = UnitRecords(features, torch.zeros(len(features), dtype=torch.int64), np.arange(len(features)))
    config = {"path": "data/x", "nominal_records": 5, "public": True, "one_record_per_unit": True, "population": "a"}
    return {"a": PublicSite(DatasetConfig.model_validate(config), UnitData(train=records, test=records))}


def test_a_unit_has_its_image_and_its_neighbours() -> None:
    images = torch.arange(2 * 4 * 4.0).reshape(2, 4, 4)
    shifted = with_shifted(site(images), 5)["a"].data
    assert shifted.train.num_units == 2
    assert shifted.train.unit.tolist() == [0, 1] * 5
    assert torch.equal(shifted.train.features[:2], images)
    assert torch.equal(shifted.train.features[2, :, 1:], images[0, :, :-1])
    assert torch.equal(shifted.train.features[8, :-1], images[0, 1:])
    assert len(shifted.test.unit) == 2


def test_a_unit_with_five_copies_changes_the_sum_no_more_than_one_image() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    train = with_shifted(site(torch.from_numpy(np.random.default_rng(1).normal(0, 2, (4, 4, 4))).float()), 5)[
        "a"
    ].data.train
    loss = torch.nn.functional.cross_entropy
    gradients = UnitGradients(
        model,
        lambda outputs, targets: loss(outputs, targets, reduction="none"),
        train,
        max_grad_norm=MAX_GRAD_NORM,
        micro_batch_size=8,
        min_micro_batches=1,
    )
    weights = np.random.default_rng(0).normal(0, 0.1, 51)
    with_it, without = (gradients.clipped_sum(weights, np.arange(first, 4)) for first in (0, 1))
    assert 0.99 * MAX_GRAD_NORM < np.linalg.norm(with_it - without) <= MAX_GRAD_NORM


def test_records_that_are_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="no images"):
        with_shifted(site(torch.zeros(2, 7)), 3)
