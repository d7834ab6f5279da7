"""Renders the hardened `local/` files of a kit: what FLARE may load, run, admit and let out.

Everything that FLARE leaves open by default is shut here: job code (BYOC), classes outside our own
executor, log streaming, shell commands, cloned jobs, further privacy scopes.
"""

from typing import Any

from almoner.provision import names
from almoner.schema.consortium import Consortium

_NONE = "none"
_DENIED = {"clone_job": _NONE, "shell_commands": _NONE, "byoc": _NONE, "server-predeployed-flwr": _NONE}


def _component(identifier: str, path: str, **args: Any) -> dict[str, Any]:
    """Return one entry of a FLARE component list."""
    return {"id": identifier, "path": path, "args": args}


def render_site_resources() -> dict[str, Any]:
    """Return a site's `resources.json`."""
    managers = "nvflare.app_common.resource_managers.list_resource_manager.ListResourceManager"
    consumer = "nvflare.app_common.resource_consumers.list_resource_consumer.ListResourceConsumer"
    return {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": [names.EXECUTOR],
        "allow_log_streaming": False,
        "client": {"retry_timeout": 30, "compression": "Gzip", "site_config": {}},
        "components": [
            _component("resource_manager", managers, resources={}),
            _component("resource_consumer", consumer),
            _component("process_launcher", names.LAUNCHER),
            _component("app_deployer", names.DEPLOYER),
        ],
    }


def render_server_resources() -> dict[str, Any]:
    """Return the server's `resources.json`; its stores lie beside the kit, in `$ALMONER_HOME`."""
    storage = "nvflare.app_common.storages.filesystem_storage.FilesystemStorage"
    return {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": [names.CONTROLLER],
        "servers": [
            {"admin_storage": "transfer", "max_num_clients": 100, "heart_beat_timeout": 60, "admin_timeout": 30.0}
        ],
        "snapshot_persistor": {
            "path": "nvflare.app_common.state_persistors.storage_state_persistor.StorageStatePersistor",
            "args": {
                "uri_root": "/",
                "storage": {"path": storage, "args": {"root_dir": "{$ALMONER_HOME}/snapshots", "uri_root": "/"}},
            },
        },
        "app_validator": {"path": names.APP_VALIDATOR, "args": {}},
        "components": [
            _component(
                "job_scheduler",
                "nvflare.app_common.job_schedulers.job_scheduler.DefaultJobScheduler",
                max_jobs=4,
                min_schedule_interval=1.0,
            ),
            _component(
                "job_manager",
                names.JOB_MANAGER,
                uri_root="{$ALMONER_HOME}/jobs",
                job_store_id="job_store",
            ),
            _component("job_store", storage),
            _component("process_launcher", names.SERVER_LAUNCHER),
        ],
    }


def render_privacy() -> dict[str, Any]:
    """Return a site's `privacy.json`: one scope, whose result filters every reply passes in order."""
    filters = [{"path": path, "args": {}, "direction": "out"} for path in names.RESULT_FILTERS]
    return {
        "scopes": [{"name": names.SCOPE, "properties": {}, "task_result_filters": filters, "task_data_filters": []}],
        "default_scope": names.SCOPE,
    }


def render_authorization(consortium: Consortium) -> dict[str, Any]:
    """Return `authorization.json`: nobody has a shell, brings code or clones a job.

    `submit_job` is FLARE's outer gate only; who is admitted is decided by each site's policy. `view` cannot be
    tied to the submitter: FLARE asks for `list_jobs` without naming one, so that nobody could list any job.
    """
    permissions: dict[str, dict[str, str]] = {
        "project_admin": {
            **_DENIED,
            "submit_job": _NONE,
            "manage_job": "any",
            "download_job": _NONE,
            "view": "any",
            "operate": "any",
        },
        "org_admin": {
            **_DENIED,
            "submit_job": _NONE,
            "manage_job": "o:submitter",
            "download_job": _NONE,
            "view": "any",
            "operate": "o:site",
        },
        "lead": {
            **_DENIED,
            "submit_job": "any",
            "manage_job": "n:submitter",
            "download_job": "n:submitter",
            "view": "any",
            "operate": _NONE,
        },
        "member": {**_DENIED, "submit_job": _NONE, "manage_job": _NONE, "download_job": _NONE, "view": "any"},
    }
    scope = {"submit_job": "any", "manage_job": "n:submitter", "download_job": "n:submitter", "view": "any"}
    for role, rights in consortium.roles.items():
        permissions[role] = {**_DENIED, **{right: scope[right] if right in rights else _NONE for right in scope}}
    return {"format_version": "1.0", "permissions": permissions}
