from pathlib import Path

import pytest
from privacy_cases import account

from almoner.privacy.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A new ledger of site cleveland with one open account (ε=3, δ=1e-4)."""
    made = Ledger.create(tmp_path / "ledger.sqlite", "cleveland")
    made.open_account(account())
    return made
