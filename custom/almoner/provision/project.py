"""Renders FLARE's project description from the consortium's declaration."""

from typing import Any

from almoner.schema.base import org_code
from almoner.schema.consortium import Consortium


def render_project(consortium: Consortium, port: int) -> dict[str, Any]:
    """Return FLARE's project (API version 4) for a consortium.

    Args:
        port: the server's one TCP port, for sites and admin users alike.
    """
    server = {
        "name": consortium.server.host,
        "type": "server",
        "org": org_code(consortium.server.org),
        "fed_learn_port": port,
        "admin_port": port,
        "default_host": consortium.server.host,
    }
    sites = [
        {"name": site, "type": "client", "org": org_code(site), "allow_log_streaming": False}
        for site in consortium.sites
    ]
    users = [
        {"name": user.name, "type": "admin", "org": org_code(user.org), "role": user.role} for user in consortium.users
    ]
    return {
        "api_version": 4,
        "name": consortium.name,
        "description": "rendered from provisioning/",
        "participants": [server, *sites, *users],
        "studies": {name: _render_study(consortium, name) for name in consortium.studies},
    }


def _render_study(consortium: Consortium, study: str) -> dict[str, Any]:
    """Return FLARE's entry of one study: each site under its own organisation."""
    return {
        "site_orgs": {org_code(site): [site] for site in consortium.sites_of_study(study)},
        "admins": list(consortium.studies[study].admins),
    }
