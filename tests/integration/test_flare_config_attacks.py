"""What FLARE's own configuration search would do with a job's files, and why it gets nothing of the kind here.

FLARE walks the whole workspace for a configuration and imports what it names; it expands variables in every
string. Each attack is shown to succeed on FLARE's own classes, run as FLARE runs them, and to fail on the
way that a job takes here: server's file list, site's deployer, JobSpec.
"""

import json
import os
import subprocess
import sys
import uuid
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from nvflare.fuel.utils.wfconf import Configurator
from tests.integration.attacker import SITE
from tests.integration.test_deployer_refusals import LEAD, Door

from almoner.errors import DocumentError
from almoner.flare.door.app_validator import FileListValidator
from almoner.flare.door.render import new_envelope, render_app, render_meta
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec

DRIVER = "config/comm_config.json"
CODE = "config/driver.py"

STOCK_SITE = """
import json, sys
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.fuel.f3.communicator import load_comm_drivers
from nvflare.fuel.utils.config_service import ConfigService
from nvflare.private.fed.utils.app_deployer import AppDeployer

kit, site, job_id, archive = sys.argv[1:]
if archive:
    error = AppDeployer().deploy(Workspace(kit, site), job_id, {}, "app", open(archive, "rb").read(), FLContext())
    assert not error, error
ConfigService.initialize(section_files={}, config_path=[kit])  # as FLARE's starter does in every process of a site
load_comm_drivers()  # as a cell does when it makes its first connection
"""


def start_stock_site(kit: Path, job_id: str, archive: str = "") -> None:
    """Deploy an app as FLARE does, and search configuration and drivers as a starting process does."""
    line = [sys.executable, "-P", "-c", STOCK_SITE, str(kit), SITE, job_id, archive]
    done = subprocess.run(line, cwd=kit, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def poisoned(heart_spec: JobSpec, consortium: ProvisionedConsortium, tmp_path: Path) -> dict[str, bytes]:
    """An honest app with a driver path and a Python file beside it, which leaves a mark when it is imported."""
    envelope = new_envelope(heart_spec, consortium.declarations.consortium.sites)
    code = f"open({str(tmp_path / 'imported')!r}, 'w').close()\n"
    return render_app(envelope) | {DRIVER: b'{"comm_driver_path": "."}', CODE: code.encode()}


@pytest.mark.threat("T-01")
def test_stock_site_imports_code_that_is_not_in_the_custom_folder(poisoned: dict[str, bytes], tmp_path: Path) -> None:
    kit, archive = tmp_path / "kit", tmp_path / "app.zip"
    for folder in ("startup", "local"):
        (kit / folder).mkdir(parents=True)
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, content in poisoned.items():
            target.writestr(name, content)
    archive.write_bytes(buffer.getvalue())
    start_stock_site(kit, str(uuid.uuid4()), str(archive))
    assert (tmp_path / "imported").exists()


@pytest.mark.threat("T-01")
def test_our_site_keeps_no_file_that_could_be_imported(
    poisoned: dict[str, bytes], consortium: ProvisionedConsortium, heart_spec: JobSpec, tmp_path: Path
) -> None:
    door, job_id = Door(consortium, tmp_path), str(uuid.uuid4())
    envelope = new_envelope(heart_spec, consortium.declarations.consortium.sites)
    signed = door.sign(poisoned, consortium.user_kit(LEAD) / "startup")
    answer = door.deploy(signed, render_meta(envelope), job_id)
    for name in (DRIVER, CODE):
        assert f"{name} was added after export" in answer
    kit = consortium.site_folder(SITE) / "kit"
    assert not (kit / job_id).exists()
    start_stock_site(kit, job_id)
    assert not (tmp_path / "imported").exists()


@pytest.mark.threat("T-01")
def test_server_refuses_the_file_list(poisoned: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in poisoned.items():
        (tmp_path / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "app" / name).write_bytes(content)
    refusal, _ = FileListValidator().validate(str(tmp_path / "app"))
    assert refusal == f"refused by the server: files that almoner does not export: {DRIVER}, {CODE}"


@pytest.mark.parametrize(
    ("text", "becomes"), [("{$HOME}", os.environ["HOME"]), ("for {$HOME}", f"for {os.environ['HOME']}"), ("{id}", "7")]
)
def test_flare_expands_variables_in_any_string(tmp_path: Path, text: str, becomes: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"id": "7", "spec": {"purpose": text}}))
    configurator = Configurator(str(tmp_path), {}, {}, str(config), ["almoner.schema"], ["base"])
    configurator.configure()
    assert configurator.wf_config_data["spec"]["purpose"] == becomes


@pytest.mark.threat("T-01")
@pytest.mark.parametrize("field", ["purpose", "name", "study", "workload", "dataset"])
@pytest.mark.parametrize("text", ["{$HOME}", "for {WORKSPACE}", "{id}", "{@x:n=1}", "$HOME", "a@b", "}{"])
def test_spec_with_a_variable_is_refused(root: Path, tmp_path: Path, field: str, text: str) -> None:
    document = yaml.safe_load((root / "jobs" / "heart_disease.yaml").read_text())
    target = tmp_path / "job.yaml"
    target.write_text(yaml.safe_dump(document))
    assert load_document(target, JobSpec).name == "heart-disease"
    target.write_text(yaml.safe_dump(document | {field: text}))
    with pytest.raises(DocumentError, match=field):
        load_document(target, JobSpec)


def test_flares_configurators_see_no_text_of_the_spec(heart_spec: JobSpec, consortium: ProvisionedConsortium) -> None:
    spec = heart_spec.model_copy(update={"purpose": "a text that stands nowhere else"})
    files = render_app(new_envelope(spec, consortium.declarations.consortium.sites))
    assert [name for name, content in files.items() if spec.purpose.encode() in content] == ["config/almoner_job.json"]
