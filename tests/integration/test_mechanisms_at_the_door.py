"""Training without noise, or with shared noise: what the door says, on the deployer itself with kits of FLARE's.

The consortium is the checkout's with two changes: this site's policy does not name its mechanisms, and every site has a
second data set that is not registered public.
"""

import shutil
from pathlib import Path

import pytest
from tests.integration.test_deployer_refusals import SITE, Door, spec_edit

from almoner.data.prepare import prepare_sites
from almoner.data.registry import HEART_DISEASE
from almoner.flare.commands.federation import free_port
from almoner.flare.door.render import new_envelope
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.schema.aggregation import PlainAggregation
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec, NoPrivacy, TrainingPrivacy

OPT_IN = "  mechanisms: [dp_sgd, distributed_dp, none]\n"


@pytest.fixture(scope="module")
def consortium(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedConsortium:
    folder = tmp_path_factory.mktemp("mechanisms")
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(root / name, folder / "declared" / name)
    policy = folder / "declared" / "policies" / f"{SITE}.yaml"
    policy.write_text(policy.read_text().replace(OPT_IN, ""))
    for config in (folder / "declared" / "site_configs").glob("*.yaml"):
        own = config.read_text()
        head, _, cardiology = own.partition("  cardiology:\n")
        private = cardiology.replace("public: true", "public: false")
        config.write_text(f"{head}  cardiology:\n{cardiology}  registry:\n{private}")
    made = provision(folder / "declared", folder / "heart", free_port())
    prepare_sites(HEART_DISEASE, root / "build" / "cache", folder / "heart" / "sites")
    return made


@pytest.fixture
def door(consortium: ProvisionedConsortium, tmp_path: Path) -> Door:
    return Door(consortium, tmp_path)


@pytest.fixture
def unprotected(heart_spec: JobSpec) -> JobSpec:
    fields = {name: getattr(heart_spec.privacy, name) for name in TrainingPrivacy.model_fields}
    return heart_spec.model_copy(update={"privacy": NoPrivacy(mechanism="none", **fields), "releases": ()})


@pytest.fixture
def shared(root: Path) -> JobSpec:
    return load_document(root / "jobs" / "heart_disease_distributed.yaml", JobSpec)


def submit(door: Door, spec: JobSpec) -> str:
    return door.submit(new_envelope(spec, door.consortium.declarations.consortium.sites))


@pytest.mark.threat("T-80")
def test_training_without_privacy_is_for_public_data_alone(door: Door, unprotected: JobSpec) -> None:
    assert submit(door, unprotected) == ""
    refusal = submit(door, unprotected.model_copy(update={"dataset": "registry"}))
    assert f"refused by {SITE}: job heart-disease asks training with no privacy (public data)" in refusal
    assert "data.public" in refusal
    assert "registry is not registered public" in refusal
    with door.ledger() as ledger:
        assert ledger.account(f"{SITE}-cardiology").rdp_spent == 0.0


@pytest.mark.threat("T-83")
def test_shared_noise_is_for_policies_that_name_it(door: Door, shared: JobSpec) -> None:
    """The refusal is this site's alone: the others' policies name it."""
    refusal = submit(door, shared)
    assert "asks training ε=1.00, distributed noise and accuracy ε=0.10" in refusal
    assert "allow.mechanisms   distributed_dp is not in [dp_sgd, none]" in refusal
    assert len(refusal.splitlines()) == 2


@pytest.mark.threat("T-81")
def test_shared_noise_in_clear_is_no_job(door: Door, shared: JobSpec) -> None:
    """A submitter with a text editor: no site reads a job whose shares a server would see."""
    envelope = new_envelope(shared, door.consortium.declarations.consortium.sites)
    refusal = door.submit(spec_edit(envelope, aggregation=PlainAggregation(kind="plain")))
    assert "job.unreadable" in refusal
    assert "distributed_dp needs aggregation.kind secagg" in refusal
