"""A provisioned federation of real processes, shared by the tests of one module."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.session import JobReport, open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.schema.job import JobSpec

LEAD = "lead@cleveland.example"
TRAINEE = "trainee@hungary.example"
JOB_SECONDS = 300.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "integration" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session", autouse=True)
def _patience() -> Iterator[None]:
    """Processes start more slowly where other tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("almoner.flare.commands.federation.START_SECONDS", 180.0)
        yield


def make_consortium(root: Path, out: Path) -> ProvisionedConsortium:
    """Provision the checkout's consortium and give each hospital its data."""
    consortium = provision(root, out, free_port())
    prepare_sites(HEART_DISEASE, root / "build" / "cache", out / "sites")
    return consortium


@pytest.fixture(scope="module")
def consortium(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedConsortium:
    return make_consortium(root, tmp_path_factory.mktemp("consortium") / "heart")


@pytest.fixture(scope="module")
def federation(consortium: ProvisionedConsortium) -> Iterator[Federation]:
    with Federation(consortium) as running:
        running.start(lambda text: None)
        yield running


@pytest.fixture(scope="session")
def hospitals(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation that several modules share, as it is after the tests before; it is stopped between them."""
    with Federation(make_consortium(root, tmp_path_factory.mktemp("hospitals") / "heart")) as shared:
        yield shared


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the shared federation where the next test does not use it: an idle one takes 3 GB."""
    shared = getattr(item, "funcargs", {}).get("hospitals")
    if shared is not None and "hospitals" not in getattr(nextitem, "fixturenames", ()):
        shared.stop()


@pytest.fixture
def run_job(consortium: ProvisionedConsortium, tmp_path: Path) -> Callable[..., JobReport]:
    """Export a spec, submit it, and wait for its end."""

    def run(spec: JobSpec, user: str = LEAD, edit: Callable[[Path], None] | None = None) -> JobReport:
        folder = export_job(spec, consortium.declarations, tmp_path)
        if edit is not None:
            edit(folder)
        with open_session(consortium.user_kit(user), spec.study) as session:
            return session.follow(session.submit(folder), lambda progress: None, JOB_SECONDS)

    return run
