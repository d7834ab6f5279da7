"""How a red-team report names the job that it attacked, so that a pack can tell whether it is the packed one."""

from collections.abc import Mapping
from typing import Any

from almoner import __version__
from almoner.schema.base import digest


def attacked_job(spec: Mapping[str, Any], package_sha256: str) -> dict[str, str]:
    """Return what was attacked.

    Args:
        spec: the job's spec as its envelope has it: every field, in JSON.
        package_sha256: the digest of the package that attacked it, and that sites put into their decisions.
    """
    return {
        "job": str(spec.get("name", "")),
        "spec_sha256": digest(dict(spec)),
        "package_sha256": package_sha256,
        "almoner_version": __version__,
    }
