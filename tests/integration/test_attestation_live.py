"""A federation whose sites and server ask each other for attestation, by FLARE's mock; who shows a forged token is out.

The mock's one token is constant, and FLARE's own accepts every token: a hook makes it refuse what is forged.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.attacker import came_true
from tests.integration.conftest import LEAD

from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE
from almoner.errors import ProvisioningError
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.session import UserSession, open_session
from almoner.flare.gates.attestation import UNATTESTED
from almoner.flare.gates.gate_parts import ATTEST
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.provision import names
from almoner.provision.manifest import verify_kit
from almoner.schema.job import JobSpec

SITE = "hungary"
SECTION = "confidential_computing: {authorizers: [{kind: mock}], require: {sites: [mock], server: [mock]}}\n"
HOOKS = str(Path(__file__).parent / "hooks")

pytestmark = pytest.mark.slow


@dataclass
class Case:
    consortium: ProvisionedConsortium
    federation: Federation
    forged: Path
    out: Path

    @property
    def sites(self) -> tuple[str, ...]:
        return self.consortium.declarations.consortium.sites

    def log_of(self, name: str) -> str:
        home = self.consortium.root / "server" if name == "server" else self.consortium.site_folder(name)
        log = home / "kit" / "log.txt"
        return log.read_text() if log.is_file() else ""

    def submit(self, session: UserSession, spec: JobSpec) -> str:
        return session.submit(export_job(spec, self.consortium.declarations, self.out))

    def start(self, site: str) -> None:
        self.federation.start_one(site)
        self.federation.wait_for_sites(self.sites)


@pytest.fixture(scope="module")
def case(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """All sites but one are logged in; that one was started too, with a forged token."""
    folder = tmp_path_factory.mktemp("attested")
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(root / name, folder / "declared" / name)
    with (folder / "declared" / "provisioning" / "consortium.yaml").open("a") as declaration:
        declaration.write(SECTION)
    consortium = provision(folder / "declared", folder / "heart", free_port())
    prepare_sites(HEART_DISEASE, root / "build" / "cache", folder / "heart" / "sites")
    forged = folder / "forged"
    forged.mkdir()
    (forged / SITE).touch()
    environment = {"PYTHONPATH": HOOKS, "ALMONER_TEST_FORGED": str(forged)}
    with Federation(consortium, environment) as federation:
        federation.start_one("server")
        federation._wait_for("the server", federation._server_listens)
        for site in consortium.declarations.consortium.sites:
            federation.start_one(site)
        made = Case(consortium, federation, forged, folder / "jobs")
        federation.wait_for_sites(tuple(site for site in made.sites if site != SITE))
        yield made


def test_a_site_with_a_forged_token_is_kept_out_and_the_others_are_not(case: Case) -> None:
    """FLARE's own manager would have shut down the server and all sites here."""
    process = case.federation._processes[SITE]
    assert came_true(lambda: process.poll() is not None, 60.0)
    case.federation.kill(SITE)
    assert "a site showed no valid tokens and is not logged in" in case.log_of("server")
    with open_session(case.consortium.user_kit(LEAD)) as session:
        assert session.sites() == sorted(set(case.sites) - {SITE})


def test_with_valid_tokens_it_is_let_in_and_a_job_runs(case: Case, heart_spec: JobSpec) -> None:
    (case.forged / SITE).unlink()
    case.start(SITE)
    spec = heart_spec.model_copy(update={"rounds": 2, "min_sites": len(case.sites)})
    with open_session(case.consortium.user_kit(LEAD), spec.study) as session:
        assert session.follow(case.submit(session, spec), lambda progress: None, 240.0).completed
    lines = [line for name in ("server", *case.sites) for line in case.log_of(name).splitlines()]
    assert not [line for line in lines if "gate: refused" in line and ATTEST[0] in line]


def test_sites_refuse_jobs_of_a_server_with_a_forged_token(case: Case, heart_spec: JobSpec) -> None:
    (case.forged / "server").touch()
    with open_session(case.consortium.user_kit(LEAD), heart_spec.study) as session:
        report = session.follow(case.submit(session, heart_spec), lambda progress: None, 240.0)
    (case.forged / "server").unlink()
    assert not report.completed
    assert {site: report.answers[site] for site in case.sites} == dict.fromkeys(case.sites, UNATTESTED)


def test_a_job_waits_for_a_site_whose_token_is_forged_after_its_log_in(case: Case, heart_spec: JobSpec) -> None:
    (case.forged / SITE).touch()
    with open_session(case.consortium.user_kit(LEAD), heart_spec.study) as session:
        job_id = case.submit(session, heart_spec)
        assert came_true(lambda: f"no valid attestation of {SITE}" in case.log_of("server"), 60.0)
        assert session.report(job_id).status == "SUBMITTED"
    for site in case.sites:
        with Ledger.open(case.consortium.site_folder(site) / LEDGER) as ledger:
            assert not [entry for entry in ledger.entries() if job_id in entry.payload]


def test_who_asks_for_what_is_in_the_signed_kit(case: Case) -> None:
    kit = case.consortium.site_folder(SITE) / "kit"
    path = kit / "local" / names.ATTESTATION_FILE
    signed = path.read_bytes()
    attestation = json.loads(signed)
    assert attestation["components"][-1]["args"] == {"shown": ["mock"], "asked": ["mock"]}
    attestation["components"][-1]["args"]["asked"] = []
    path.write_text(json.dumps(attestation))
    with pytest.raises(ProvisioningError, match=f"{names.ATTESTATION_FILE}: was changed"):
        verify_kit(kit)
    path.write_bytes(signed)
    verify_kit(kit)
