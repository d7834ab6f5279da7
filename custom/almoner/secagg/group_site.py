"""A site's side of secret sharing in groups: the study's draw, its own group's `SecaggSite`, and the robust step.

Transitions (every other question raises `ProtocolError` and ends the job at this site):

    New      --draw-commit, draw-reveal-->  New      see `draw_site.py`; what is held outlives the job
    New      --draw-settle-->               Grouped  the groups stand; a `SecaggSite` of the own group
    Grouped  --draw-settle again-->         Grouped  before the first "keys"
    Grouped  --anything else-->             Grouped  the own group's part of it, to the own group's `SecaggSite`

*Guarantee*, with at most c colluding sites, all of which may be in one group, and whatever the server does: what leaves
this site shows the server nothing of its values but a sum over at least t sites of its group, so at least two honest
ones, and one such sum a round. Over the study's jobs the groups stay the same, so that no sum is over members of two
groups. It may be over other members of its group in each round, as in any secret sharing that bears drops: a server
that leaves out one member, then another, can subtract. What it gets is of different rounds' updates, each with noise
of its own, and this noise, which the account is charged for, is all that protects them then. With at most f sites
whose values are what they like, and a server that adds and shows what it was sent, the step is within the bound of the
layout's rule.

*Price*: the server, and every site, see each group's sum. A bad site spoils its group's sum with its values. One that
breaks the protocol, or is silent, may fail its group, and with it the job, where the layout bears no failed group.
A total's tag proves the sum of the *own* group alone: the other groups' sums, and who contributed to them, are the
server's word. A server that lies about them steers the step within the clip and the rule, where it controls fewer
groups than the rule bears, and at will with more; robustness asks one to believe it that far. Privacy is bounded as
above, but a model of the server's choice may draw more out of updates. It is one model for all honest sites of a sum:
sites that were told different totals, of any group, are in no sum together (`view.py`).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args

from almoner.errors import ProtocolError
from almoner.protection.draw_site import DrawTask, SiteDraw
from almoner.protection.scheme import IntVector, SiteProtection, Task
from almoner.protection.set_up import JobTerms
from almoner.secagg.group_means import GroupSum, robust_total
from almoner.secagg.grouping import DrawnGroups, GroupedTerms, Names
from almoner.secagg.site import OutsideTheRing, SecaggSite
from almoner.secagg.total import read_total
from almoner.secagg.view import told

_DRAW_TASKS: tuple[DrawTask, ...] = get_args(DrawTask)


class GroupedSite(SiteProtection):
    """One site in one job of grouped secret sharing.

    Args:
        terms: of the job.
        site: this one.
        draw: this site's part in the study's draw.
        join: returns this site's side of its own group's secret sharing, given that group's terms.
    """

    def __init__(self, terms: GroupedTerms, site: str, draw: SiteDraw, join: Callable[[JobTerms], SecaggSite]) -> None:
        self._terms, self._site, self._draw, self._join = terms, site, draw, join
        self._grouping: DrawnGroups | None = None
        self._inner: SecaggSite | None = None
        self._has_keys = self._ended = False
        self._lock = threading.RLock()

    def answer(self, task: Task, number: int, contributors: Names, body: bytes) -> bytes:
        """Answer a question of the draw, or the own group's part of any other.

        Raises:
            ProtocolError: the question is not allowed now, or says something that is not true.
        """
        with self._step():
            if task in _DRAW_TASKS:
                return self._answer_draw(task, number, contributors, body)
            grouping, inner, place = self._held()
            self._has_keys = True
            if task == "keys":
                return inner.answer(task, number, contributors, body)
            own, part = grouping.split(task, contributors, body).get(place, ((), b""))
            return inner.answer(task, number, own, part)

    def begin(self, number: int, ring: Names, announcement: bytes) -> None:
        """Take the own group's part of a round's announcement.

        Raises:
            OutsideTheRing: this site is not in the ring. The site goes on.
            ProtocolError: the announcement is not allowed now, or not what the members signed.
        """
        with self._step():
            grouping, inner, place = self._held()
            own, part = grouping.split("train", ring, announcement).get(place, ((), b""))
            inner.begin(number, own, part)

    def protect(self, number: int, values: IntVector) -> bytes:
        """Return this site's values, masked among its group."""
        with self._step():
            return self._held()[1].protect(number, values)

    def open(self, number: int, contributors: Names, total: bytes) -> IntVector:
        """Return the sum that stands for the robust combination of the groups' means, int64[d].

        A group whose members sent what is no sum is not in the total: the server leaves it out, as it can tell. So a
        part that holds none, of any group, is a server that lies.

        Raises:
            ProtocolError: the total is damaged, of too few sites or groups, or not the sum over the own group.
        """
        with self._step():
            grouping, inner, place = self._held()
            sums, whole = {}, told(number, contributors, total)
            for other, (sites, part) in grouping.split("total", contributors, total).items():
                terms = grouping.terms_of(other)
                if len(sites) < terms.threshold:
                    raise ProtocolError(f"round {number}: {len(sites)} contributors of a group, fewer than it needs")
                own = other == place
                values = inner.open(number, sites, part, whole) if own else read_total(terms, len(sites), part)
                sums[other] = GroupSum(sites, values)
            if place not in sums:
                raise ProtocolError(f"round {number}: a total without the group of {self._site}")
            return robust_total(grouping, sums)[0]

    def close(self) -> None:
        """Forget the keys; the draw's record stays."""
        with self._lock:
            self._ended = True
            if self._inner is not None:
                self._inner.close()

    def answer_bytes(self, task: Task) -> int:
        """Return the one length of this site's answer to a task."""
        return self._draw.answer_bytes(task) if task in _DRAW_TASKS else self._held()[1].answer_bytes(task)

    def announcement_bytes(self, ring: Names) -> int:
        """Return the length of an announcement of these sites."""
        return self._held()[0].num_bytes("train", ring)

    def total_bytes(self, contributors: Names) -> int:
        """Return the length of a total: one part for each group that has a contributor."""
        return self._held()[0].num_bytes("total", contributors)

    def _answer_draw(self, task: DrawTask, number: int, contributors: Names, body: bytes) -> bytes:
        """Take a step of the draw; once it is settled, join the own group."""
        if number != 0 or self._has_keys:
            raise ProtocolError(f"{task} after the draw: {self._site} leaves the job")
        said = self._draw.answer(task, contributors, body)
        if self._draw.groups is not None and self._inner is None:
            grouping = DrawnGroups(self._terms, self._draw.groups)
            self._inner = self._join(grouping.terms_of(grouping.place(self._site)))
            self._grouping = grouping
        return said

    def _held(self) -> tuple[DrawnGroups, SecaggSite, int]:
        """Return the groups, and the own group's side and place."""
        if self._grouping is None or self._inner is None:
            raise ProtocolError("the groups of the study are not drawn yet")
        return self._grouping, self._inner, self._grouping.place(self._site)

    @contextmanager
    def _step(self) -> Iterator[None]:
        """Let one thread in at a time; end the job here if a step fails, for whatever reason."""
        with self._lock:
            if self._ended:
                raise ProtocolError(f"the job has ended at {self._site}: its keys are forgotten")
            ended = True
            try:
                yield
                ended = False
            except OutsideTheRing:
                ended = False
                raise
            finally:
                if ended:
                    self.close()
