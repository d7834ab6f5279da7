"""Keys of one consortium, and a site with a started job; properties have no deadline on a shared machine."""

from pathlib import Path

import pytest
import torch
from flare_cases import DECLARATIONS, SITES, Pki, make_context
from hypothesis import settings
from nvflare.lighter.utils import Identity, generate_cert, generate_keys, serialize_cert, serialize_pri_key

from almoner.flare.job_context import JobContext
from almoner.provision.roster import render_roster

settings.register_profile("almoner", deadline=None)
settings.load_profile("almoner")
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
def context(tmp_path: Path, pki: Pki) -> JobContext:
    return make_context(tmp_path / "site", pki)
