"""A consortium's root key, and a small kit signed with it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from kit_cases import FILES, make_key, self_signed

from almoner.provision.manifest import sign_kit


@pytest.fixture(scope="session")
def root_key() -> rsa.RSAPrivateKey:
    return make_key()


@pytest.fixture(scope="session")
def other_key() -> rsa.RSAPrivateKey:
    return make_key()


@pytest.fixture(scope="session")
def root_pem(root_key: rsa.RSAPrivateKey) -> bytes:
    return self_signed(root_key)


@pytest.fixture(scope="session")
def other_pem(other_key: rsa.RSAPrivateKey) -> bytes:
    return self_signed(other_key, "other")


@pytest.fixture(scope="session")
def make_kit(root_key: rsa.RSAPrivateKey, root_pem: bytes) -> Callable[[Path], Path]:
    """Return a function that writes and signs a kit."""

    def make(kit: Path) -> Path:
        for name, content in {**FILES, "startup/rootCA.pem": root_pem}.items():
            (kit / name).parent.mkdir(parents=True, exist_ok=True)
            (kit / name).write_bytes(content)
            (kit / name).chmod(0o600)
        sign_kit(kit, "cleveland", root_key)
        return kit

    return make


@pytest.fixture
def kit(make_kit: Callable[[Path], Path], tmp_path: Path) -> Path:
    return make_kit(tmp_path / "kit")


@pytest.fixture(scope="module")
def shared_kit(make_kit: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One kit for all examples of a property; each example must put back what it changed."""
    folder = tmp_path_factory.mktemp("shared")
    yield make_kit(folder / "kit")
    shutil.rmtree(folder)
