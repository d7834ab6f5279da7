"""Two jobs at once cannot share what a quota has left for one: decisions are made one at a time."""

import shutil
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from tests.integration.test_deployer_refusals import LEAD, SITE, Door

from almoner.flare.door import deployer as module
from almoner.flare.door.deployer import PolicyAppDeployer
from almoner.flare.door.render import new_envelope, render_app, render_meta
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.schema.job import JobSpec

MEETING_SECONDS = {False: 60.0, True: 1.0}
"""How long one submission waits for the other: without the lock until it comes, with it the other is not let in."""


@pytest.fixture
def site(consortium: ProvisionedConsortium, tmp_path: Path) -> Path:
    """A copy of a site whose policy admits one job of a study a day."""
    folder = tmp_path / "site"
    shutil.copytree(consortium.site_folder(SITE), folder)
    policy = folder / "kit" / "local" / "almoner_policy.yaml"
    text = policy.read_text()
    assert text.count('"jobs_per_day_per_study": null') == 1
    policy.write_text(text.replace('"jobs_per_day_per_study": null', '"jobs_per_day_per_study": 1'))
    return folder


@pytest.mark.threat("T-33")
@pytest.mark.parametrize(("locked", "admitted"), [(False, 2), (True, 1)])
def test_two_submissions_meet_between_question_and_reservation(
    locked: bool,
    admitted: int,
    site: Path,
    consortium: ProvisionedConsortium,
    heart_spec: JobSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    privacy = heart_spec.privacy.model_copy(update={"target_epsilon": 0.05})
    spec = heart_spec.model_copy(update={"privacy": privacy, "releases": ()})
    door, deployer = Door(consortium, tmp_path), PolicyAppDeployer()
    if not locked:
        monkeypatch.setattr(deployer, "_lock", nullcontext())
    meeting, decide = threading.Barrier(2), module.decide

    def decide_together(*arguments: Any) -> Any:
        decision = decide(*arguments)
        with suppress(threading.BrokenBarrierError):  # the other one is not let in before this one is through
            meeting.wait(MEETING_SECONDS[locked])
        return decision

    def submit(signed: tuple[bytes, dict[str, Any]]) -> str:
        job_id = str(uuid.uuid4())
        meta = {"job_id": job_id, "study": "cardiology", **signed[1]}
        return deployer.deploy(Workspace(str(site / "kit"), SITE), job_id, meta, "app", signed[0], FLContext())

    monkeypatch.setattr(module, "decide", decide_together)
    envelopes = [new_envelope(spec, consortium.declarations.consortium.sites) for _ in range(2)]
    kit = consortium.user_kit(LEAD) / "startup"
    signed = [(door.sign(render_app(envelope), kit), render_meta(envelope)) for envelope in envelopes]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(submit, signed))
    assert answers.count("") == admitted
    assert sum("rate.study" in answer for answer in answers) == 2 - admitted
