"""A CycloneDX 1.6 document of what is installed, and what is honestly known about its vulnerabilities: nothing.

Reference: CycloneDX 1.6 (ECMA-424), JSON.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageMetadata, distributions
from typing import Any

from almoner import __version__
from almoner.errors import EvidenceError
from almoner.schema.base import digest

SBOM_TYPE = "https://cyclonedx.org/bom/v1.6"
_NAMESPACE = uuid.UUID("6f1f0f5e-5d0c-5b7e-9c55-0d2c4b6c3b1a")


@lru_cache(maxsize=1)
def installed_components() -> tuple[dict[str, Any], ...]:
    """Return each distribution of this environment, by name; they are read once a process."""
    described = (dist.metadata for dist in distributions())  # it is parsed anew each time that it is asked for
    found = {_normal(about["Name"]): about for about in described if about["Name"]}
    return tuple(_component(name, about) for name, about in sorted(found.items()) if name != "almoner")


def render_sbom(
    components: Sequence[dict[str, Any]], package_digest: str, time: str, version: str = __version__
) -> dict[str, Any]:
    """Return the document.

    Args:
        package_digest: SHA-256 over the Python files of this package, as sites write it into their decisions.
        time: ISO 8601.
        version: of this package.
    """
    product = {
        "type": "application",
        "bom-ref": "almoner",
        "name": "almoner",
        "version": version,
        "purl": f"pkg:pypi/almoner@{version}",
        "properties": [{"name": "almoner:package-digest", "value": package_digest}],
    }
    serial = uuid.uuid5(_NAMESPACE, digest([list(components), package_digest, time]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"timestamp": time, "component": product},
        "components": list(components),
        "dependencies": [{"ref": "almoner", "dependsOn": [component["bom-ref"] for component in components]}],
    }


def rerendered(said: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a document as `render_sbom` makes it of the components, digest, time and version that it states.

    Raises:
        EvidenceError: it does not state them.
    """
    try:
        about = said["metadata"]
        product = about["component"]
        package = product["properties"][0]["value"]
        return render_sbom(said["components"], package, about["timestamp"], product["version"])
    except (LookupError, TypeError, ValueError):
        raise EvidenceError(f"{where}: not the list of components that this platform writes") from None


def package_of(said: Mapping[str, Any]) -> str:
    """Return the digest of the package in a document that `render_sbom` made."""
    return str(said["metadata"]["component"]["properties"][0]["value"])


def vulnerability_status() -> dict[str, Any]:
    """Return what is known about vulnerabilities of the components."""
    return {
        "status": "not checked",
        "why": "a pack is made without a network, and the platform keeps no database of vulnerabilities",
        "how_to_check": [
            "take the predicate of server/sbom.dsse.json (base64 of `payload`) as bom.json",
            "on a machine with a current database: grype sbom:bom.json, or trivy sbom bom.json",
            "in the environment itself: pip-audit --local",
        ],
    }


def _component(name: str, about: PackageMetadata) -> dict[str, Any]:
    """Return one distribution."""
    version = about["Version"]
    purl = f"pkg:pypi/{name}@{version}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    }
    if "License-Expression" in about:
        component["licenses"] = [{"expression": about["License-Expression"]}]
    return component


def _normal(name: str) -> str:
    """Return a distribution's name as package indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()
