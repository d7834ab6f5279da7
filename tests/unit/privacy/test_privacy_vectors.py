import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from privacy_cases import gaussian, pure
from tests.statistics_cases import privacy, request

from almoner.audit.site_statements import PLD_TOLERANCE
from almoner.privacy import pld
from almoner.privacy.budget import RenyiFilter
from almoner.privacy.calibration import calibrate_noise
from almoner.privacy.pld import pld_epsilon
from almoner.privacy.rdp import rdp, rdp_epsilon
from almoner.privacy.statistics_plan import statistics_plan
from almoner.schema.receipt import ZcdpRelease

FOLDER = Path(__file__).parents[2] / "vectors" / "privacy"
VECTORS = json.loads((FOLDER / "accounting.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["budget"])
def test_budget(vector: dict[str, Any]) -> None:
    opened = RenyiFilter(vector["epsilon_cap"], vector["delta"], vector["order"])
    assert vector["budget"] - 1e-11 < opened.budget <= vector["budget"]


def test_the_budget_that_the_design_names() -> None:
    assert round(RenyiFilter(3.0, 1e-4, 8).budget, 3) == 2.115


@pytest.mark.parametrize("vector", VECTORS["gaussian_rdp"])
def test_gaussian_rdp(vector: dict[str, Any]) -> None:
    assert rdp(gaussian(vector["sigma"], vector["q"]), vector["order"]) == pytest.approx(
        vector["rdp"], rel=1e-12, abs=0
    )


@pytest.mark.parametrize("vector", VECTORS["integrated_rdp"])
def test_the_charge_is_the_larger_of_both_integrals(vector: dict[str, Any]) -> None:
    larger = max(vector["removed"], vector["added"])
    assert rdp(gaussian(vector["sigma"], vector["q"]), vector["order"]) == pytest.approx(larger, rel=1e-12, abs=0)


@pytest.mark.parametrize("vector", VECTORS["pure_rdp"])
def test_pure_rdp(vector: dict[str, Any]) -> None:
    assert rdp(pure(vector["epsilon"]), vector["order"]) == pytest.approx(vector["rdp"], rel=1e-12, abs=0)


@pytest.mark.parametrize("vector", VECTORS["discrete_gaussian_rdp"])
def test_a_zcdp_release_is_charged_the_discrete_gaussians_divergence(vector: dict[str, Any]) -> None:
    event = ZcdpRelease(kind="zcdp_release", rho=1 / (2 * vector["sigma"] ** 2), count=1)
    assert rdp(event, vector["order"]) == pytest.approx(vector["rdp"], rel=1e-12, abs=0)


@pytest.mark.parametrize("vector", VECTORS["discrete_gaussian_delta"])
def test_no_continuous_gaussian_stands_for_a_zcdp_release(vector: dict[str, Any]) -> None:
    """The PLD of the continuous Gaussian would claim a smaller ε than holds; the Rényi bound does not."""
    event = ZcdpRelease(kind="zcdp_release", rho=1 / (2 * vector["sigma"] ** 2), count=1)
    assert vector["continuous_too_low"] < vector["exact"]
    assert pld_epsilon((gaussian(vector["sigma"], 1.0),), vector["exact"]) < vector["epsilon"]
    assert pld_epsilon((event,), vector["exact"]) >= vector["epsilon"]


def test_dp_sgd_on_mnist() -> None:
    vector = VECTORS["mnist_dp_sgd"]
    events, delta = (gaussian(vector["sigma"], vector["q"], vector["count"]),), vector["delta"]
    assert rdp_epsilon(events, delta) == pytest.approx(vector["rdp_library"], abs=6e-4)
    assert round(rdp_epsilon(events, delta), 3) == 2.597
    assert pld_epsilon(events, delta) == pytest.approx(vector["pld_grid_1e-3"], rel=1e-6)
    assert round(pld_epsilon(events, delta), 3) == 2.391
    assert round(pld._epsilon_on_grid(events, delta, 1e-4), 3) == 2.382


def test_sixty_plain_gaussians() -> None:
    vector = VECTORS["sixty_gaussians"]
    events, delta = (gaussian(vector["sigma"], 1.0, vector["count"]),), vector["delta"]
    assert vector["exact"] <= pld_epsilon(events, delta) <= vector["exact"] + 1e-3
    assert round(pld_epsilon(events, delta), 1) == 54.0
    assert round(vector["rdp_library"], 2) == 56.95
    assert vector["rdp_library"] < rdp_epsilon(events, delta) < 59.72  # integer orders only


def test_three_hundred_counts() -> None:
    vector = VECTORS["three_hundred_counts"]
    bound = pld_epsilon((pure(vector["epsilon"], vector["count"]),), vector["delta"])
    assert vector["exact"] - 1e-9 <= bound <= vector["exact"] + 1e-3
    assert (round(vector["laplace_pld_too_low"], 2), round(bound, 2)) == (8.16, 8.32)


def test_three_hundred_counts_of_three_requests() -> None:
    """What a request's plan charges is the vector's event, not continuous Laplace."""
    vector = VECTORS["three_hundred_counts"]
    counts = tuple({"name": f"n{i}", "kind": "count", "share": 0.01} for i in range(100))
    plan = statistics_plan(request(counts, privacy=privacy(epsilon=100 * vector["epsilon"])))
    assert plan.all_events == (pure(vector["epsilon"], 100),)
    bound = pld_epsilon(plan.all_events * 3, vector["delta"])
    assert vector["exact"] - 1e-9 <= bound <= vector["exact"] + 1e-3


def test_heart_job() -> None:
    vector = VECTORS["heart_job"]
    assert vector["pld_at_7.297"] <= vector["target_epsilon"] < vector["pld_at_7.296"]
    assert calibrate_noise(vector["target_epsilon"], vector["delta"], vector["q"], vector["count"]) == 7.297


def _flat(value: Any, name: str = "") -> dict[str, float]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {path: number for key, item in items for path, number in _flat(item, f"{name}.{key}").items()}
    return {name: value}


def test_the_script_makes_the_same_vectors() -> None:
    """A convolution differs by some 1e-8 between processors (NumPy takes the instructions that it finds)."""
    spec = importlib.util.spec_from_file_location("make_accounting", FOLDER / "make_accounting.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made, kept = _flat(module.vectors()), _flat(VECTORS)
    assert made.keys() == kept.keys()
    for name, number in kept.items():
        assert made[name] == pytest.approx(number, rel=1e-6 if "pld" in name else 1e-9, abs=0), name


@pytest.mark.parametrize("found", [21.06816408830384, 21.06817792906785], ids=["AVX-512", "SSE4.2"])
def test_a_pack_is_not_refused_for_the_processor_it_was_made_on(found: float) -> None:
    """Of a hundred plans this one differs most: NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL" gave the second."""
    assert pld_epsilon((gaussian(0.5, 1e-3, 200_000),), 1e-6) == pytest.approx(found, rel=PLD_TOLERANCE / 10, abs=0)
