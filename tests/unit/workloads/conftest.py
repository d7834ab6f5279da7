from pathlib import Path

import pytest
import torch

from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE

torch.set_num_threads(1)
"""Two spinning threads for tiny matrices take many times as long beside other busy processes."""


@pytest.fixture(scope="session")
def heart_files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The four hospitals' files; the first run needs a package index."""
    cache = Path(request.config.cache.mkdir("almoner-data"))
    return prepare_sites(HEART_DISEASE, cache, tmp_path_factory.mktemp("hospitals"))
