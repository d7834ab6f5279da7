"""PSNR and SSIM against their definitions, and what counts as told."""

import math

import numpy as np
import pytest
from tests.made_pictures import made_pictures

from almoner.redteam.reconstruction.pictures import Picture, closest, is_breached, psnr, ssim


def pair(seed: int, noise: float) -> tuple[Picture, Picture]:
    picture = made_pictures(1, seed).features[0].double().numpy()
    return picture, np.clip(picture + noise * np.random.default_rng(seed).normal(size=picture.shape), 0, 1)


def ssim_by_definition(first: Picture, second: Picture) -> float:
    """Window by window, with unbiased covariances; arXiv has no copy of Wang et al. 2004."""
    values = []
    for row in range(22):
        for column in range(22):
            a, b = (picture[row : row + 7, column : column + 7].ravel() for picture in (first, second))
            cov = np.cov(a, b)
            top = (2 * a.mean() * b.mean() + 0.01**2) * (2 * cov[0, 1] + 0.03**2)
            values.append(top / ((a.mean() ** 2 + b.mean() ** 2 + 0.01**2) * (cov[0, 0] + cov[1, 1] + 0.03**2)))
    return float(np.mean(values))


@pytest.mark.parametrize(("seed", "noise"), [(1, 0.02), (2, 0.2), (3, 1.0)])
def test_ssim_and_psnr_are_those_of_their_definitions(seed: int, noise: float) -> None:
    first, second = pair(seed, noise)
    assert ssim(first, second) == pytest.approx(ssim_by_definition(first, second), abs=1e-9)
    assert psnr(first, second) == pytest.approx(10 * math.log10(1 / np.mean((first - second) ** 2)))


def test_told_needs_both_figures() -> None:
    picture, near = pair(1, 0.02)
    assert (psnr(picture, picture), ssim(picture, picture)) == (100.0, pytest.approx(1.0))
    assert is_breached(picture, near)
    assert not is_breached(picture, np.clip(picture + 0.15, 0, 1))  # too bright: PSNR
    board = 0.08 * (np.indices(picture.shape).sum(axis=0) % 2)
    assert psnr(board, 0.08 - board) > 20
    assert not is_breached(board, 0.08 - board)  # dark, so little is wrong; but all of it: SSIM


def test_the_closest_of_several_and_grey_for_none() -> None:
    picture, near = pair(1, 0.05)
    assert closest(picture, np.stack([1 - picture, near, np.zeros_like(picture)])) is not None
    assert np.array_equal(closest(picture, np.stack([1 - picture, near])), near)
    assert (closest(picture, np.empty((0, 28, 28))) == 0.5).all()
