"""A job of grouped secret sharing in the simulator: stores in memory, which outlive a job as the sites' files do.

stores = Stores()
job = grouped(9, 3, stores)        # 9 sites in 3 groups
job.set_up()
job.round(1)
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tests.simulator import DIMENSION, Simulation, certificate, key_pem, names_of, pem, roster_of, rsa_key, terms_of

from almoner.protection.draw import DrawTerms, Groups
from almoner.protection.draw_relay import draw_groups
from almoner.protection.draw_site import DrawRecord, DrawStore, SiteDraw
from almoner.protection.groups import GroupLayout
from almoner.protection.scheme import IntVector
from almoner.secagg.group_server import GroupedServer
from almoner.secagg.group_site import GroupedSite
from almoner.secagg.grouping import GroupedTerms
from almoner.secagg.site import SecaggSite

STUDY = "credit"
CLIP, PROB = 4.0, 0.5


class MemoryStore(DrawStore):
    """One site's record of one study."""

    def __init__(self) -> None:
        self.record: DrawRecord | None = None

    def change(self, step: Callable[[DrawRecord | None], DrawRecord]) -> DrawRecord:
        self.record = step(self.record)
        return self.record


@dataclass
class Stores:
    """What the sites keep from job to job."""

    of: dict[str, MemoryStore] = field(default_factory=dict)

    def __getitem__(self, site: str) -> MemoryStore:
        return self.of.setdefault(site, MemoryStore())

    def copy(self) -> "Stores":
        return copy.deepcopy(self)

    def groups(self) -> set[Groups | None]:
        return {store.record.groups if store.record else None for store in self.of.values()}


def draw_terms(sites: tuple[str, ...], sizes: tuple[int, ...], study: str = STUDY) -> DrawTerms:
    from cryptography.hazmat.primitives import hashes

    return DrawTerms(
        study, sites, tuple(certificate(site).fingerprint(hashes.SHA256()).hex() for site in sites), sizes, 1
    )


def grouped_terms(
    num_sites: int, num_groups: int, colluding: int = 1, byzantine: int = 1, rule: str = "median", min_sites: int = 3
) -> GroupedTerms:
    sites = names_of(num_sites)
    layout = GroupLayout(num_sites, num_groups, colluding, byzantine, rule)  # type: ignore[arg-type]
    job = terms_of("secagg", sites, colluding=colluding, min_sites=min_sites)
    return GroupedTerms(job, draw_terms(sites, layout.sizes), layout, CLIP, PROB)


def site_draw(terms: DrawTerms, site: str, store: DrawStore) -> SiteDraw:
    return SiteDraw(terms, site, {name: rsa_key(name).public_key() for name in terms.sites}, key_pem(site), store)


def grouped_site(terms: GroupedTerms, site: str, store: DrawStore) -> GroupedSite:
    def join(own: object) -> SecaggSite:
        return SecaggSite(own, roster_of(terms.job.sites), pem("root"), site, key_pem(site))  # type: ignore[arg-type]

    return GroupedSite(terms, site, site_draw(terms.draw, site, store), join)


def grouped(num_sites: int = 9, num_groups: int = 3, stores: Stores | None = None, **options: object) -> Simulation:
    """Return a job of honest parties."""
    terms = grouped_terms(num_sites, num_groups, **options)  # type: ignore[arg-type]
    stores = Stores() if stores is None else stores
    sites = {site: grouped_site(terms, site, stores[site]) for site in terms.job.sites}
    return Simulation(GroupedServer(terms, roster_of(terms.job.sites)), sites, DIMENSION)  # type: ignore[arg-type]


def groups_of(job: Simulation) -> Groups:
    return job.server._grouping.groups


def expected_total(job: Simulation, number: int, parts: tuple[tuple[str, ...], ...]) -> IntVector:
    """Return what the job's rule, the median, makes of the groups' clipped means; each of 100 declared records."""
    terms = job.server._terms
    rows = []
    for part in parts:
        mean = job.sum_of(number, part) * (terms.job.step / (PROB * 100 * len(part)))
        rows.append(mean * min(1.0, CLIP / np.linalg.norm(mean)))
    total_size = 100 * sum(len(part) for part in parts)
    return np.rint(np.median(np.array(rows), axis=0) * (PROB * total_size / terms.job.step))


class Drawer:
    """A site that only draws, in the place of a protection."""

    def __init__(self, draw: SiteDraw) -> None:
        self.draw = draw

    def answer(self, task: str, number: int, contributors: tuple[str, ...], body: bytes) -> bytes:
        return self.draw.answer(task, contributors, body)  # type: ignore[arg-type]


class Drawing(Simulation):
    """The draw of one job: `Drawing.among(terms, stores).result()`; with the hooks of every simulation."""

    terms: DrawTerms

    @classmethod
    def among(cls, terms: DrawTerms, stores: Stores) -> "Drawing":
        sites = {site: Drawer(site_draw(terms, site, stores[site])) for site in terms.sites}
        made = cls(None, sites, DIMENSION)  # type: ignore[arg-type]
        made.terms = terms
        return made

    def result(self, absent: tuple[str, ...] = ()) -> Groups:
        present = tuple(site for site in self.terms.sites if site not in absent)
        groups, _ = self.converse(draw_groups(self.terms, present, roster_of(self.terms.sites), 2))
        return groups
