"""Renders the golden files: the exported job of a fixed envelope, and the hardened `local/` files of kits.

A change of any of them changes what sites compare byte for byte, what FLARE may load, or who may do what. When a
change is meant, write the files anew from the checkout's folder, read the difference, and commit it:

    .venv/bin/python -m tests.golden.regenerate
"""

import json
from pathlib import Path
from typing import Any

from almoner.flare.door.render import render_job
from almoner.provision import kit_files
from almoner.provision.project import render_project
from almoner.schema.consortium import Consortium
from almoner.schema.envelope import JobEnvelope

HERE = Path(__file__).resolve().parent
ENVELOPE: dict[str, Any] = {
    "schema_version": 1,
    "spec": {
        "schema_version": 1,
        "kind": "training",
        "name": "golden",
        "study": "cardiology",
        "purpose": "köronary disease ♥ from routine tests",
        "workload": "heart_disease",
        "dataset": "cardiology",
        "rounds": 20,
        "min_sites": 3,
        "training": {"local_steps": 1, "learning_rate": 1.0},
        "privacy": {
            "unit": "patient",
            "neighboring_relation": "add_or_remove_one",
            "mechanism": "dp_sgd",
            "target_epsilon": 1.0,
            "target_delta": 0.0001,
            "max_grad_norm": 1.0,
            "sampling_prob": 0.5,
        },
        "aggregation": {"kind": "he", "num_colluding_sites": 1},
        "releases": [{"kind": "accuracy", "epsilon": 0.1}],
    },
    "sites": ["cleveland", "hungary", "va-long-beach"],
    "nonce": "00112233445566778899aabbccddeeff",
    "issued_unix_seconds": 1899900000,
    "expires_unix_seconds": 1900000000,
    "almoner_version": "golden",
    "workload_package": "",
}
CONSORTIUM: dict[str, Any] = {
    "schema_version": 1,
    "name": "golden-consortium",
    "server": {"host": "fl.example.org", "org": "coordinating-centre"},
    "sites": ["cleveland", "va-long-beach"],
    "users": [
        {"name": "admin@coordinating-centre.example", "org": "coordinating-centre", "role": "project_admin"},
        {"name": "lead@cleveland.example", "org": "cleveland", "role": "lead"},
        {"name": "trainee@va.example", "org": "va-long-beach", "role": "trainee"},
    ],
    "roles": {"trainee": ["submit_job", "view"]},
    "studies": {"cardiology": {"sites": "all", "admins": ["lead@cleveland.example"]}},
}


def _as_text(value: dict[str, Any]) -> bytes:
    """Encode a rendered file as kits hold it."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def render_golden() -> dict[str, bytes]:
    """Return every golden file by its path below this folder."""
    envelope = JobEnvelope.model_validate_json(json.dumps(ENVELOPE))
    consortium = Consortium.model_validate_json(json.dumps(CONSORTIUM))
    job = {f"job/{path}": content for path, content in render_job(envelope).items()}
    return job | {
        "kit/site_resources.json": _as_text(kit_files.render_site_resources()),
        "kit/server_resources.json": _as_text(kit_files.render_server_resources()),
        "kit/privacy.json": _as_text(kit_files.render_privacy()),
        "kit/authorization.json": _as_text(kit_files.render_authorization(consortium)),
        "kit/project.json": _as_text(render_project(consortium, 8102)),
    }


def main() -> None:
    """Write the golden files anew; files that are no longer rendered are removed."""
    files = render_golden()
    for path in HERE.rglob("*.json"):
        if path.relative_to(HERE).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        (HERE / name).write_bytes(content)
        print(name)


if __name__ == "__main__":
    main()
