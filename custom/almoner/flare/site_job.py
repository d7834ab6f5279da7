"""One job at one site: which task may follow which, and what each may do with data.

Transitions (a task that is not listed for a state raises `ProtocolError`):

    NEW       --setup-->            MET        nothing of the data is touched before READY
    MET       --heads-->            PROVEN     the own ledger contains every head of its own that others hold
    PROVEN    --cosign-->           READY      the others' heads are kept
    READY     --train r-->          READY      r is exactly the next round; its total is applied first
    READY     --train r again-->    READY      the same answer again, data untouched, nothing charged
    READY     --release-->          RELEASED   after the last round, if the job has a release
    RELEASED  --release again-->    RELEASED   the same answer again
    READY     --model-->            DONE       if the job has no release
    RELEASED  --model-->            DONE       with the signed consent of every site that contributed

Every step that touches data is committed to the ledger first, durably. A site that missed a round cannot
know the sum of that round, so it is out of the job: each later task raises.
"""

import threading
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from almoner.errors import ProtocolError
from almoner.flare.consent import verify_consent
from almoner.flare.head_exchange import HeadExchange
from almoner.flare.job_context import JobContext
from almoner.flare.sealed import Sealed
from almoner.flare.wire import ReplyKind, TaskHeader
from almoner.release.accuracy import release_accuracy
from almoner.training.dp_sgd import DpSgdTrainer
from almoner.training.flat import flatten
from almoner.training.grid import apply_update
from almoner.training.noise import SecureRandom
from almoner.training.units import UnitData
from almoner.workloads.metrics import correct_labels


class State(Enum):
    """Where a job stands at a site."""

    NEW = auto()
    MET = auto()
    PROVEN = auto()
    READY = auto()
    RELEASED = auto()
    DONE = auto()


class SiteJob:
    """Answers the server's tasks for one job; one at a time, whoever asks."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._spec = context.envelope.spec
        self._model = context.workload.build_model()
        self._weights: NDArray[np.float64] = flatten(self._model)
        self._heads = HeadExchange(context)
        self._state = State.NEW
        self._rounds_trained = 0
        self._rounds_applied = 0
        self._contributors: set[str] = set()
        self._last_answer: Sealed | None = None
        self._data: UnitData | None = None
        self._trainer: DpSgdTrainer | None = None
        self._lock = threading.Lock()

    def answer(self, header: TaskHeader, body: bytes) -> Sealed:
        """Carry out one task.

        Raises:
            ProtocolError: the task is not allowed now.
            LedgerError: the ledger does not let the step start, or was rolled back.
        """
        with self._lock:
            if header.kind in ("setup", "heads", "cosign"):
                return self._set_up(header, body)
            if self._state in (State.NEW, State.MET, State.PROVEN, State.DONE):
                raise ProtocolError(f"task {header.kind} in state {self._state.name}")
            if self._is_repeat(header):
                return self._repeat()
            self._apply_total(header, body)
            if header.kind == "train":
                return self._train(header.round)
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
                self._state = State.READY
            case _:
                raise ProtocolError(f"task {header.kind} in state {self._state.name}")
        return answer

    def _is_repeat(self, header: TaskHeader) -> bool:
        """Tell whether FLARE delivers the last task once more."""
        last = self._last_answer
        if last is None or header.round != last.round:
            return False
        return (header.kind == "train" and last.kind is ReplyKind.UPDATE) or (
            header.kind == "release" and last.kind is ReplyKind.RELEASE
        )

    def _repeat(self) -> Sealed:
        """Return the last answer: no data is touched, no step is committed."""
        if self._last_answer is None:
            raise ProtocolError("nothing was answered yet")
        return self._last_answer

    def _apply_total(self, header: TaskHeader, body: bytes) -> None:
        """Open the total of the last round and take the step that all sites take."""
        if self._rounds_applied == self._rounds_trained:
            if header.contributors or body:
                raise ProtocolError("a total where none is due")
            return
        sites, context = header.contributors, self._context
        order = [site for site in context.nominal_records if site in sites]
        if header.round != self._rounds_trained + 1 or list(sites) != order or len(sites) < self._spec.min_sites:
            raise ProtocolError("the total is not that of the last round, or of too few sites")
        total = context.scheme.open(body, len(sites))
        self._weights = apply_update(
            self._weights,
            total,
            context.grid,
            learning_rate=self._spec.training.learning_rate,
            sampling_prob=self._spec.privacy.sampling_prob,
            total_nominal=sum(context.nominal_records[site] for site in sites),
        )
        self._rounds_applied += 1
        self._contributors |= set(sites)

    def _train(self, number: int) -> Sealed:
        """Commit the round, then train it."""
        if self._state is not State.READY or number != self._rounds_trained + 1 or number > self._spec.rounds:
            raise ProtocolError(f"round {number} after round {self._rounds_trained}")
        step = self._context.plan.steps[number - 1].key
        self._commit(step)
        update = self._open_trainer().run_round(self._weights)
        self._rounds_trained = number
        self._last_answer = Sealed(ReplyKind.UPDATE, number, step, update)
        return self._last_answer

    def _release(self, header: TaskHeader) -> Sealed:
        """Commit the release, then count correct and wrong test records and noise the two counts."""
        if self._state is not State.READY or self._rounds_applied != self._spec.rounds or not self._spec.releases:
            raise ProtocolError("a release before the last round, or none in the job")
        request = self._spec.releases[0]
        self._commit(request.kind)
        correct, wrong = self._count_test_records()
        self._state = State.RELEASED
        noised = release_accuracy(correct, wrong, request.epsilon)
        self._last_answer = Sealed(ReplyKind.RELEASE, header.round, request.kind, noised.to_bytes())
        return self._last_answer

    def _give_model(self, header: TaskHeader) -> Sealed:
        """Give the final weights, if every site that contributed signed its consent."""
        context = self._context
        due = State.RELEASED if self._spec.releases else State.READY
        if self._state is not due or self._rounds_applied != self._spec.rounds:
            raise ProtocolError("the model before the end of the job")
        contributors = self._contributors or {context.site.policy.site}
        if context.site.policy.site not in contributors or not context.site.policy.release_final_model:
            raise ProtocolError("this site is not to give the model")
        for site in sorted(contributors):
            answer = bytes.fromhex(header.consents.get(site, ""))
            verify_consent(answer, context.site.roster, site, context.envelope_digest, context.job_id)
        self._state = State.DONE
        return Sealed(ReplyKind.MODEL, header.round, "", self._weights.astype("<f8").tobytes())

    def _commit(self, step: str) -> None:
        """Charge a step; on return the charge is durable."""
        with self._context.site.ledger() as ledger:
            ledger.commit(self._context.job_id, step)

    def _open_data(self) -> UnitData:
        """Read the data; called only after a commit."""
        if self._data is None:
            self._data = self._context.workload.load(self._context.data_path)
        return self._data

    def _open_trainer(self) -> DpSgdTrainer:
        """Build the trainer at the first round."""
        if self._trainer is None:
            privacy, training = self._spec.privacy, self._spec.training
            self._trainer = DpSgdTrainer(
                self._model,
                self._context.workload.loss,
                self._open_data().train,
                max_grad_norm=privacy.max_grad_norm,
                noise_multiplier=self._context.plan.noise_multiplier,
                sampling_prob=privacy.sampling_prob,
                local_steps=training.local_steps,
                learning_rate=training.learning_rate,
                nominal_records=self._context.dataset.nominal_records,
                grid=self._context.grid,
                rng=SecureRandom(),
            )
        return self._trainer

    def _count_test_records(self) -> tuple[int, int]:
        """Return how many test records the final model gets right and wrong."""
        correct = correct_labels(self._context.workload, self._weights, self._open_data().test)
        num_correct = int(correct.sum())
        return num_correct, len(correct) - num_correct
