"""Sites that are too few for groups, dealt over plants: whole units, by their numbers alone."""

import numpy as np
import pytest
import torch

from almoner.experiments.pipeline.plants import FEWEST, plants_of
from almoner.experiments.public import PublicSite
from almoner.schema.site import DatasetConfig
from almoner.training.units import UnitData, UnitRecords

UNITS, RECORDS = 300, 2


def records(numbers: np.ndarray) -> UnitRecords:
    """Two records for each unit; the first feature is the unit's number, the second tells its records apart."""
    unit = np.tile(np.arange(len(numbers)), RECORDS)
    features = np.stack([numbers[unit], np.repeat(np.arange(RECORDS), len(numbers))], axis=1)
    return UnitRecords(torch.tensor(features, dtype=torch.float32), torch.tensor(numbers[unit] % 2), unit)


def site(first: int = 0, numbers: np.ndarray | None = None) -> PublicSite:
    config = DatasetConfig(population="p", path="data/x", nominal_records=310, public=True, one_record_per_unit=True)
    numbers = np.arange(first, first + UNITS) if numbers is None else numbers
    return PublicSite(config, UnitData(records(numbers), records(numbers[:30] + 10_000)))


def units(found: UnitRecords) -> list[int]:
    return sorted(found.features[:, 0].to(torch.int64).tolist())


@pytest.mark.parametrize(("num_sites", "plants"), [(1, 9), (3, 9), (4, 12), (5, 10), (8, 16)])
def test_there_are_as_many_plants_as_groups_need(num_sites: int, plants: int) -> None:
    dealt = plants_of({f"s{number}": site(UNITS * number) for number in range(num_sites)})
    assert len(dealt) == plants >= FEWEST
    assert {each.config.nominal_records for each in dealt.values()} == {round(310 * num_sites / plants)}


@pytest.mark.parametrize("num_sites", [9, 10])
def test_sites_that_are_enough_stay(num_sites: int) -> None:
    sites = {f"s{number}": site(UNITS * number) for number in range(num_sites)}
    assert plants_of(sites) == sites


@pytest.mark.parametrize("part", ["train", "test"])
def test_every_unit_is_at_one_plant_whole(part: str) -> None:
    whole, dealt = site(), plants_of({"s": site()})
    found = [units(getattr(plant.data, part)) for plant in dealt.values()]
    assert sorted(unit for each in found for unit in each) == units(getattr(whole.data, part))
    assert all(len(each) == RECORDS * len(set(each)) for each in found)
    if part == "train":  # 300 units at nine plants: 33 each, a standard deviation is 5.4
        assert 12 <= min(map(len, found)) / RECORDS <= max(map(len, found)) / RECORDS <= 54


def test_a_unit_is_always_at_the_same_plant_and_plants_of_sites_differ() -> None:
    """Alike records do not go together: it is the unit that is dealt."""
    first, again, other = (plants_of({name: site()}) for name in ("s", "s", "t"))
    places = [[units(plant.data.train) for plant in dealt.values()] for dealt in (first, again, other)]
    assert places[0] == places[1] != places[2]
    alike = np.zeros(UNITS, dtype=np.int64)
    assert [plant.data.train.num_units for plant in plants_of({"s": site(numbers=alike)}).values()] == [
        len(found) // RECORDS for found in places[0]
    ]
