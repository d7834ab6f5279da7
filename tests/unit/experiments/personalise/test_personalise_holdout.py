from collections.abc import Iterable

import numpy as np
import torch

from almoner.experiments.personalise.holdout import held_out
from almoner.experiments.public import PublicSite
from almoner.schema.site import DatasetConfig
from almoner.training.units import UnitData, UnitRecords

UNITS = 200


def marked(first: int) -> UnitRecords:
    """Three records a unit, in no order, each marked by its unit's number."""
    unit = np.random.default_rng(0).permutation(np.repeat(np.arange(UNITS), 3))
    marks = torch.from_numpy(unit + first).float()
    return UnitRecords(marks[:, None], marks, unit)


def sites() -> dict[str, PublicSite]:
    config = DatasetConfig(population="a", path="a.csv", nominal_records=160, public=True, one_record_per_unit=True)
    return {name: PublicSite(config, UnitData(train=marked(0), test=marked(1000))) for name in "ab"}


def marks(records: UnitRecords) -> set[float]:
    return set(records.features[:, 0].tolist())


def everything(found: Iterable[PublicSite]) -> list[list[float]]:
    return [site.data.train.features[:, 0].tolist() for site in found]


def test_a_quarter_of_the_training_units_is_held_out_whole() -> None:
    for site in held_out(sites(), 0).values():
        train, out = marks(site.data.train), marks(site.data.test)
        assert not train & out
        assert train | out == set(range(UNITS))
        assert len(out) == 50
        assert len(site.data.test.unit) == 150
        assert site.config.nominal_records == 120


def test_units_keep_their_records() -> None:
    for part in (held_out(sites(), 0)["a"].data.train, held_out(sites(), 0)["a"].data.test):
        assert part.num_units == len(part.unit) // 3
        assert all(len(set(part.targets[part.unit == unit].tolist())) == 1 for unit in range(part.num_units))


def test_no_test_record_is_looked_at() -> None:
    site = held_out(sites(), 0)["a"]
    assert max(marks(site.data.train) | marks(site.data.test)) < UNITS


def test_another_seed_is_another_split_and_one_seed_is_one() -> None:
    once, again, other = (held_out(sites(), seed) for seed in (1, 1, 2))
    assert everything(once.values()) == everything(again.values()) != everything(other.values())
    assert marks(once["a"].data.test) != marks(once["b"].data.test)
