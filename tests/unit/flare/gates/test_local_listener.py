import pytest

from almoner.flare.gates.local_listener import is_own_job


def test_a_job_of_the_site() -> None:
    assert is_own_job("hungary", "hungary.3f0e8f5e-0000-4000-8000-000000000000")


@pytest.mark.parametrize(
    "name", ["server", "hungary", "hungary.", "hungary2.x", "cleveland.x", "", None, b"hungary.x", 3]
)
def test_anybody_else(name: object) -> None:
    assert not is_own_job("hungary", name)
