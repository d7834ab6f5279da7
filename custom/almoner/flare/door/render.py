"""Renders a FLARE job folder from an envelope: the one rendering that export, sites and server share.

*Guarantee*: the bytes are a function of the envelope and of this release alone, so that a site can
re-render a submitted job and compare byte for byte. The components take no arguments: the envelope in
`almoner_job.json`, which FLARE's configurators never load, is all that they read.
"""

import json
import secrets
import time
from typing import Any

from almoner import __version__
from almoner.flare.job.wire import TASKS
from almoner.provision import names
from almoner.schema.base import canonical_json
from almoner.schema.envelope import AnyJobSpec, JobEnvelope, workload_of
from almoner.workloads.registry import package_of

APP = "app"
TASK_REQUEST_INTERVAL_SECONDS = 0.05
"""How soon a site asks for its next task; FLARE's default of 2 s is most of a small round."""

DEFAULT_LIFETIME_SECONDS = 7 * 24 * 3600


def new_envelope(
    spec: AnyJobSpec, sites: tuple[str, ...], lifetime_seconds: int = DEFAULT_LIFETIME_SECONDS
) -> JobEnvelope:
    """Put a spec into an envelope of its own: fresh nonce, site list, times, the workload's package as it is here."""
    now = int(time.time())
    return JobEnvelope(
        schema_version=1,
        spec=spec,
        sites=sites,
        nonce=secrets.token_hex(16),
        issued_unix_seconds=now,
        expires_unix_seconds=now + lifetime_seconds,
        almoner_version=__version__,
        workload_package=package_of(workload_of(spec)),
    )


def config_bytes(value: dict[str, Any]) -> bytes:
    """Encode a FLARE configuration for people to read."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def render_server_config() -> dict[str, Any]:
    """Return `config_fed_server.json`."""
    return {
        "format_version": 2,
        "server": {"task_request_interval": TASK_REQUEST_INTERVAL_SECONDS},
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
        "workflows": [{"id": "almoner", "path": names.CONTROLLER, "args": {}}],
    }


def render_client_config() -> dict[str, Any]:
    """Return `config_fed_client.json`. Filters are the site's own, in its privacy scope, never the job's."""
    return {
        "format_version": 2,
        "executors": [{"tasks": list(TASKS), "executor": {"path": names.EXECUTOR, "args": {}}}],
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
    }


def render_meta(envelope: JobEnvelope) -> dict[str, Any]:
    """Return `meta.json`."""
    return {
        "name": envelope.spec.name,
        "resource_spec": {},
        "min_clients": envelope.spec.min_sites,
        "deploy_map": {APP: ["server", *envelope.sites]},
    }


def render_app(envelope: JobEnvelope) -> dict[str, bytes]:
    """Return the app's files by path below the app folder: what a site must find, and nothing else."""
    return {
        "config/config_fed_client.json": config_bytes(render_client_config()),
        "config/config_fed_server.json": config_bytes(render_server_config()),
        f"config/{names.JOB_FILE}": canonical_json(envelope) + b"\n",
    }


def render_job(envelope: JobEnvelope) -> dict[str, bytes]:
    """Return the job folder's files by path: what `submit_job` takes as it is."""
    app = {f"{APP}/{path}": content for path, content in render_app(envelope).items()}
    return {"meta.json": config_bytes(render_meta(envelope)), **app}
