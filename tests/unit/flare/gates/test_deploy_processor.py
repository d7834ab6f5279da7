"""`train.deploy` of a site: nothing is unpacked, nothing but the policy's deployer is asked."""

from typing import Any

import pytest
from nvflare.private.admin_defs import Message
from nvflare.private.defs import RequestHeader

from almoner.flare.door.deployer import CANNOT_DECIDE, PolicyAppDeployer
from almoner.flare.gates import deploy_processor
from almoner.flare.gates.deploy_processor import MAX_ZIP_BYTES, UNUSABLE, BoundedDeployProcessor

HEADERS = {RequestHeader.JOB_ID: "id", RequestHeader.APP_NAME: "app", RequestHeader.JOB_META: {"name": "heart"}}


class Engine:
    """FLARE's engine, as far as a deployment needs it: records what reaches the deployer."""

    def __init__(self, deployer: object, refusal: str = "") -> None:
        self.deployer, self.refusal, self.deployed = deployer, refusal, []

    def get_component(self, name: str) -> object:
        return self.deployer if name == "app_deployer" else None

    def get_client_name(self) -> str:
        return "hungary"

    def deploy_app(self, **what: Any) -> str:
        self.deployed.append(what)
        return self.refusal


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let answers leave soon."""
    monkeypatch.setattr(deploy_processor, "DECISION_SECONDS", 0.01)


def ask(engine: Engine, body: object = b"zip", **headers: object) -> Message:
    request = Message(topic="train.deploy", body=body)
    for name, value in (HEADERS | headers).items():
        request.set_header(name, value)
    return BoundedDeployProcessor().process(request, engine)


def test_what_fits_reaches_the_deployer_unopened() -> None:
    engine = Engine(PolicyAppDeployer())
    assert ask(engine).body == "deployed app to hungary"
    assert engine.deployed == [
        {"app_name": "app", "job_id": "id", "job_meta": {"name": "heart"}, "client_name": "hungary", "app_data": b"zip"}
    ]


def test_the_deployers_refusal_is_the_answer() -> None:
    reply = ask(Engine(PolicyAppDeployer(), "NVFLARE_ERROR: refused by hungary"))
    assert reply.body == "NVFLARE_ERROR: refused by hungary"
    assert reply.get_header("_rtnCode") == "_error"


@pytest.mark.threat("T-11")
@pytest.mark.parametrize("body", [bytes(MAX_ZIP_BYTES + 1), "text", None, {"zip": b""}, bytearray(b"zip")])
def test_bodies_that_are_no_upload(body: object) -> None:
    engine = Engine(PolicyAppDeployer())
    assert ask(engine, body).body == UNUSABLE
    assert engine.deployed == []


@pytest.mark.parametrize(("name", "value"), [("job_id", None), ("app_name", 7), ("job_meta", None), ("job_meta", "{}")])
def test_headers_that_are_no_uploads(name: str, value: object) -> None:
    engine = Engine(PolicyAppDeployer())
    assert ask(engine, **{name: value}).body == UNUSABLE
    assert engine.deployed == []


@pytest.mark.parametrize("deployer", [None, object(), type("Looser", (PolicyAppDeployer,), {})()])
def test_site_without_our_deployer_refuses_everything(deployer: object) -> None:
    engine = Engine(deployer)
    assert ask(engine).body == CANNOT_DECIDE
    assert engine.deployed == []


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


@pytest.mark.threat("T-31")
@pytest.mark.parametrize(("taken", "leaves"), [(0.0, 2.0), (0.001, 2.0), (1.9, 2.0), (2.0, 2.0), (2.1, 4.0)])
def test_an_answer_leaves_at_a_whole_multiple_of_the_deadline(
    taken: float, leaves: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(deploy_processor, "time", clock)
    monkeypatch.setattr(deploy_processor, "DECISION_SECONDS", 2.0)

    class Busy(Engine):
        def deploy_app(self, **what: Any) -> str:
            clock.sleep(taken)
            return super().deploy_app(**what)

    ask(Busy(PolicyAppDeployer(), "refused"))
    assert clock.now - 100.0 == pytest.approx(leaves)
