"""One alignment at one site: the tasks that are its own.

Transitions, beside those of every job (see `site_job.py`) and those of the protocol (see `almoner.psi.site`):

    READY     --psi-keys-->       READY     no data
    READY     --psi-blind-->      READY     all keys are checked, then the ledger takes the charge of the size if the
                                            job has one, then the list is read, and leaves blinded and sealed
    READY     --psi-exchange-->   READY     no more data is read from here on
    READY     --psi-compare-->    READY     the leader's result is written
    READY     --psi-learn-->      READY     a member's result is written
    READY     --psi-size-->       RELEASED  if the job has a release: the leader's noised number, zeros from the others
    the last task once more: the same answer

The size is charged at every site, before its list leaves: each one's records are in the number. The result stays in
the site's folder. No log line and no error has a size or an identifier in it.
"""

from hashlib import sha256

from almoner.errors import ProtocolError
from almoner.flare.alignment.context import QUESTIONS, PsiContext, pack_size
from almoner.flare.alignment.files import read_identifiers, write_alignment
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import ReplyKind, TaskHeader, TaskKind
from almoner.flare.phases.site_job import SiteJob, State
from almoner.psi.site import SiteAlignment
from almoner.psi.terms import PsiQuestion
from almoner.release.mechanisms import measurement
from almoner.schema.receipt import PureRelease

_QUESTION_OF: dict[TaskKind, PsiQuestion] = {task: question for question, (task, _) in QUESTIONS.items()}


class PsiJob(SiteJob):
    """Answers the server's tasks for one alignment."""

    def __init__(self, context: PsiContext) -> None:
        super().__init__(context)
        self._psi = context
        site = context.site
        self._alignment = SiteAlignment(
            context.terms, site.roster, site.root_ca.read_bytes(), site.policy.site, site.private_key()
        )
        self._asked = b""

    @property
    def _needs_keys(self) -> bool:
        """The alignment agrees on keys of its own."""
        return False

    @property
    def _rounds_opened(self) -> int:
        """There are no rounds."""
        return 0

    def _carry_out(self, header: TaskHeader, body: bytes) -> Sealed:
        """Answer a question of the alignment, or release the size."""
        asked = sha256(f"{header.kind}:".encode() + body).digest()
        if self._last_answer is None or asked != self._asked:
            question = _QUESTION_OF.get(header.kind)
            if question is None and header.kind != "psi-size":
                raise ProtocolError(f"task {header.kind} in an alignment")
            self._last_answer = self._release() if question is None else self._put(question, body)
            self._asked = asked
        return self._last_answer

    def _put(self, question: PsiQuestion, body: bytes) -> Sealed:
        """Put a question to the alignment."""
        said = b""
        match question:
            case "keys":
                said = self._alignment.keys()
            case "blind":
                self._alignment.meet(body)
                for step in self._context.plan.steps:
                    self._commit(step.key)
                said = self._alignment.blind(read_identifiers(self._psi))
            case "exchange":
                said = self._alignment.exchange(body)
            case "compare":
                said = self._alignment.compare(body)
                write_alignment(self._psi, self._alignment.alignment)
            case "learn":
                self._alignment.learn(body)
                write_alignment(self._psi, self._alignment.alignment)
        return Sealed(QUESTIONS[question][1], 0, "", said)

    def _release(self) -> Sealed:
        """Return the noised number of what is in common from the leader, zero from the others."""
        if self._state is not State.READY or not self._context.plan.steps:
            raise ProtocolError("a size twice, or none in the job")
        [step], number = self._context.plan.steps, 0
        [event] = step.events
        alignment = self._alignment.alignment
        if self._alignment.leads:
            number = noised_size(alignment.num_common, event.epsilon) if isinstance(event, PureRelease) else 0
        self._alignment.close()
        self._state = State.RELEASED
        return Sealed(ReplyKind.PSI_SIZE, 0, step.key, pack_size(number))


def noised_size(size: int, epsilon: float) -> int:
    """Return a number of identifiers in common with integer Laplace noise.

    *Guarantee*: ε-DP for one unit of any one of the sites under add_or_remove_one, which changes the number by at most
    one, towards whoever was not told the intersection itself.

    Args:
        size: private.
    """
    made = measurement(PureRelease(kind="pure_release", epsilon=epsilon, count=1), 1, 1)
    return int(made([size])[0])
