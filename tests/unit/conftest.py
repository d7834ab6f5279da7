"""Fixtures that several packages' tests use."""

from pathlib import Path

import pytest

from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE


@pytest.fixture(scope="session")
def heart_files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The four hospitals' files; the first run needs a package index."""
    cache = Path(request.config.cache.mkdir("almoner-data"))
    return prepare_sites(HEART_DISEASE, cache, tmp_path_factory.mktemp("hospitals"))
