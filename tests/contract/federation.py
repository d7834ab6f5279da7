"""A federation in one process: any protection's server and sites, and messengers that a test can replace."""

import numpy as np

from almoner.errors import FederationError
from almoner.protection.scheme import Conversation, IntVector, Question, RoundTotal, ServerProtection, SiteProtection


class Federation:
    """A server and its sites in one process, and honest messengers between them."""

    def __init__(self, server: ServerProtection, sites: dict[str, SiteProtection]) -> None:
        self.server, self.sites, self.number = server, sites, 0
        self.values: dict[str, IntVector] = {}
        self.messages: dict[str, bytes] = {}
        self.members = self.drive(server.set_up(tuple(sites)), tuple(sites))

    def drive(self, conversation: Conversation, there: tuple[str, ...]):
        """Carry a conversation out; sites that are not there do not answer."""
        answers = None
        while True:
            try:
                question = conversation.send(answers) if answers is not None else next(conversation)
            except StopIteration as end:
                return end.value
            answers = {site: self.ask(site, question) for site in question.sites if site in there}
            for site, answer in answers.items():
                assert len(answer) == question.answer_bytes[site] == self.sites[site].answer_bytes(question.task)
            if len(answers) < question.min_answers:
                raise FederationError(f"{question.task}: too few")

    def ask(self, site: str, question: Question) -> bytes:
        machine = self.sites[site]
        if question.task != "train":
            return machine.answer(question.task, question.number, question.contributors, question.body)
        assert len(question.body) == machine.announcement_bytes(question.contributors)
        machine.begin(question.number, question.contributors, question.body)
        self.messages[site] = machine.protect(question.number, self.values[site])
        return self.messages[site]

    def round(self, values: dict[str, IntVector], there: tuple[str, ...] | None = None) -> RoundTotal:
        self.values, self.number = values, self.number + 1
        return self.drive(self.server.round(self.number, self.members), there or self.members)

    def add(self, vectors: list[IntVector]) -> IntVector:
        total = self.round(dict(zip(self.sites, vectors, strict=True)))
        return self.open(total)

    def open(self, total: RoundTotal) -> IntVector:
        """Have every member open a round's total; all get the same."""
        sums = [self.sites[site].open(self.number, total.contributors, total.body) for site in self.members]
        assert all(np.array_equal(sums[0], other) for other in sums)
        return sums[0]
