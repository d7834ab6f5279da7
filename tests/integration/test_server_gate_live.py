"""What a member, a lead and a local process reach at the server and through it, with its gate out and in.

The gate of the sites is out in both, so that the server's alone is tried.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.communicator import Communicator, Mode
from nvflare.fuel.f3.endpoint import Endpoint
from nvflare.private.admin_defs import Message
from nvflare.private.defs import CellMessageHeaderKeys
from tests.integration.attacker import (
    ANSWER_SECONDS,
    LEAD,
    NO_ANSWER_SECONDS,
    NO_JOBS,
    SITE,
    TRIES,
    UNGATED,
    Attacker,
    Eavesdropper,
    admin_message,
    at_the_socket_of,
    attacking,
    came_true,
    succeeds,
    ungated,
)
from tests.integration.conftest import make_consortium
from tests.integration.member import logged_in, member
from tests.integration.stopping import stop

from almoner.flare.commands.federation import Federation

MEMBER = "cleveland"
"""Runs no process of ours: the attacker has its certificate."""

pytestmark = pytest.mark.threat("T-14")


@pytest.fixture(scope="module", params=["gated", "ungated"])
def attacker(
    request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacker]:
    """A lead on a federation of the server and one site."""
    gated = request.param == "gated"
    consortium = make_consortium(root, tmp_path_factory.mktemp(request.param) / "heart")
    with Federation(consortium, NO_JOBS | (ungated("sites") if gated else UNGATED)) as federation:
        federation.start_one("server")
        federation.start_one(SITE)
        federation.wait_for_sites((SITE,))
        with attacking(federation, gated) as lead:
            yield lead


def refusals(attacker: Attacker) -> int:
    """Return how often the server's gate has refused something."""
    return (attacker.consortium.root / "server" / "kit" / "log.txt").read_text().count("gate: refused")


def shell_command() -> Message:
    return admin_message("sys.shell", "cat startup/client.key")


def is_key(answer: object) -> bool:
    return isinstance(answer, Message) and "PRIVATE KEY" in str(answer.body)


def test_member_under_his_own_name_is_heard(attacker: Attacker) -> None:
    with member(attacker.consortium, MEMBER) as intruder:
        assert succeeds(lambda: intruder.is_heard(ANSWER_SECONDS))


def test_member_reads_another_sites_private_key(attacker: Attacker) -> None:
    def attack() -> bool:
        with logged_in(attacker.consortium, MEMBER) as intruder:
            return is_key(intruder.raw("admin", "admin", shell_command(), SITE, attacker.seconds))

    before = refusals(attacker)
    assert succeeds(attack) is not attacker.gated
    patience = ANSWER_SECONDS if attacker.gated else 0.0
    assert came_true(lambda: refusals(attacker) >= before + TRIES, patience) is attacker.gated


def test_lead_reads_a_sites_private_key(attacker: Attacker) -> None:
    def attack() -> bool:
        return is_key(attacker.raw("admin", "admin", shell_command(), seconds=attacker.seconds))

    assert succeeds(attack) is not attacker.gated


@pytest.mark.parametrize("topic", ["process_info", "config_vars", "peers"])
def test_lead_looks_into_the_server(attacker: Attacker, topic: str) -> None:
    """`peers` names the other users' consoles, which take messages too."""

    def attack() -> bool:
        return bool(attacker.raw("_net_manager", topic, None, "server", seconds=attacker.seconds))

    assert succeeds(attack) is not attacker.gated


def test_lead_takes_the_part_of_a_job_of_the_server(attacker: Attacker) -> None:
    """While a job runs, the same question is answered with the log-in tokens of its sites."""
    way, headers = ("server_parent_listener", "get_clients"), {CellMessageHeaderKeys.JOB_ID: "any"}

    def attack() -> bool:
        answer = attacker.raw(*way, None, "server", seconds=attacker.seconds, headers=headers)
        return isinstance(answer, dict) and "clients" in answer

    assert succeeds(attack) is not attacker.gated


def test_lead_becomes_a_site(attacker: Attacker) -> None:
    """FLARE takes a heartbeat with any log-in token as that of a site, which it then lists and may choose for jobs."""
    headers = {CellMessageHeaderKeys.PROJECT_NAME: attacker.consortium.declarations.consortium.name}

    def attack() -> bool:
        beat = Shareable()
        beat.set_peer_context(FLContext())
        attacker.raw("task", "heart_beat", beat, "server", seconds=attacker.seconds, headers=headers)
        return LEAD in attacker.session.sites()

    assert succeeds(attack) is not attacker.gated


def test_member_takes_a_consoles_name(attacker: Attacker) -> None:
    """FLARE binds names to certificates, but lets any certificate bear the name of a console."""

    def attack() -> bool:
        with member(attacker.consortium, MEMBER, f"_admin_{uuid.uuid4()}") as intruder:
            return intruder.is_heard(attacker.seconds)

    assert succeeds(attack) is not attacker.gated


@pytest.mark.parametrize(
    "name", [SITE, f"{SITE}.{{}}", "server.{}"], ids=["site", "job of a site", "job of the server"]
)
def test_member_takes_the_name_of_another_site_or_of_the_server(attacker: Attacker, name: str) -> None:
    """FLARE itself refuses these, with the gate out too."""
    with member(attacker.consortium, MEMBER, name.format(uuid.uuid4())) as intruder:
        assert not succeeds(lambda: intruder.is_heard(NO_ANSWER_SECONDS))
    attacker.federation.wait_for_sites((SITE,))


@contextmanager
def local_site(home: Path) -> Iterator[Eavesdropper]:
    """Connect to the server's listener for job processes under the name of the site."""
    ear = Eavesdropper()
    communicator = Communicator(Endpoint(SITE, {"fqcn": SITE}, {}))
    communicator.register_message_receiver(CoreCell.APP_ID, ear)
    with at_the_socket_of(home) as address:
        communicator.add_connector(address, Mode.ACTIVE, False)
        try:
            communicator.start()
            yield ear
        finally:
            stop(communicator)


def test_local_process_takes_a_sites_name(attacker: Attacker) -> None:
    """At its listener for job processes, which asks for no certificate, FLARE moves a site's name to whoever comes."""
    before = refusals(attacker)
    attacker.session._session.set_timeout(5.0)  # the server waits so long for who took the site's name
    with local_site(attacker.consortium.root / "server") as ear:

        def hears_the_server() -> bool:
            attacker.session._session.api.do_command(f"check_status client {SITE}")
            return bool(ear.headers)

        assert not attacker.gated or came_true(lambda: refusals(attacker) >= before + TRIES, 60.0)
        assert came_true(hears_the_server, NO_ANSWER_SECONDS if attacker.gated else 60.0) is not attacker.gated
    attacker.federation.wait_for_sites((SITE,))
