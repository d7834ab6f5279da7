"""Dealing public units anew: nothing is lost or doubled, units stay whole, and labels are as skewed as asked."""

import math

import numpy as np
import pytest
import torch

from almoner.errors import DataError
from almoner.experiments.public import PublicSite
from almoner.experiments.splits import deal, held_out, select_units
from almoner.schema.site import DatasetConfig
from almoner.training.units import UnitData, UnitRecords

UNITS, LABELS, NAMES = 900, 10, ("a", "b", "c")


def records(first: int, units: int) -> UnitRecords:
    """Two records a unit; the feature is the unit's number in all, the label its last digit."""
    number = np.repeat(np.arange(first, first + units), 2)
    return UnitRecords(
        torch.tensor(number[:, None], dtype=torch.float32), torch.tensor(number % LABELS), number - first
    )


def sites(names: tuple[str, ...] = NAMES) -> dict[str, PublicSite]:
    config = {"path": "data/x", "nominal_records": UNITS, "public": True, "one_record_per_unit": True}
    return {
        name: PublicSite(
            DatasetConfig.model_validate(config | {"population": name}),
            UnitData(train=records(UNITS * place, UNITS), test=records(10_000 * place, 5)),
        )
        for place, name in enumerate(names)
    }


def features(records: UnitRecords) -> list[float]:
    return sorted(records.features[:, 0].tolist())


def label_shares(site: PublicSite) -> np.ndarray:
    counts = np.bincount(site.data.train.targets.numpy(), minlength=LABELS)
    return counts / counts.sum()


@pytest.mark.parametrize("alpha", [math.inf, 0.5, 0.1])
def test_every_unit_is_dealt_once_and_whole(alpha):
    dealt = deal(sites(), alpha, 1)
    together = [feature for site in dealt.values() for feature in features(site.data.train)]
    assert sorted(together) == sorted(np.repeat(np.arange(3 * UNITS), 2).tolist())
    for name, site in dealt.items():
        assert site.config.nominal_records == site.data.train.num_units >= 0.02 * 3 * UNITS
        assert len(site.data.train.unit) == 2 * site.data.train.num_units
        assert features(site.data.test) == features(sites()[name].data.test)


def test_labels_are_even_or_skewed_as_asked():
    spread = {
        alpha: np.std([label_shares(site) for site in deal(sites(), alpha, 1).values()]) for alpha in (math.inf, 1, 0.1)
    }
    assert spread[math.inf] < 0.01 < spread[1] < spread[0.1]
    again = deal(sites(), 0.1, 1)
    assert np.array_equal(label_shares(again["a"]), label_shares(deal(sites(), 0.1, 1)["a"]))
    assert not np.array_equal(label_shares(again["a"]), label_shares(deal(sites(), 0.1, 2)["a"]))


def test_a_split_that_leaves_a_site_nothing_is_refused():
    with pytest.raises(DataError, match="larger alpha"):
        deal(sites(tuple("abcdefghijkl")), 1e-9, 1)  # ten labels, each whole, for twelve sites


def test_what_is_held_out_is_never_trained_on():
    parts = held_out(sites(), 0.2, 1)
    for name, site in parts.items():
        trained, held = set(features(site.data.train)), set(features(site.data.test))
        assert not trained & held
        assert trained | held == set(features(sites()[name].data.train))
        assert 0.15 * UNITS < len(held) < 0.25 * UNITS
        assert site.config.nominal_records == len(trained)


def test_units_are_numbered_anew():
    chosen = select_units(records(0, 4), np.array([False, True, False, True]))
    assert chosen.unit.tolist() == [0, 0, 1, 1]
    assert chosen.features[:, 0].tolist() == [1, 1, 3, 3]
