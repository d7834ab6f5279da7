"""Releases that are ρ-zCDP: how they are charged, and that no PLD of a continuous Gaussian stands for them."""

import pytest
from dp_accounting.dp_event import GaussianDpEvent, SelfComposedDpEvent
from dp_accounting.rdp import RdpAccountant
from privacy_cases import gaussian, pure

from almoner.errors import DocumentError
from almoner.privacy.budget import charge_of
from almoner.privacy.dp_events import composed, dump, load, to_dp_event
from almoner.privacy.events import group_events, quantise
from almoner.privacy.pld import fixed_distribution, pld_epsilon
from almoner.privacy.rdp import rdp, rdp_epsilon
from almoner.privacy.risk import attack_risk
from almoner.privacy.zcdp import largest_rho, rho_epsilon
from almoner.schema.receipt import ZcdpRelease


def zcdp(rho: float = 0.1, count: int = 1, assumption: str = "") -> ZcdpRelease:
    return ZcdpRelease(kind="zcdp_release", rho=rho, count=count, assumption=assumption)


@pytest.mark.parametrize("order", [2, 6, 18, 512])
def test_the_charge_is_rho_times_the_order(order: int) -> None:
    assert rdp(zcdp(0.1, 3), order) == pytest.approx(0.3 * order, rel=1e-15)
    assert charge_of((zcdp(0.1, 3),), order) >= 0.3 * order


@pytest.mark.parametrize("order", [2, 6, 18])
def test_a_third_party_composes_the_same(order: int) -> None:
    event = to_dp_event(zcdp(0.02, 7))
    assert event == SelfComposedDpEvent(GaussianDpEvent(5.0), 7)
    library = RdpAccountant(orders=[order]).compose(event).rdp[0]
    assert library == pytest.approx(rdp(zcdp(0.02, 7), order), rel=1e-12)
    assert load(dump(composed((zcdp(), pure(), gaussian())))) == composed((zcdp(), pure(), gaussian()))


def test_rho_is_rounded_up() -> None:
    assert quantise(zcdp(0.1234567891)).rho == 0.123456790  # type: ignore[union-attr]
    assert quantise(zcdp(0.1, 3, "c=1")) == zcdp(0.1, 3, "c=1")


def test_releases_under_different_assumptions_are_kept_apart() -> None:
    assert group_events((zcdp(), zcdp(0.1, 2), zcdp(0.1, 1, "c=1"))) == (zcdp(0.1, 3), zcdp(0.1, 1, "c=1"))


def test_there_is_no_pld_of_it() -> None:
    mixed = (zcdp(), gaussian())
    assert fixed_distribution(mixed) is None
    assert attack_risk(mixed) is None
    assert pld_epsilon(mixed, 1e-5) == rdp_epsilon(mixed, 1e-5)
    assert pld_epsilon((zcdp(0.1),), 1e-5) > pld_epsilon((gaussian(5.0**0.5, 1.0),), 1e-5)  # same ρ, but with a PLD


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0, 3.0, 10.0, 100.0])
@pytest.mark.parametrize("delta", [1e-10, 1e-5, 0.01])
def test_the_largest_rho_is_within_its_target_and_nearly_at_it(epsilon: float, delta: float) -> None:
    rho = largest_rho(epsilon, delta)
    assert rho_epsilon(rho, delta) <= epsilon
    assert rho_epsilon(rho * 1.0001, delta) > epsilon * 0.9999 or rho == 100.0


def test_rho_epsilon_is_below_the_classical_conversion() -> None:
    """ρ + 2√(ρ ln(1/δ)), arXiv:1605.02065, Proposition 1.3."""
    assert rho_epsilon(0.5, 1e-6) < 0.5 + 2 * (0.5 * 13.8155) ** 0.5
    assert rho_epsilon(0.5, 1e-6) > 4.5


def test_no_rho_for_an_impossible_target() -> None:
    with pytest.raises(DocumentError, match="allows no ρ"):
        largest_rho(1e-7, 1e-10)
