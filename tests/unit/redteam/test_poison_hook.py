"""The hook that makes sites of a real federation lie, on the real training of a site."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE
from almoner.flare.training.local_work import LocalWork
from almoner.redteam.poisoning.catalogue import ATTACKS
from almoner.schema.declarations import Declarations
from almoner.schema.job import JobSpec
from almoner.training.grid import update_grid
from almoner.workloads.registry import workload

HOOKS = Path(__file__).resolve().parents[2] / "integration" / "hooks"
LIAR, ACCOMPLICE, HONEST = "hungary", "cleveland", "va-long-beach"
NOISE_MULTIPLIER = 0.1
MakeWork = Callable[[str, str], LocalWork]


@pytest.fixture(scope="module")
def hook() -> Iterator[ModuleType]:
    sys.path.insert(0, str(HOOKS))
    import poison

    yield poison
    sys.path.remove(str(HOOKS))
    sys.modules.pop("poison", None)


@pytest.fixture(scope="module")
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.set_num_threads(1)
    cache = Path(request.config.cache.mkdir("almoner-data"))
    return prepare_sites(HEART_DISEASE, cache, tmp_path_factory.mktemp("hospitals"))


@pytest.fixture
def work(hook: ModuleType, files: dict[str, Path], heart_spec: JobSpec, declarations: Declarations) -> MakeWork:
    """Make a site's real work, with the hook on if there is an attack."""

    def make(site: str, attack: str) -> LocalWork:
        class Hooked(LocalWork):
            pass

        if attack:
            hook.wrap_local_work(SimpleNamespace(LocalWork=Hooked), (LIAR, ACCOMPLICE), attack)
        task = workload("heart_disease")
        context = SimpleNamespace(
            site=SimpleNamespace(policy=declarations.policies[site]),
            envelope=SimpleNamespace(spec=heart_spec),
            spec=heart_spec,
            nominal_records=declarations.nominal_records("cardiology", declarations.consortium.sites),
            dataset=declarations.sites[site].datasets["cardiology"],
            data_path=files[site],
            workload=task,
            plan=SimpleNamespace(noise_multiplier=NOISE_MULTIPLIER),
            grid=update_grid(1.0, 0.5, NOISE_MULTIPLIER, 212, 1),
        )
        return Hooked(context, task.build_model())

    return make


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_lying_site_sends_what_fits_the_grid(attack: str, work: MakeWork) -> None:
    lying = work(LIAR, attack)
    for _ in range(2):
        sent = lying.train(np.zeros(17))
        assert (sent.dtype, sent.shape) == (np.int64, (17,))
        assert np.abs(sent).max() <= 32_767


def test_only_the_named_sites_lie(work: MakeWork) -> None:
    for site, correlates in ((HONEST, True), (LIAR, False)):
        truth, sent = (work(site, attack).train(np.zeros(17)).astype(float) for attack in ("", "sign_flip"))
        assert (np.corrcoef(truth, sent)[0, 1] > 0.8) == correlates
        assert (np.corrcoef(truth, sent)[0, 1] < -0.8) != correlates


def test_accomplices_tell_the_same_lie_about_different_estimates(work: MakeWork) -> None:
    """Each estimates the honest mean by its own update, so their lies agree in direction and not in every number."""
    one, other = (work(site, "inner_product").train(np.zeros(17)).astype(float) for site in (LIAR, ACCOMPLICE))
    assert np.corrcoef(one, other)[0, 1] > 0.5
    assert not np.array_equal(one, other)


def test_flipped_labels_turn_the_update_round(work: MakeWork) -> None:
    truth, sent = (work(LIAR, attack).train(np.zeros(17)).astype(float) for attack in ("", "label_flip"))
    assert np.corrcoef(truth, sent)[0, 1] < -0.8
