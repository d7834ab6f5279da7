"""Asks for attestation: the server of each site, and each site of the server, at every log-in and before every job.

FLARE's authorisers make the tokens and check them; this component takes the place of FLARE's `CCManager`, for five
reasons, each read in FLARE 2.9's source and the first three tried in `tests/unit/flare/gates/test_attestation.py`:

- it takes any one valid token for all that are configured;
- it checks tokens under the name that their sender gives, and lets in under a name that it does not know;
- a site takes its own tokens for the server's where the server sends none;
- one site's failure shuts the server and all sites down: whoever takes part could stop everybody;
- sites ask each other through the server, which our gates forbid.

Here a failure keeps out the one who failed: a site is not logged in, a job with it is not scheduled; a site that finds
no valid tokens of its server does not start, and refuses the job. FLARE goes on where a component raises; so every
answer is "no" until tokens were found valid.

A token says nothing of the connection that it comes over, and sites do not ask each other.
"""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.fl_exception import NotAuthenticated, UnsafeComponentError
from nvflare.app_opt.confidential_computing.cc_authorizer import CCAuthorizer
from nvflare.app_opt.confidential_computing.cc_manager import CC_INFO
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.cellnet.utils import make_reply, new_cell_message
from nvflare.fuel.f3.message import Message
from nvflare.private.defs import ClientType

from almoner.flare.gates.gate_parts import ATTEST
from almoner.provision import names

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 20.0
"""How long one waits for tokens that another makes; below the 30 seconds that FLARE's server waits for a deployment."""

MAX_TOKEN_BYTES = 256_000
UNATTESTED = (
    "refused: the server showed this site no valid attestation; its operator finds the reason in the site's log"
)


class Attestation(FLComponent):  # type: ignore[misc]
    """Shows this participant's tokens and asks for the other's.

    Args:
        shown: ids of the authorisers whose tokens this participant shows.
        asked: ids of the authorisers of which it asks the other for a valid token, each of them.
    """

    def __init__(self, shown: list[str], asked: list[str]) -> None:
        super().__init__()
        self.shown, self.asked = shown, asked
        self._authorizers: dict[str, CCAuthorizer] | None = None
        self._lock = threading.Lock()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Do a participant's part in FLARE's start, log-in and scheduling."""
        if event_type == EventType.SYSTEM_BOOTSTRAP:
            self._take_authorizers(fl_ctx.get_engine())
        elif event_type == EventType.SYSTEM_START:
            channel, topic = ATTEST
            fl_ctx.get_engine().get_cell().register_request_cb(channel=channel, topic=topic, cb=self.answer)
        elif event_type == EventType.BEFORE_CLIENT_REGISTER:
            fl_ctx.set_prop(CC_INFO, {"site": self.tokens()}, private=False, sticky=False)
        elif event_type == EventType.CLIENT_REGISTER_RECEIVED:
            self._admit_site(fl_ctx)
        elif event_type == EventType.AFTER_CLIENT_REGISTER:
            self._accept_server(fl_ctx)
        elif event_type == EventType.BEFORE_CHECK_CLIENT_RESOURCES:
            self._ask_sites(fl_ctx)

    def tokens(self) -> dict[str, Any]:
        """Return a fresh token of each authoriser that this participant shows, by its id."""
        with self._lock:  # FLARE's authorisers write their reports to one file
            return {kind: self._authorizer(kind).generate() for kind in self.shown}

    def is_valid(self, tokens: object) -> bool:
        """Tell whether tokens are valid, one of each authoriser that this participant asks for."""
        if not isinstance(tokens, Mapping):
            return not self.asked
        return all(self._is_valid_token(kind, tokens.get(kind)) for kind in self.asked)

    def answer(self, request: Message) -> Message:
        """Return fresh tokens to whoever the gate let ask."""
        reply: Message = make_reply(ReturnCode.OK, "", self.tokens())
        return reply

    def refusal(self, engine: Any) -> str:
        """Ask the server for fresh tokens, for a job that it brings; return "" if they are valid."""
        replies = _ask(engine, [FQCN.ROOT_SERVER]) if self.asked else {}
        return "" if self.is_valid(replies.get(FQCN.ROOT_SERVER)) else UNATTESTED

    def _take_authorizers(self, engine: Any) -> None:
        """Find the authorisers; FLARE does not start a participant whose component says it is unsafe."""
        found = {kind: engine.get_component(kind) for kind in {*self.shown, *self.asked}}
        for kind, authorizer in found.items():
            if not isinstance(authorizer, CCAuthorizer):
                raise UnsafeComponentError(f"{names.ATTESTATION_FILE}: {kind} is no authoriser of FLARE's")
        self._authorizers = found

    def _authorizer(self, kind: str) -> CCAuthorizer:
        if self._authorizers is None:
            raise UnsafeComponentError(f"{names.ATTESTATION_FILE}: FLARE has not started its components")
        return self._authorizers[kind]

    def _is_valid_token(self, kind: str, token: object) -> bool:
        """Tell whether one token is valid."""
        if not isinstance(token, (str, bytes)) or not 0 < len(token) <= MAX_TOKEN_BYTES:
            logger.warning("attestation: no token of %s", kind)
            return False
        try:
            with self._lock:
                valid = self._authorizer(kind).verify(token) is True
        except Exception:  # vendors' tools fail in many ways, and a check that failed found nothing
            logger.exception("attestation: %s could not check a token", kind)
            return False
        if not valid:
            logger.warning("attestation: a token of %s is not valid", kind)
        return valid

    def _admit_site(self, fl_ctx: FLContext) -> None:
        """At the server: let a site log in, or raise the one error by which FLARE refuses it."""
        if fl_ctx.get_prop(FLContextKey.CLIENT_TYPE) == ClientType.ADMIN:
            return  # the gate has checked that a console's certificate is behind this
        if not self.is_valid(_shown_by("site", fl_ctx.get_peer_context())):
            logger.error("attestation: a site showed no valid tokens and is not logged in")
            raise NotAuthenticated("no valid attestation")  # FLARE refuses a log-in for this one error
        fl_ctx.set_prop(CC_INFO, {"server": self.tokens()}, private=False, sticky=False)

    def _accept_server(self, fl_ctx: FLContext) -> None:
        """At a site: forget the log-in if the server's tokens are not valid; FLARE's main function then ends."""
        if not self.is_valid(_shown_by("server", fl_ctx)):
            logger.error("attestation: the server showed no valid tokens; this site does not start")
            fl_ctx.get_prop(FLContextKey.SITE_OBJ).token = None

    def _ask_sites(self, fl_ctx: FLContext) -> None:
        """At the server: block a job until each of its sites showed fresh, valid tokens."""
        _block(fl_ctx, "its sites were not asked for their attestation yet")
        sites = [site for site in fl_ctx.get_prop(FLContextKey.JOB_PARTICIPANTS, [])[1:] if isinstance(site, str)]
        replies = _ask(fl_ctx.get_engine(), sites) if self.asked and sites else {}
        failed = [site for site in sites if not self.is_valid(replies.get(site))]
        if failed:
            logger.warning("attestation: a job waits for %s", ", ".join(failed))
        _block(fl_ctx, f"no valid attestation of {', '.join(failed)}" if failed else "")


def _ask(engine: Any, targets: list[str]) -> dict[str, Any]:
    """Return the fresh tokens of participants, by the name of each that answered."""
    channel, topic = ATTEST
    replies = engine.get_cell().broadcast_request(
        channel=channel,
        topic=topic,
        targets=targets,
        request=new_cell_message({}, {}),
        timeout=ANSWER_SECONDS,
        optional=True,
    )
    ok = {name for name, reply in replies.items() if reply.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.OK}
    return {name: replies[name].payload for name in ok}


def _shown_by(role: str, context: object) -> object:
    """Return the tokens that a context holds of the server or of a site; a site's own are never the server's."""
    shown = context.get_prop(CC_INFO) if isinstance(context, FLContext) else None
    return shown.get(role) if isinstance(shown, Mapping) else None


def _block(fl_ctx: FLContext, reason: str) -> None:
    """Tell FLARE's scheduler why a job must wait; "" lets it go on."""
    fl_ctx.set_prop(FLContextKey.JOB_BLOCK_REASON, reason, private=True, sticky=False)
