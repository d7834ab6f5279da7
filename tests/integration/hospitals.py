"""Fixtures for the modules that share one federation; see `hospitals` in conftest.py."""

import pytest

from almoner.flare.commands.federation import Federation
from almoner.flare.kits.provisioning import ProvisionedConsortium


@pytest.fixture
def federation(hospitals: Federation) -> Federation:
    """The shared federation, started if it does not run."""
    if not hospitals._processes:
        hospitals.start(lambda text: None)
    return hospitals


@pytest.fixture
def consortium(hospitals: Federation) -> ProvisionedConsortium:
    return hospitals.consortium
