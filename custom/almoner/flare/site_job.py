"""One job at one site: which task may follow which, and what each may do with data.

Transitions (a task that is not listed for a state raises `ProtocolError`):

    NEW       --setup-->               MET        nothing of the data is touched before READY
    MET       --heads-->               PROVEN     the own ledger contains every head of its own that others hold
    PROVEN    --cosign-->              AGREEING   the others' heads are kept; READY where the job needs no keys
    AGREEING  --draw-...-->            AGREEING   where sites form groups: drawn, or as they were drawn before
    AGREEING  --keys, confirm, agree-> AGREEING   the protection keeps their order
    AGREEING  --conclude-->            READY      all sites hold the same keys; again until round 1, likewise
    READY     --train r-->             READY      r is exactly the next round; first the total of the last one is
                                                  verified and applied, then the protection takes the announcement of
                                                  this one, then the ledger its charge, then data is touched
    READY     --train r again-->       READY      the same answer again, data untouched, nothing charged
    READY     --acknowledge r-->       READY      of the round that was announced last; no data
    READY     --reveal r-->            READY      likewise
    READY     --release-->             RELEASED   after the last round, if the job has a release
    RELEASED  --release again-->       RELEASED   the same answer again
    READY     --model-->               DONE       if the job has no release
    RELEASED  --model-->               DONE       with the signed consent of every site that contributed

Every step that touches data is committed to the ledger first, durably. A round is begun once: a site that failed in
it does not try again, but it may acknowledge who did contribute, apply their total and go on; so may a site that the
server left out of the ring. What the protection finds wrong ends the job here: it forgets its keys, and each
later task raises.
"""

import threading
from enum import Enum, auto

from almoner.errors import ProtocolError
from almoner.flare.head_exchange import HeadExchange
from almoner.flare.job_context import JobContext
from almoner.flare.joint_model import JointModel
from almoner.flare.local_work import LocalWork
from almoner.flare.sealed import Sealed
from almoner.flare.wire import REPLY_TO, ReplyKind, TaskHeader
from almoner.protection.scheme import Task
from almoner.release.accuracy import release_accuracy
from almoner.training.flat import flatten


class State(Enum):
    """Where a job stands at a site."""

    NEW = auto()
    MET = auto()
    PROVEN = auto()
    AGREEING = auto()
    READY = auto()
    RELEASED = auto()
    DONE = auto()


class SiteJob:
    """Answers the server's tasks for one job; one at a time, whoever asks."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._spec = context.envelope.spec
        module = context.workload.build_model()
        self._model, self._work = JointModel(context, flatten(module)), LocalWork(context, module)
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
                case "train" | "release" | "model":
                    pass
                case task:
                    return self._answer_protection(task, header, body)
            if self._state not in (State.READY, State.RELEASED):
                raise ProtocolError(f"task {header.kind} in state {self._state.name}")
            if (repeat := self._repeat(header, body)) is not None:
                return repeat
            total, announcement = self._split(header, body)
            if total:
                self._model.apply(header.round - 1, header.contributors, total)
            if header.kind == "train":
                return self._train(header, announcement)
            return self._release(header) if header.kind == "release" else self._give_model(header)

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
                needs_keys = self._spec.aggregation.kind not in ("plain", "robust") and self._spec.rounds > 0
                self._state = State.AGREEING if needs_keys else State.READY
            case _:
                raise ProtocolError(f"task {header.kind} in state {self._state.name}")
        return answer

    def _answer_protection(self, task: Task, header: TaskHeader, body: bytes) -> Sealed:
        """Let the protection answer what touches no data: the agreement on keys, and a round's second half."""
        number = header.round
        if task in ("acknowledge", "reveal"):
            due = self._state is State.READY and self._model.rounds < self._rounds_begun == number
        else:
            due = self._state in (State.AGREEING, State.READY) and self._rounds_begun == number == 0
        if not due:
            raise ProtocolError(f"task {task} of round {number} in state {self._state.name}")
        answer = self._context.protection.answer(task, number, header.contributors, body)
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
        same = {"train": ReplyKind.UPDATE, "release": ReplyKind.RELEASE}.get(header.kind)
        if last.kind is not same:
            return None
        if header.kind == "train":
            protection = self._context.protection
            start = len(body) - protection.announcement_bytes(header.ring)
            protection.begin(header.round, header.ring, body[max(start, 0) :])
        return last

    def _split(self, header: TaskHeader, body: bytes) -> tuple[bytes, bytes]:
        """Return the total that is due, or nothing, and the announcement of a round."""
        due, protection = self._model.rounds < self._rounds_begun, self._context.protection
        size = protection.total_bytes(header.contributors) if due else 0
        announced = protection.announcement_bytes(header.ring) if header.kind == "train" else 0
        if len(body) != size + announced or (header.ring and header.kind != "train"):
            raise ProtocolError(f"task {header.kind}: {len(body)} bytes, not what is due")
        if header.contributors and not due:
            raise ProtocolError("a total where none is due")
        return body[:size], body[size:]

    def _train(self, header: TaskHeader, announcement: bytes) -> Sealed:
        """Let the protection take the round's announcement, commit the round, then train it."""
        number = header.round
        if self._state is not State.READY or number != self._rounds_begun + 1 or number > self._spec.rounds:
            raise ProtocolError(f"round {number} after round {self._rounds_begun}")
        self._rounds_begun = number
        self._context.protection.begin(number, header.ring, announcement)
        if header.ring and self._context.site.policy.site not in header.ring:
            raise ProtocolError(f"round {number} goes on without this site")
        step = self._context.plan.steps[number - 1].key
        self._commit(step)
        self._last_answer = Sealed(ReplyKind.UPDATE, number, step, self._work.train(self._model.weights))
        return self._last_answer

    def _release(self, header: TaskHeader) -> Sealed:
        """Commit the release, then count correct and wrong test records and noise the two counts."""
        if self._state is not State.READY or self._model.rounds != self._spec.rounds or not self._spec.releases:
            raise ProtocolError("a release before the last round, or none in the job")
        request = self._spec.releases[0]
        self._commit(request.kind)
        correct, wrong = self._work.count_test_records(self._model.weights)
        self._state = State.RELEASED
        noised = release_accuracy(correct, wrong, request.epsilon)
        self._last_answer = Sealed(ReplyKind.RELEASE, header.round, request.kind, noised.to_bytes())
        return self._last_answer

    def _give_model(self, header: TaskHeader) -> Sealed:
        """Give the final weights, if every site that contributed signed its consent."""
        due = State.RELEASED if self._spec.releases else State.READY
        if self._state is not due or self._model.rounds != self._spec.rounds:
            raise ProtocolError("the model before the end of the job")
        weights = self._model.give(header.consents)
        self._state = State.DONE
        self._context.protection.close()
        return Sealed(ReplyKind.MODEL, header.round, "", weights)

    def _commit(self, step: str) -> None:
        """Charge a step; on return the charge is durable."""
        with self._context.site.ledger() as ledger:
            ledger.commit(self._context.job_id, step)
