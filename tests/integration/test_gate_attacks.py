"""A logged-in lead sends a site messages that FLARE's server forwards and sites do not check.

Each attack is carried out twice on a real federation: with the gate taken out it succeeds, with the gate in
place it gets nothing and changes nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nvflare.private.admin_defs import Message
from nvflare.private.defs import new_cell_message
from tests.integration.conftest import make_consortium

from almoner.flare.federation import Federation
from almoner.flare.provisioning import ProvisionedConsortium
from almoner.flare.session import open_session

LEAD = "lead@cleveland.example"
SITE = "hungary"
UNGATED = {"PYTHONPATH": str(Path(__file__).parent / "hooks"), "ALMONER_TEST_UNGATED": "1"}


class Attacker:
    """A lead who uses the console's connection to send raw messages to a site."""

    def __init__(self, consortium: ProvisionedConsortium, gated: bool) -> None:
        self.kit = consortium.site_folder(SITE) / "kit"
        self.consortium, self.gated = consortium, gated

    def send(self, topic: str, body: object = "", **headers: Any) -> str:
        """Send one admin message to the site and return what comes back as text."""
        request = Message(topic=topic, body=body)
        for name, value in headers.items():
            request.set_header(name, value)
        with open_session(self.consortium.user_kit(LEAD), "cardiology") as session:
            cell = session._session.api.cell
            cell.core_cell.in_filter_reg.reg.clear()  # an attacker does not ask for authenticated replies
            cell.core_cell.in_reply_filter_reg.reg.clear()
            reply = cell.send_request(
                target=SITE, channel="admin", topic="admin", request=new_cell_message({}, request), timeout=8.0
            )
        payload = reply.payload
        return str(payload.body) if isinstance(payload, Message) else ""


@pytest.fixture(scope="module", params=["gated", "ungated"])
def attacker(
    request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacker]:
    gated = request.param == "gated"
    consortium = make_consortium(root, tmp_path_factory.mktemp(request.param) / "heart")
    with Federation(consortium, {} if gated else UNGATED) as federation:
        federation.start_one("server")
        federation.start_one(SITE)
        federation.wait_for_sites((SITE,))
        yield Attacker(consortium, gated)


@pytest.mark.threat("T-14")
def test_reading_the_private_key_through_the_shell(attacker: Attacker) -> None:
    stolen = "PRIVATE KEY" in attacker.send("sys.shell", "cat startup/client.key")
    assert stolen is not attacker.gated


@pytest.mark.threat("T-14")
def test_deleting_a_folder_of_the_workspace(attacker: Attacker) -> None:
    folder = attacker.kit / "precious"
    folder.mkdir()
    attacker.send("train.delete_run", job_id="precious")
    assert folder.exists() is attacker.gated


@pytest.mark.threat("T-14")
@pytest.mark.parametrize(
    "topic", ["sys.report_env", "sys.info", "train.get_scopes", "resource_manager.report_resources"]
)
def test_asking_for_the_environment(attacker: Attacker, topic: str) -> None:
    answered = attacker.send(topic) not in ("", "invalid_request")
    assert answered is not attacker.gated
