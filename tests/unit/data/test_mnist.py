"""Five post offices out of one archive: the rule is a function of id and digit alone, and the offices differ."""

import io
import struct
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from almoner.data.mnist import CLASSES, MEMBERS, SHARES_SEED, SITES, class_shares, mnist_files, site_of
from almoner.data.prepare import prepare_sites
from almoner.data.registry import MNIST, dataset_of_file
from almoner.data.split import SplitRule, split_of
from almoner.errors import DataError

UNUSED: SplitRule = partial(split_of, key=b"unused")


def idx(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def archive(num_train: int = 40, num_test: int = 20) -> dict[str, bytes]:
    rng = np.random.default_rng(1)
    content = []
    for size in (num_train, num_test):
        content += [idx(rng.integers(0, 256, (size, 28, 28), np.uint8)), idx(rng.integers(0, 10, size, np.uint8))]
    return dict(zip(MEMBERS, content, strict=True))


def rows(files: dict[str, bytes]) -> dict[str, tuple[str, bool, int, bytes]]:
    """Return id → site, is test, digit, pixels."""
    found = {}
    for site, content in files.items():
        with np.load(io.BytesIO(content), allow_pickle=False) as read:
            for i, record_id in enumerate(read["ids"].tolist()):
                found[record_id] = (site, bool(read["is_test"][i]), int(read["labels"][i]), read["images"][i].tobytes())
    return found


def pixels_of(members: dict[str, bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(members[MEMBERS[0]], np.uint8, offset=16).reshape(-1, 28, 28)


def digits_of(members: dict[str, bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(members[MEMBERS[1]], np.uint8, offset=8)


def test_shares_are_those_of_the_declared_draw() -> None:
    shares = class_shares(SHARES_SEED)
    assert len(shares) == CLASSES
    assert all(len(row) == len(SITES) and sum(row) == pytest.approx(1) and min(row) > 0 for row in shares)
    sizes = [round(6000 * sum(row[site] for row in shares)) for site in range(len(SITES))]
    assert min(sizes) > 1000
    assert class_shares(SHARES_SEED + 1) != shares


def test_shares_have_the_moments_of_the_dirichlet_distribution() -> None:
    """Of 300 draws: mean 1/5 ± 0.003, mean square 3/35 ± 0.004; six standard errors, so fails wrongly once in 10^8."""
    drawn = np.array([class_shares(seed) for seed in range(300)])
    assert abs(drawn[:, :, 0].mean() - 1 / 5) < 6 * np.sqrt(8 / 175 / 3000)
    assert abs((drawn**2).mean() - 3 / 35) < 0.004


@given(st.integers(0, 99_999), st.integers(0, 9))
def test_every_image_has_an_office(number: int, label: int) -> None:
    assert site_of(f"train-{number:05}", label) in SITES


def test_offices_have_their_shares() -> None:
    """Of 4,000 images a digit within 6 standard deviations; seeded by the key."""
    for label, shares in enumerate(class_shares(SHARES_SEED)):
        found = Counter(site_of(f"x{number}", label) for number in range(4000))
        for site, share in zip(SITES, shares, strict=True):
            assert abs(found[site] - 4000 * share) <= 6 * np.sqrt(4000 * share * (1 - share)) + 1


def test_files_hold_the_source() -> None:
    members = archive()
    found = rows(mnist_files(members, UNUSED))
    assert sorted(found) == [f"test-{i:05}" for i in range(20)] + [f"train-{i:05}" for i in range(40)]
    for part, start in (("train", 0), ("test", 2)):
        images, labels = (members[name] for name in MEMBERS[start : start + 2])
        for record_id, (site, is_test, label, pixels) in found.items():
            if record_id.startswith(part):
                number = int(record_id[-5:])
                assert is_test == (part == "test")
                assert label == labels[8 + number]
                assert pixels == images[16 + 784 * number :][:784]
                assert site == site_of(record_id, label)


def test_no_image_has_a_say_in_another_ones_office_or_split() -> None:
    """One image gets another digit and other pixels: every other line stays as it was, and so do all splits."""
    members = archive()
    before = rows(mnist_files(members, UNUSED))
    labels, images = bytearray(members[MEMBERS[1]]), bytearray(members[MEMBERS[0]])
    labels[8 + 7], images[16 + 784 * 7] = (labels[8 + 7] + 1) % 10, images[16 + 784 * 7] ^ 255
    after = rows(mnist_files(members | {MEMBERS[1]: bytes(labels), MEMBERS[0]: bytes(images)}, UNUSED))
    assert [record_id for record_id in before if before[record_id] != after[record_id]] == ["train-00007"]
    fewer = {MEMBERS[0]: idx(pixels_of(members)[:39]), MEMBERS[1]: idx(digits_of(members)[:39])}
    assert before == rows(mnist_files(members | fewer, UNUSED)) | {"train-00039": before["train-00039"]}


@pytest.mark.parametrize(
    "changed",
    [
        {MEMBERS[0]: b""},
        {MEMBERS[0]: idx(np.zeros((40, 28, 27), np.uint8))},
        {MEMBERS[0]: idx(np.zeros((39, 28, 28), np.uint8))},
        {MEMBERS[1]: idx(np.zeros(40, np.uint8))[:-1]},
        {MEMBERS[1]: idx(np.full(40, 10, np.uint8))},
        {MEMBERS[2]: idx(np.zeros(20, np.uint8))},
    ],
)
def test_another_archive_is_refused(changed: dict[str, bytes]) -> None:
    with pytest.raises(DataError, match="fetch the pinned release"):
        mnist_files(archive() | changed, UNUSED)


def test_the_published_archive(heart_cache: Path, tmp_path: Path) -> None:
    paths = prepare_sites(MNIST, heart_cache, tmp_path)
    assert dataset_of_file("data/digits.npz") is MNIST
    sizes = []
    for site in SITES:
        assert paths[site].stat().st_mode & 0o777 == 0o600
        with np.load(paths[site], allow_pickle=False) as read:
            sizes.append((int((~read["is_test"]).sum()), int(read["is_test"].sum())))
    assert sizes == [(20_534, 3_408), (10_561, 1_778), (11_708, 1_927), (4_916, 812), (12_281, 2_075)]


def test_equal_archives_give_equal_bytes() -> None:
    assert mnist_files(archive(), UNUSED) == mnist_files(archive(), UNUSED)
