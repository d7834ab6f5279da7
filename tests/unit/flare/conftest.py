"""Keys of one consortium, and a site with a started job."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from flare_cases import DECLARATIONS, SITES, Pki, make_context
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.app_common.decomposers import common_decomposers
from nvflare.fuel.utils.fobs import fobs as registry
from nvflare.lighter.utils import Identity, generate_cert, generate_keys, serialize_cert, serialize_pri_key
from nvflare.private.fed.utils.decomposers import private_decomposers

from almoner.flare.job.job_context import JobContext
from almoner.provision.roster import render_roster

torch.set_num_threads(1)

PEOPLE = {
    "lead": Identity("lead@cleveland.example", "cleveland", "lead"),
    "officer": Identity("officer@cleveland.example", "cleveland", "org_admin"),
    "trainee": Identity("trainee@hungary.example", "hungary", "trainee"),
    "server": Identity("localhost", "coordinating_centre"),
    **{site: Identity(site, site.replace("-", "_")) for site in SITES},
}


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates as FLARE's provisioner makes them, and one user whom another root signed."""
    folder = tmp_path_factory.mktemp("pki")
    roots = {}
    for name in ("root", "foreign-root"):
        key, public = generate_keys()
        roots[name] = Identity(name), key
        certificate = generate_cert(Identity(name), Identity(name), key, public, ca=True)
        (folder / f"{name}.pem").write_bytes(serialize_cert(certificate))
        (folder / f"{name}.key").write_bytes(serialize_pri_key(key))
    people = {**dict.fromkeys(PEOPLE, "root"), "stranger": "foreign-root"}
    for name, root in people.items():
        key, public = generate_keys()
        issuer, signer = roots[root]
        certificate = generate_cert(PEOPLE.get(name, PEOPLE["lead"]), issuer, signer, public)
        (folder / f"{name}.crt").write_bytes(serialize_cert(certificate))
        (folder / f"{name}.key").write_bytes(serialize_pri_key(key))
    pems = {site: (folder / f"{site}.crt").read_text() for site in SITES}
    return Pki(folder, folder / "root.pem", render_roster(DECLARATIONS, pems))


@pytest.fixture
def own_registry() -> Iterator[None]:
    """Give FLARE's serialiser an empty registry for a test; afterwards it is as it was, for whoever comes next."""
    tables = (registry._decomposers, registry._dot_handlers, registry._type_name_whitelist)
    parts = (flare_decomposers.register, common_decomposers.register, private_decomposers.register)
    before, done = [table.copy() for table in tables], [part.registered for part in parts]
    registered = registry._decomposers_registered
    registry.reset()
    for part in parts:
        part.registered = False
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)
    for part, was in zip(parts, done, strict=True):
        part.registered = was
    registry._decomposers_registered = registered


@pytest.fixture
def context(tmp_path: Path, pki: Pki) -> JobContext:
    return make_context(tmp_path / "site", pki)
