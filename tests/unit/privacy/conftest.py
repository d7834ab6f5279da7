import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from privacy_cases import account

from almoner.privacy.ledger import Ledger

MEMORY = Path("/dev/shm")


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder in memory, where syncs cost nothing; on the disk where there is no such file system."""
    folder = Path(tempfile.mkdtemp(prefix="almoner-test-", dir=MEMORY if MEMORY.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def ledger(memory_path: Path) -> Ledger:
    """A new ledger of site cleveland with one open account (ε=3, δ=1e-4)."""
    made = Ledger.create(memory_path / "ledger.sqlite", "cleveland")
    made.open_account(account())
    return made
