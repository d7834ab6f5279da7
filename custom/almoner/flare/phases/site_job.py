"""One job at one site, as far as all kinds of jobs are alike: which task may follow which, up to the first on data.

Transitions (a task that is not listed for a state raises `ProtocolError`):

    NEW       --setup-->               MET        nothing of the data is touched before READY
    MET       --heads-->               PROVEN     the own ledger contains every head of its own that others hold
    PROVEN    --cosign-->              AGREEING   the others' heads are kept; READY where the job needs no keys
    AGREEING  --draw-...-->            AGREEING   where sites form groups: drawn, or as they were drawn before
    AGREEING  --keys, confirm, agree-> AGREEING   the protection keeps their order
    AGREEING  --conclude-->            READY      all sites hold the same keys; again until round 1, likewise
    READY     --acknowledge r-->       READY      of the round that was announced last; no data
    READY     --reveal r-->            READY      likewise
    AGREEING and later --log-->        the same   the server's log is cosigned, or refused; no data
    READY, RELEASED  --any other-->    what the job's kind says: see `training/job.py`, `statistics/job.py`

Every step that touches data is committed to the ledger first, durably. A round is begun once: a site that failed in
it does not try again, but it may acknowledge who did contribute, apply their total and go on; so may a site that the
server left out of the ring. What the protection finds wrong ends the job here: it forgets its keys, and each
later task raises.
"""

import threading
from abc import ABC, abstractmethod
from enum import Enum, auto

from almoner.errors import ProtocolError
from almoner.flare.evidence.head_exchange import HeadExchange
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import REPLY_TO, ReplyKind, TaskHeader, TaskKind
from almoner.protection.scheme import SiteProtection, Task


class State(Enum):
    """Where a job stands at a site."""

    NEW = auto()
    MET = auto()
    PROVEN = auto()
    AGREEING = auto()
    READY = auto()
    RELEASED = auto()
    DONE = auto()


_RESULT_OF: dict[TaskKind, ReplyKind] = {
    "train": ReplyKind.UPDATE,
    "release": ReplyKind.RELEASE,
    "statistics": ReplyKind.STATISTICS,
}
"""Tasks whose answer is given again if they are delivered again."""


class SiteJob(ABC):
    """Answers the server's tasks for one job; one at a time, whoever asks."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._heads = HeadExchange(context)
        self._state = State.NEW
        self._rounds_begun = 0
        self._last_answer: Sealed | None = None
        self._lock = threading.Lock()

    def answer(self, header: TaskHeader, body: bytes) -> Sealed:
        """Carry out one task.

        Raises:
            ProtocolError: the task is not allowed now.
            LedgerError: the ledger does not let the step start, or was rolled back.
        """
        with self._lock:
            match header.kind:
                case "setup" | "heads" | "cosign":
                    return self._set_up(header, body)
                case "draw-commit" | "draw-reveal" | "draw-settle" | "keys" | "confirm" | "agree" | "conclude" as task:
                    return self._answer_protection(task, header, body)
                case "acknowledge" | "reveal" as task:
                    return self._answer_protection(task, header, body)
                case "log":
                    return self._cosign_log(header, body)
            if self._state not in (State.READY, State.RELEASED):
                raise ProtocolError(f"task {header.kind} in state {self._state.name}")
            return self._carry_out(header, body)

    @abstractmethod
    def _carry_out(self, header: TaskHeader, body: bytes) -> Sealed:
        """Carry out a task of the job's kind; the state is READY or RELEASED."""

    @property
    @abstractmethod
    def _needs_keys(self) -> bool:
        """Whether the sites agree on keys before the first round."""

    @property
    @abstractmethod
    def _rounds_opened(self) -> int:
        """The rounds whose totals this site has opened."""

    @property
    def _protection(self) -> SiteProtection:
        """This site's side of the protection."""
        if self._context.protection is None:
            raise ProtocolError("a question of a protection in a job without one")
        return self._context.protection

    def _set_up(self, header: TaskHeader, body: bytes) -> Sealed:
        """Introduce this site, prove its ledger, keep the others' heads: in this order, each once."""
        match header.kind, self._state:
            case "setup", State.NEW:
                answer = Sealed(ReplyKind.SETUP, 0, "", self._heads.introduce())
                self._state = State.MET
            case "heads", State.MET:
                answer = Sealed(ReplyKind.HEAD, 0, "", self._heads.prove(header.contributors, body))
                self._state = State.PROVEN
            case "cosign", State.PROVEN:
                answer = Sealed(ReplyKind.COSIGNATURE, 0, "", self._heads.cosign(header.contributors, body))
                self._state = State.AGREEING if self._needs_keys else State.READY
            case _:
                raise ProtocolError(f"task {header.kind} in state {self._state.name}")
        return answer

    def _cosign_log(self, header: TaskHeader, body: bytes) -> Sealed:
        """Cosign the server's log, at the end or whenever the server asks: it may not be rewritten from there on."""
        if self._state in (State.NEW, State.MET, State.PROVEN) or header.round != 0:
            raise ProtocolError(f"task {header.kind} in state {self._state.name}")
        return Sealed(ReplyKind.LOG, 0, "", self._heads.cosign_log(body))

    def _answer_protection(self, task: Task, header: TaskHeader, body: bytes) -> Sealed:
        """Let the protection answer what touches no data: the agreement on keys, and a round's second half."""
        number = header.round
        if task in ("acknowledge", "reveal"):
            due = self._state is State.READY and self._rounds_opened < self._rounds_begun == number
        else:
            due = self._state in (State.AGREEING, State.READY) and self._rounds_begun == number == 0
        if not due:
            raise ProtocolError(f"task {task} of round {number} in state {self._state.name}")
        answer = self._protection.answer(task, number, header.contributors, body)
        if task == "conclude":
            self._state = State.READY
        return Sealed(REPLY_TO[task], number, "", answer)

    def _repeat(self, header: TaskHeader, body: bytes) -> Sealed | None:
        """Return the last answer if FLARE delivers its task once more: no data is touched, no step is committed.

        Another announcement of the same round is no repeat, and ends the job where the protection knows of any.
        """
        last = self._last_answer
        if last is None or header.round != last.round:
            return None
        if last.kind is not _RESULT_OF.get(header.kind):
            return None
        if header.kind == "train":
            start = len(body) - self._protection.announcement_bytes(header.ring)
            self._protection.begin(header.round, header.ring, body[max(start, 0) :])
        return last

    def _split(self, header: TaskHeader, body: bytes) -> tuple[bytes, bytes]:
        """Return the total that is due, or nothing, and the announcement of a round."""
        due = self._rounds_opened < self._rounds_begun
        size = self._protection.total_bytes(header.contributors) if due else 0
        announced = self._protection.announcement_bytes(header.ring) if header.kind == "train" else 0
        if len(body) != size + announced or (header.ring and header.kind != "train"):
            raise ProtocolError(f"task {header.kind}: {len(body)} bytes, not what is due")
        if header.contributors and not due:
            raise ProtocolError("a total where none is due")
        return body[:size], body[size:]

    def _begin_round(self, header: TaskHeader, announcement: bytes) -> None:
        """Let the protection take a round's announcement; from here on the round is begun, and never again."""
        self._rounds_begun = header.round
        self._protection.begin(header.round, header.ring, announcement)
        if header.ring and self._context.site.policy.site not in header.ring:
            raise ProtocolError(f"round {header.round} goes on without this site")

    def _commit(self, step: str) -> None:
        """Charge a step; on return the charge is durable."""
        with self._context.site.ledger() as ledger:
            ledger.commit(self._context.job_id, step)
