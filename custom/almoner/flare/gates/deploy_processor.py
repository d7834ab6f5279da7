"""What a site's parent process does with `train.deploy`, in place of FLARE's own processor.

FLARE's processor unzips the upload into a temporary folder, whatever its size, to look at the signature, and
only then asks the deployer: a few hundred kilobytes fill the disk before the door says a word. This one unpacks
nothing. It looks at types and size, and hands the zip to `PolicyAppDeployer`, which reads it within bounds
(`upload.read_signed_app`) and verifies the signature itself.
"""

import logging
import math
import time
from typing import Any

from nvflare.apis.fl_constant import SystemComponents
from nvflare.private.admin_defs import Message, error_reply, ok_reply
from nvflare.private.defs import RequestHeader, TrainingTopic
from nvflare.private.fed.client.admin import RequestProcessor

from almoner.flare.door.deployer import CANNOT_DECIDE, PolicyAppDeployer
from almoner.flare.door.upload import MAX_UNPACKED_BYTES
from almoner.flare.gates.attestation import Attestation
from almoner.provision.names import ATTESTATION_ID

logger = logging.getLogger(__name__)

MAX_ZIP_BYTES = MAX_UNPACKED_BYTES
"""A hundred times what `almoner job export` makes; the same bound holds for what is in the zip."""

DECISION_SECONDS = 2.0
"""Answers of the deployer leave at whole multiples of this after arrival, so that how long a decision took (the
size of the ledger, a calibration that was cached, the disk) can hardly be read from it. A decision takes about a
second when noise must be calibrated first, and milliseconds otherwise; the server waits 30 seconds."""

UNUSABLE = "refused: not a job that almoner exported → submit the folder as it was exported"


class BoundedDeployProcessor(RequestProcessor):  # type: ignore[misc]
    """FLARE's `train.deploy`, without its unbounded unzipping.

    *Guarantee*: nothing of an upload is unpacked or written before `PolicyAppDeployer` has been asked; a site
    that has another deployer, or none, refuses every upload.

    Mitigates: T-11.
    """

    def get_topics(self) -> list[str]:
        """Return the one topic of this processor."""
        return [TrainingTopic.DEPLOY]

    def process(self, req: Message, app_ctx: Any) -> Message:
        """Ask the site's deployer about an upload.

        Args:
            req: the request: the zip as its body; job id, app name and meta data as headers.
            app_ctx: FLARE's engine of the parent process.
        """
        engine, data = app_ctx, req.body
        job_id, app_name = req.get_header(RequestHeader.JOB_ID), req.get_header(RequestHeader.APP_NAME)
        meta = req.get_header(RequestHeader.JOB_META)
        named = isinstance(job_id, str) and isinstance(app_name, str) and isinstance(meta, dict)
        if not named or not isinstance(data, bytes) or len(data) > MAX_ZIP_BYTES:
            logger.warning("deploy: refused an upload of the wrong type or size")
            return error_reply(UNUSABLE)
        if type(engine.get_component(SystemComponents.APP_DEPLOYER)) is not PolicyAppDeployer:
            logger.error("deploy: resources.json names no PolicyAppDeployer")
            return error_reply(CANNOT_DECIDE)
        site = engine.get_client_name()
        arrival = time.monotonic()
        attestation = engine.get_component(ATTESTATION_ID)
        refusal = attestation.refusal(engine) if isinstance(attestation, Attestation) else ""
        refusal = refusal or engine.deploy_app(
            app_name=app_name, job_id=job_id, job_meta=meta, client_name=site, app_data=data
        )
        _wait_for_deadline(arrival)
        return error_reply(refusal) if refusal else ok_reply(body=f"deployed {app_name} to {site}")


def _wait_for_deadline(arrival: float) -> None:
    """Sleep until the next whole multiple of `DECISION_SECONDS` after arrival."""
    taken = time.monotonic() - arrival
    time.sleep(max(math.ceil(taken / DECISION_SECONDS), 1) * DECISION_SECONDS - taken)
