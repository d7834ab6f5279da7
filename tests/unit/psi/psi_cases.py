"""Alignments in one process, over a network that can change what each site is shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.unit.protection.protection_cases import SITES, key_pem, root_pem, roster

from almoner.psi.site import SiteAlignment
from almoner.psi.terms import PsiTerms

Identifiers = Sequence[bytes | None]
Show = Callable[[str, str, bytes], bytes]
TASKS = ("keys", "meet", "blind", "exchange", "compare", "learn")


def terms(num_sites: int = 2, cap: int = 8, **changes: Any) -> PsiTerms:
    fields: dict[str, Any] = {
        "envelope_digest": "ab" * 32,
        "job_id": "6a1b1111-0000-4000-8000-000000000000",
        "sites": SITES[:num_sites],
        "leader": "ada",
        "cap": cap,
        "nonce": "0123456789abcdef" * 2,
    }
    return PsiTerms(**{**fields, **changes})


def machine(site: str, of: PsiTerms) -> SiteAlignment:
    return SiteAlignment(of, roster(), root_pem(), site, key_pem(site))


def names(*words: str | None) -> list[bytes | None]:
    return [None if word is None else word.encode() for word in words]


@dataclass
class Network:
    """What carries the messages of one alignment.

    Args:
        show: what a site is shown in place of a task's body.
        said: what each site answered, by task and site.
    """

    of: PsiTerms
    show: Show = lambda task, site, body: body
    machines: dict[str, SiteAlignment] = field(default_factory=dict)
    said: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.machines = {site: machine(site, self.of) for site in self.of.sites}

    def body(self, task: str) -> bytes:
        """Return what an honest server would show."""
        members, leader = self.of.members, self.of.leader
        match task:
            case "meet":
                return b"".join(self.said["keys", site] for site in self.of.sites)
            case "exchange":
                return self.said["blind", leader] + b"".join(self.said["blind", site] for site in members)
            case "compare":
                return b"".join(self.said["exchange", site] for site in members)
            case "learn":
                return self.said["compare", leader]
        return b""

    def step(self, task: str, lists: dict[str, Identifiers]) -> None:
        """Put one question to all whom it concerns."""
        body = self.body(task)
        for site, found in self.machines.items():
            if (task == "compare" and site != self.of.leader) or (task == "learn" and site == self.of.leader):
                continue
            shown = self.show(task, site, body)
            answer = found.keys() if task == "keys" else found.blind(lists[site]) if task == "blind" else None
            if answer is None:
                answer = getattr(found, task)(shown)
            self.said[task, site] = answer or b""

    def run(self, lists: dict[str, Identifiers], until: str = "learn") -> dict[str, SiteAlignment]:
        """Carry the alignment out, up to a task."""
        for task in TASKS[: TASKS.index(until) + 1]:
            self.step(task, lists)
        return self.machines

    def rows(self) -> dict[str, tuple[int, ...]]:
        """Return which rows each site has in common with all others."""
        return {site: found.alignment.rows for site, found in self.machines.items()}


def align(lists: dict[str, Identifiers], cap: int = 8) -> dict[str, tuple[int, ...]]:
    """Return what honest sites find."""
    network = Network(terms(len(lists), cap))
    network.run(lists)
    return network.rows()
