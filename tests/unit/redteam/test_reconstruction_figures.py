"""What reconstruction gets out of small batches stays where it was: of attacks, and of protections."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.made_pictures import made_pictures

from almoner.redteam.reconstruction.study import Bound, Effort, Outcome, reconstruct
from almoner.schema.job import JobSpec

FIGURES = Path(__file__).resolve().parents[2] / "vectors" / "redteam" / "figures.json"
PSNR_OFF, SSIM_OFF, BREACHED_OFF, CHANCE_OFF = 0.3, 0.02, 1, 1e-4
"""How far figures of the same seed may be off, on another processor."""


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """Figures of seed 0; to be changed by hand, with the reason, if the trainer or an attack changes."""
    found: dict[str, Any] = json.loads(FIGURES.read_text())["reconstruction"]
    return found


@pytest.fixture(scope="module")
def found(heart_spec: JobSpec) -> tuple[tuple[Outcome, ...], Bound]:
    return reconstruct(heart_spec, made_pictures(700), 0, Effort(batches=1, matched=1, steps=25))


def test_figures_that_stay(found: tuple[tuple[Outcome, ...], Bound], expected: dict[str, Any]) -> None:
    figures = {f"{one.attack} {one.batch}, {one.view}": (one.psnr, one.ssim, one.breached) for one in found[0]}
    assert figures.keys() == expected["psnr, ssim, breached"].keys()
    off = {
        name: (figures[name], kept)
        for name, kept in expected["psnr, ssim, breached"].items()
        if (np.abs(np.subtract(figures[name], kept)) > (PSNR_OFF, SSIM_OFF, BREACHED_OFF)).any()
    }
    assert off == {}


def test_the_bound_stays(found: tuple[tuple[Outcome, ...], Bound], expected: dict[str, Any]) -> None:
    bound = found[1]
    assert [bound.prior, bound.one_step, bound.whole_job] == pytest.approx(expected["bound"], abs=CHANCE_OFF)
