"""One training job at one site: the tasks that are its own.

Transitions, beside those of every job (see `site_job.py`):

    READY     --train r-->             READY      r is exactly the next round; first the total of the last one is
                                                  verified and applied, then the protection takes the announcement of
                                                  this one, then the ledger its charge, then data is touched
    READY     --train r again-->       READY      the same answer again, data untouched, nothing charged
    READY     --release-->             RELEASED   after the last round, if the job has a release
    RELEASED  --release again-->       RELEASED   the same answer again
    READY     --model-->               DONE       if the job has no release
    RELEASED  --model-->               DONE       with the signed consent of every site that contributed
"""

from almoner.errors import ProtocolError
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import ReplyKind, TaskHeader
from almoner.flare.phases.site_job import SiteJob, State
from almoner.flare.training.context import TrainingContext
from almoner.flare.training.joint_model import JointModel
from almoner.flare.training.local_work import LocalWork
from almoner.release.accuracy import release_accuracy
from almoner.training.flat import flatten


class TrainingJob(SiteJob):
    """Answers the server's tasks for one training job."""

    def __init__(self, context: TrainingContext) -> None:
        super().__init__(context)
        self._spec, self._plan = context.spec, context.plan
        module = context.workload.build_model()
        self._model, self._work = JointModel(context, flatten(module)), LocalWork(context, module)

    @property
    def _needs_keys(self) -> bool:
        """Whether the updates are protected, and there are any."""
        return self._spec.aggregation.kind not in ("plain", "robust") and self._spec.rounds > 0

    @property
    def _rounds_opened(self) -> int:
        """The rounds whose totals are in the model."""
        return self._model.rounds

    def _carry_out(self, header: TaskHeader, body: bytes) -> Sealed:
        """Apply the total that is due; then train, release, or give the model."""
        if (repeat := self._repeat(header, body)) is not None:
            return repeat
        total, announcement = self._split(header, body)
        if total:
            self._model.apply(header.round - 1, header.contributors, total)
        match header.kind:
            case "train":
                return self._train(header, announcement)
            case "release":
                return self._release(header)
            case "model":
                return self._give_model(header)
        raise ProtocolError(f"task {header.kind} in a training job")

    def _train(self, header: TaskHeader, announcement: bytes) -> Sealed:
        """Let the protection take the round's announcement, commit the round, then train it."""
        number = header.round
        if self._state is not State.READY or number != self._rounds_begun + 1 or number > self._spec.rounds:
            raise ProtocolError(f"round {number} after round {self._rounds_begun}")
        self._begin_round(header, announcement)
        step = self._plan.steps[number - 1].key
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
        self._protection.close()
        return Sealed(ReplyKind.MODEL, header.round, "", weights)
