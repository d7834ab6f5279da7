"""Drives a protection's two sides in this process: each call measured, each byte counted, no network."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from almoner.errors import ProtocolError
from almoner.protection.scheme import (
    Answers,
    Conversation,
    IntVector,
    Question,
    RoundTotal,
    ServerProtection,
    SiteProtection,
)

Measure = Callable[[Callable[[], Any]], tuple[Any, float]]
"""Runs a call, and returns its result and what it cost."""
Listener = Callable[[Question, Answers], None]
"""Is told each question and the answers to it."""


def processor_seconds(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and the processor seconds of this process that it took."""
    begin = time.process_time()
    result = call()
    return result, time.process_time() - begin


@dataclass
class Costs:
    """What a round or the set-up cost.

    Args:
        server: of each step of the server's side, in what `measure` measures.
        sites: of each call, one entry a site.
        sent, received: bytes of messages by site.
    """

    server: list[float] = field(default_factory=list)
    sites: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)


class DrivenJob:
    """One job's sites and server, their keys agreed on; all of them take part in every round.

    Args:
        server: its side.
        sites: theirs, by name in roster order.
        measure: of every call; by default processor seconds.
        listener: of the whole job.
    """

    def __init__(
        self,
        server: ServerProtection,
        sites: Mapping[str, SiteProtection],
        measure: Measure = processor_seconds,
        listener: Listener = lambda question, answers: None,
    ) -> None:
        self.server, self.sites, self._measure, self._listener = server, sites, measure, listener
        self.number, self.set_up_costs = 0, Costs()
        self._talk(server.set_up(tuple(sites)), self._answer, self.set_up_costs)

    def round(self, values: Mapping[str, IntVector], lost: tuple[str, ...] = ()) -> tuple[IntVector, RoundTotal, Costs]:
        """Run one round, and have every site open its total.

        Args:
            values: of every site, int64[d].
            lost: sites whose contribution does not arrive, and costs nothing; they answer what comes after.

        Returns:
            What all sites opened, the total, and what it cost.

        Raises:
            FederationError: the round is dead.
            ProtocolError: a site refused, or two sites opened different sums.
        """
        self.number += 1
        costs = Costs()

        def answer(question: Question, site: str, costs: Costs) -> bytes | None:
            if question.task != "train":
                return self._answer(question, site, costs)
            message = self._train(question, site, values[site], Costs() if site in lost else costs)
            return None if site in lost else message

        total = self._talk(self.server.round(self.number, tuple(self.sites)), answer, costs)
        return self._open(total, costs), total, costs

    def _train(self, question: Question, site: str, values: IntVector, costs: Costs) -> bytes:
        """Have a site begin the round and protect its values."""
        own = self.sites[site]
        self._measured("begin", costs, lambda: own.begin(question.number, question.contributors, question.body))
        message: bytes = self._measured("protect", costs, lambda: own.protect(question.number, values))
        return message

    def _answer(self, question: Question, site: str, costs: Costs) -> bytes | None:
        """Have a site answer any other question."""
        asked = question.task, question.number, question.contributors, question.body
        said: bytes = self._measured(question.task, costs, lambda: self.sites[site].answer(*asked))
        return said

    def _open(self, total: RoundTotal, costs: Costs) -> IntVector:
        """Have all sites open a round's total; return what all of them found."""
        found: IntVector | None = None
        for name, site in self.sites.items():
            costs.received[name] += len(total.body)
            open_it = partial(site.open, self.number, total.contributors, total.body)
            opened: IntVector = self._measured("open", costs, open_it)
            if found is not None and not np.array_equal(opened, found):
                raise ProtocolError(f"round {self.number}: {name} opened another sum: report this")
            found = opened
        if found is None:
            raise ProtocolError(f"round {self.number}: a job without sites")
        return found

    def _talk(
        self,
        conversation: Conversation[Any],
        answer: Callable[[Question, str, Costs], bytes | None],
        costs: Costs,
    ) -> Any:
        """Carry a conversation of the server out; return its result."""
        answers: Answers | None = None
        while True:
            (question, result), cost = self._measure(partial(_next, conversation, answers))
            costs.server.append(cost)
            if question is None:
                return result
            said = {site: answer(question, site, costs) for site in question.sites}
            answers = {site: message for site, message in said.items() if message is not None}
            costs.received.update(dict.fromkeys(question.sites, len(question.body)))
            costs.sent.update({site: len(message) for site, message in answers.items()})
            self._listener(question, answers)

    def _measured(self, call: str, costs: Costs, act: Callable[[], Any]) -> Any:
        """Carry out a site's call, and put its cost down."""
        result, cost = self._measure(act)
        costs.sites[call].append(cost)
        return result


def _next(conversation: Conversation[Any], answers: Answers | None) -> tuple[Question | None, Any]:
    """Return the server's next question, or None and its result."""
    try:
        return (next(conversation) if answers is None else conversation.send(answers)), None
    except StopIteration as end:
        return None, end.value
