"""The server's side of secret sharing in groups: the study's draw, then one `SecaggServer` a group, in step.

Questions of the same task go out as one. A group has failed if its own server gives up, or its total holds no sum: its
members are asked nothing more, it is in no total, and the job goes on as long as the layout bears it.

One member can fail its group: by silence, by words that are no values, or by a bad tag. Nobody can tell whose words or
tag it was, or whether the server lies: log and error name the group.
"""

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from almoner.errors import FederationError, ProtocolError
from almoner.protection.draw_relay import draw_groups
from almoner.protection.robust_plain import describe_rows
from almoner.protection.scheme import Answers, Conversation, Question, RoundTotal, ServerProtection
from almoner.schema.consortium import Roster
from almoner.secagg import merkle
from almoner.secagg.group_means import GroupSum, robust_total
from almoner.secagg.grouping import DrawnGroups, GroupedTerms, Names
from almoner.secagg.server import SecaggServer
from almoner.secagg.total import read_total
from almoner.secagg.view import told

logger = logging.getLogger(__name__)
T = TypeVar("T")


class GroupedServer(ServerProtection):
    """The server in one job of grouped secret sharing.

    *It learns* what `SecaggServer` says of each group: the sum of every group, so of at least t of its sites, and of
    as few as two honest ones, where c others of that group collude with it.

    Args:
        terms: of the job.
        roster: whose certificates sign draw and set-up.
    """

    def __init__(self, terms: GroupedTerms, roster: Roster) -> None:
        self._terms, self._roster = terms, roster
        self._grouping: DrawnGroups | None = None
        self._servers: dict[int, SecaggServer] = {}
        self._told = b""

    def set_up(self, sites: Names) -> Conversation[Names]:
        """Have the sites draw their groups, or say how they were drawn, and each group agree on its keys.

        Raises:
            FederationError: the groups are not drawn, or more of them failed than the layout bears.
        """
        terms = self._terms
        groups, holding = yield from draw_groups(terms.draw, sites, self._roster, self._fewest())
        grouping = self._grouping = DrawnGroups(terms, groups)
        self._servers = {place: SecaggServer(grouping.terms_of(place), self._roster) for place in range(len(groups))}
        found = yield from self._in_step(holding, lambda server, own: server.set_up(own))
        return grouping.in_order({site for part in found.values() for site in part})

    def round(self, number: int, sites: Names) -> Conversation[RoundTotal]:
        """Collect, add and unmask one round's values, group by group.

        Raises:
            FederationError: more groups failed than the layout bears, or too few sites contributed.
        """
        grouping = self._held()
        found = yield from self._in_step(sites, lambda server, own: self._summed(server, number, own))
        totals = {place: total for place, (total, _) in found.items()}
        contributors = grouping.in_order({site for total in totals.values() for site in total.contributors})
        if len(contributors) < (least := self._terms.job.min_sites):
            raise FederationError(f"round {number}: {len(contributors)} of at least {least} sites contributed")
        named = grouping.in_order({site for total in totals.values() for site in total.named})
        root = merkle.root([bytes.fromhex(total.commitments_root) for total in totals.values()])
        _, report = robust_total(grouping, {place: values for place, (_, values) in found.items()})
        whose = tuple("+".join(total.contributors) for total in totals.values())
        logger.info("round %d: %s", number, describe_rows(whose, report["rows"]))
        body = b"".join(total.body for total in totals.values())
        self._told = told(number, contributors, body)
        return RoundTotal(contributors, body, root.hex(), named, report)

    def _summed(self, server: SecaggServer, number: int, sites: Names) -> Conversation[tuple[RoundTotal, GroupSum]]:
        """Lead one group's round, and read its sum; a group whose total holds none has failed, alone."""
        total = yield from server.round(number, sites, self._told)
        terms = self._held().terms_of(self._held().place(total.contributors[0]))
        values = read_total(terms, len(total.contributors), total.body)
        return total, GroupSum(total.contributors, values)

    def _in_step(
        self, sites: Names, start: Callable[[SecaggServer, Names], Conversation[T]]
    ) -> Conversation[dict[int, T]]:
        """Lead the conversations of all groups at once; end with the results of those that did not fail."""
        grouping, parts = self._held(), self._held().in_groups(sites)
        talks = {place: start(server, parts.get(place, ())) for place, server in self._servers.items()}
        results: dict[int, T] = {}
        answers: Mapping[int, Answers | None] = dict.fromkeys(talks)
        while answers:
            questions: dict[int, Question] = {}
            for place, heard in answers.items():
                try:
                    questions[place] = next(talks[place]) if heard is None else talks[place].send(heard)
                except StopIteration as end:
                    results[place] = end.value
                except (FederationError, ProtocolError) as error:
                    self._fail(place, error)
            if questions:
                said = yield self._merged(questions)
                answers = {
                    place: {site: said[site] for site in question.sites if site in said}
                    for place, question in questions.items()
                }
            else:
                answers = {}
        return {place: results[place] for place in range(len(grouping.groups)) if place in results}

    def _fail(self, place: int, error: Exception) -> None:
        """Go on without a group, if the layout bears it."""
        grouping, layout = self._held(), self._terms.layout
        del self._servers[place]
        members = ", ".join(grouping.groups[place])
        logger.warning("the group of %s failed: %s", members, error)
        failed = len(grouping.groups) - len(self._servers)
        if not layout.bears(failed):
            raise FederationError(
                f"the group of {members} failed ({error}); {failed} of {layout.num_groups} groups failed in all, and "
                f"with {layout.num_byzantine_sites} Byzantine sites the layout bears {layout.failed_groups_borne}"
            )

    def _merged(self, questions: dict[int, Question]) -> Question:
        """Put the groups' questions into one."""
        first, grouping = next(iter(questions.values())), self._held()
        if {(question.task, question.number) for question in questions.values()} != {(first.task, first.number)}:
            raise ProtocolError("the groups are out of step: report this")
        lengths = {site: size for question in questions.values() for site, size in question.answer_bytes.items()}
        sites = grouping.in_order(set(lengths))
        return Question(
            first.task,
            first.number,
            grouping.in_order({site for question in questions.values() for site in question.contributors}),
            b"".join(question.body for question in questions.values()),
            sites,
            0,  # which answers are missing decides, group by group, and so names the group that ends the job
            {site: lengths[site] for site in sites},
            self._enough(tuple(questions.values())),
        )

    def _enough(self, questions: tuple[Question, ...]) -> int:
        """Return with how many answers the job goes on without the rest, whoever they are."""
        layout = self._terms.layout
        can_fail = layout.failed_groups_borne - (layout.num_groups - len(self._servers))
        fails_at = sorted(max(0, len(question.sites) - question.min_answers + 1) for question in questions)
        asked = sum(len(question.sites) for question in questions)
        return max(self._terms.job.min_sites, asked + 1 - sum(fails_at[: can_fail + 1]))

    def _fewest(self) -> int:
        """Return with how many sites the job can go on at best."""
        layout = self._terms.layout
        needed = layout.num_groups - layout.failed_groups_borne
        thresholds = sorted(group.threshold for group in layout.parties)
        return max(self._terms.job.min_sites, sum(thresholds[:needed]))

    def _held(self) -> DrawnGroups:
        """Return the groups."""
        if self._grouping is None:
            raise ProtocolError("the groups are not drawn yet: run set_up first")
        return self._grouping
