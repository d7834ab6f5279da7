"""The server's part of having its log cosigned in a job: it shows the log before data is read, and again at the end.

A site that cannot cosign at the end stops nobody: it does so when the job's evidence is packed.
"""

import json
import logging
from collections.abc import Mapping

from almoner.audit.inputs import slim_outcome
from almoner.audit.log_entries import Fact
from almoner.audit.log_facts import Earlier, LogHead, job_facts
from almoner.audit.log_shown import Asked
from almoner.audit.tree_heads import SignedTreeHead
from almoner.errors import ProtocolError
from almoner.flare.evidence.live_log import LiveLog
from almoner.flare.evidence.log_messages import LogAnswer, LogIntroduction
from almoner.flare.results.job_result import JobResult
from almoner.protection.signing import verify_signed
from almoner.schema.base import canonical_json
from almoner.schema.consortium import Roster

logger = logging.getLogger(__name__)


class JobLog:
    """The log in one job: `open`, then `close`, then `ask` and `take` while somebody is `waiting`, then `keep`.

    Args:
        waiting: the sites that are to be asked next.
    """

    def __init__(self, log: LiveLog, roster: Roster) -> None:
        self._log, self._roster = log, roster
        self._facts: dict[str, list[Fact]] = {}
        self._sizes: dict[str, int] = {}
        self._cosignatures: dict[str, str] = {}
        self._sites: tuple[str, ...] = ()
        self.waiting: tuple[str, ...] = ()

    def open(self, said: Mapping[str, LogIntroduction]) -> bytes:
        """Log the submission and the sites' decisions; return the log as it is shown at set-up.

        Raises:
            EvidenceError: the log is damaged, or the submission is not one.
        """
        for site, introduction in said.items():
            facts = {"decision": introduction.decision, "verdict": "admitted"}
            self._facts[site] = [("decision", site, facts)] if introduction.decision else []
        self._log.add([*self._log.submitted(), *(fact for facts in self._facts.values() for fact in facts)])
        self._first = self._last = self._log.publish()
        self._sizes = {site: introduction.size for site, introduction in said.items()}
        shown = self.ask(tuple(said))
        self._sizes = dict.fromkeys(said, self._first.head.size)  # who goes on keeps what was shown
        return shown

    def close(self, result: JobResult, sites: tuple[str, ...]) -> None:
        """Log what the job left, and sign the log.

        Args:
            sites: who took part.

        Raises:
            EvidenceError: the log is damaged.
        """
        outcome = slim_outcome(json.loads(result.model_dump_json()))
        self._log.add(job_facts(None, outcome))
        for site, head in result.heads.items():
            self._facts[site] = [*self._facts.get(site, []), ("head", site, head)]
        self._last, self._sites, self.waiting = self._log.publish(), sites, sites

    def ask(self, sites: tuple[str, ...]) -> bytes:
        """Return the newest head with the proofs for some sites."""
        asked = {site: Asked(self._sizes.get(site, 0), self._facts.get(site, [])) for site in sites}
        return canonical_json(self._log.show(self._last, asked))

    def take(self, answers: Mapping[str, bytes]) -> None:
        """Take the sites' answers: cosignatures, or the sizes of the heads that they keep by now.

        Who keeps an older head than the one that was shown is asked again, with a proof from there.
        """
        again = []
        for site, body in answers.items():
            try:
                answer = LogAnswer.from_bytes(body)
                if answer.signature:
                    statement = self._last.head.cosign_statement(site)
                    verify_signed(answer.signature, statement, self._roster, site, "cosignature of the log")
                    self._cosignatures[site] = answer.signature.hex()
                elif answer.size <= self._last.head.size:
                    self._sizes[site] = answer.size
                    again.append(site)
            except ProtocolError as error:
                logger.warning("log: answer of %s dropped: %s", site, error)
        self.waiting = tuple(again)

    def keep(self) -> None:
        """Keep the cosigned head, with the proof that it extends the one of the job's start; say who is missing."""
        if missing := [site for site in self._sites if site not in self._cosignatures]:
            logger.warning("log: not cosigned by %s → it will be asked when evidence is packed", ", ".join(missing))
        if self._cosignatures:
            self._log.keep(LogHead(signed=self._last, cosignatures=self._cosignatures, earlier=self._earlier()))

    def _earlier(self) -> Earlier | None:
        """Return the head of the job's start, and that the last one extends it."""
        first: SignedTreeHead = self._first
        if first.head.size == self._last.head.size:
            return None
        return Earlier(signed=first, consistency=self._log.consistency(first, self._last))
