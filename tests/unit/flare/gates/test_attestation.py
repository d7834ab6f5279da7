"""Attestation at log-in and before jobs: what FLARE's own manager lets through, and what ours does not.

The authorisers are FLARE's mock and one that refuses; contexts and events are FLARE's own.
"""

from typing import Any

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.fl_exception import NotAuthenticated, UnsafeComponentError
from nvflare.apis.utils.event import fire_event_to_components
from nvflare.app_opt.confidential_computing.cc_manager import CC_INFO, CC_NAMESPACE, CC_TOKEN, CCManager
from nvflare.app_opt.confidential_computing.mock_authorizer import MockAuthorizer
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.private.defs import ClientType

from almoner.flare.gates.attestation import MAX_TOKEN_BYTES, UNATTESTED, Attestation

MOCK = MockAuthorizer().generate()

pytestmark = pytest.mark.threat("T-170")


class Strict(MockAuthorizer):  # type: ignore[misc]
    """Accepts one token."""

    def get_namespace(self) -> str:
        return "x-strict"

    def generate(self) -> str:
        return "genuine"

    def verify(self, token: str) -> bool:
        return token == "genuine"


class Broken(MockAuthorizer):  # type: ignore[misc]
    """Its tool is not installed."""

    def verify(self, token: str) -> bool:
        raise FileNotFoundError("snpguest")


class Engine:
    """Components, and the tokens that others answer with."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []
        self.token: str | None = "logged in"

    def get_component(self, name: str) -> object:
        return {"mock": MockAuthorizer(), "strict": Strict(), "broken": Broken()}.get(name)

    def get_cell(self) -> "Engine":
        return self

    def broadcast_request(self, targets: list[str], **_: Any) -> dict[str, Any]:
        self.asked += targets
        silent = make_reply("timeout")
        return {name: make_reply("ok", "", self.answers[name]) if name in self.answers else silent for name in targets}


def context(engine: Engine, **properties: Any) -> FLContext:
    made = FLContext()
    made.set_prop(ReservedKey.ENGINE, engine, private=True, sticky=False)
    made.set_prop(FLContextKey.SITE_OBJ, engine, private=True, sticky=False)
    for name, value in properties.items():
        made.set_prop(getattr(FLContextKey, name), value, private=True, sticky=False)
    return made


def started(shown: list[str], asked: list[str], engine: Engine | None = None) -> Attestation:
    component = Attestation(shown, asked)
    fire_event_to_components(EventType.SYSTEM_BOOTSTRAP, [component], context(engine or Engine()))
    return component


def peer(info: object) -> FLContext:
    made = FLContext()
    made.set_prop(CC_INFO, info, private=False, sticky=False)
    return made


def log_in(component: Attestation, info: object, kind: str = ClientType.REGULAR) -> FLContext:
    """Fire the event as FLARE's server does when a log-in arrives."""
    fl_ctx = context(Engine())
    fl_ctx.set_prop(FLContextKey.CLIENT_TYPE, kind, private=False, sticky=False)
    fl_ctx.set_peer_context(peer(info))
    fire_event_to_components(EventType.CLIENT_REGISTER_RECEIVED, [component], fl_ctx)
    return fl_ctx


def is_refused(fl_ctx: FLContext) -> bool:
    """Tell what FLARE's server makes of a log-in's event: it refuses for this one exception."""
    return any(isinstance(one, NotAuthenticated) for one in (fl_ctx.get_prop(FLContextKey.EXCEPTIONS) or {}).values())


def stock(*verifiers: Any) -> CCManager:
    """Return FLARE's manager at a server that asks site-1 for attestation."""
    manager = CCManager(cc_issuers_conf=[], cc_verifier_ids=[], cc_enabled_sites=["server", "site-1"])
    manager.cc_verifiers = {one.get_namespace(): one for one in verifiers}
    return manager


def test_one_token_is_not_taken_for_all() -> None:
    shown = [{CC_TOKEN: MOCK, CC_NAMESPACE: "x-mock"}]
    assert stock(MockAuthorizer(), Strict())._validate_participants_tokens({"site-1": shown}) == ""
    asks_both = started([], ["mock", "strict"])
    assert is_refused(log_in(asks_both, {"site": {"mock": MOCK}}))
    assert not is_refused(log_in(asks_both, {"site": {"mock": MOCK, "strict": "genuine"}}))


def test_nobody_comes_in_without_tokens_under_another_name() -> None:
    assert stock(Strict())._validate_participants_tokens({"site-2": []}) == ""
    asks = started([], ["strict"])
    assert is_refused(log_in(asks, {"site-2": {}}))
    assert is_refused(log_in(asks, {"site-2": {"strict": "genuine"}}))


def test_a_sites_own_tokens_are_not_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server sends none, FLARE leaves the site's own in the context that the site then checks."""
    shut_down: list[str] = []
    monkeypatch.setattr(CCManager, "_shutdown_system", lambda self, reason, fl_ctx: shut_down.append(reason))
    own = {"site-1": [{CC_TOKEN: "genuine", CC_NAMESPACE: "x-strict"}]}
    stock(Strict())._validate_server_tokens(peer(own))
    assert shut_down == []

    engine = Engine()
    fl_ctx = context(engine)
    fire_event_to_components(EventType.BEFORE_CLIENT_REGISTER, [component := started(["strict"], ["strict"])], fl_ctx)
    assert fl_ctx.get_prop(CC_INFO) == {"site": {"strict": "genuine"}}
    fire_event_to_components(EventType.AFTER_CLIENT_REGISTER, [component], fl_ctx)
    assert engine.token is None


def test_a_site_stays_logged_in_where_the_server_shows_valid_tokens() -> None:
    engine = Engine()
    fl_ctx = context(engine)
    fl_ctx.set_prop(CC_INFO, {"server": {"strict": "genuine"}}, private=False, sticky=False)
    fire_event_to_components(EventType.AFTER_CLIENT_REGISTER, [started([], ["strict"])], fl_ctx)
    assert engine.token == "logged in"


@pytest.mark.parametrize(
    "shown",
    [
        None,
        "genuine",
        {},
        {"site": None},
        {"site": ["genuine"]},
        {"site": {"strict": None}},
        {"site": {"strict": "forged"}},
        {"site": {"strict": ""}},
        {"site": {"strict": 7}},
        {"site": {"strict": "x" * (MAX_TOKEN_BYTES + 1)}},
        {"server": {"strict": "genuine"}},
    ],
)
def test_a_site_is_kept_out_whatever_else_it_shows(shown: object) -> None:
    fl_ctx = log_in(started(["mock"], ["strict"]), shown)
    assert is_refused(fl_ctx)
    assert fl_ctx.get_prop(CC_INFO) is None


def test_the_server_answers_a_log_in_with_its_own_tokens() -> None:
    assert log_in(started(["mock"], ["strict"]), {"site": {"strict": "genuine"}}).get_prop(CC_INFO) == {
        "server": {"mock": MOCK}
    }


def test_a_console_shows_none() -> None:
    assert not is_refused(log_in(started([], ["strict"]), None, ClientType.ADMIN))


def test_a_tool_that_fails_lets_nobody_in() -> None:
    assert is_refused(log_in(started([], ["broken"]), {"site": {"broken": "x"}}))


def test_a_component_that_never_started_lets_nobody_in() -> None:
    assert is_refused(log_in(Attestation([], ["strict"]), {"site": {"strict": "genuine"}}))


def test_a_kit_without_the_authoriser_does_not_start() -> None:
    fl_ctx = context(Engine())
    fire_event_to_components(EventType.SYSTEM_BOOTSTRAP, [Attestation([], ["missing"])], fl_ctx)
    [problem] = fl_ctx.get_prop(FLContextKey.EXCEPTIONS).values()
    assert isinstance(problem, UnsafeComponentError)  # FLARE's main functions stop for this one


def schedule(engine: Engine) -> str:
    """Fire the scheduler's event for a job of two sites; return why it must wait."""
    fl_ctx = context(engine, JOB_PARTICIPANTS=["server", "north", "south"])
    fire_event_to_components(EventType.BEFORE_CHECK_CLIENT_RESOURCES, [started([], ["strict"])], fl_ctx)
    return str(fl_ctx.get_prop(FLContextKey.JOB_BLOCK_REASON))


@pytest.mark.parametrize("south", [{"strict": "forged"}, {}, None, "genuine"])
def test_a_job_waits_for_a_site_without_valid_tokens(south: object) -> None:
    engine = Engine({"north": {"strict": "genuine"}, "south": south})
    assert schedule(engine) == "no valid attestation of south"
    assert engine.asked == ["north", "south"]


def test_a_job_waits_for_a_site_that_does_not_answer() -> None:
    assert schedule(Engine({"north": {"strict": "genuine"}})) == "no valid attestation of south"


def test_a_job_goes_on_when_all_its_sites_show_valid_tokens() -> None:
    assert schedule(Engine({name: {"strict": "genuine"} for name in ("north", "south")})) == ""


def test_a_job_waits_where_asking_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """FLARE goes on after a component's exception; the job was blocked before."""

    def fail(self: Engine, **_: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(Engine, "broadcast_request", fail)
    assert schedule(Engine()) != ""


@pytest.mark.parametrize(("answer", "refusal"), [("genuine", ""), ("forged", UNATTESTED)])
def test_a_site_takes_jobs_from_a_server_with_valid_tokens_alone(answer: str, refusal: str) -> None:
    assert started([], ["strict"]).refusal(Engine({"server": {"strict": answer}})) == refusal


def test_where_nothing_is_asked_nobody_is_asked() -> None:
    engine = Engine()
    assert started(["mock"], []).refusal(engine) == ""
    assert engine.asked == []
