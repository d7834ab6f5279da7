"""What a data scientist asks for when sites are to find the records that they have in common: the PsiSpec."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from almoner.schema.base import Document, Epsilon, Model, Name, NeighboringRelation, PlainText, TrustModel
from almoner.schema.job import MIN_TARGET_DELTA

MAX_IDENTIFIERS = 200_000
"""A list of as many takes about 20 s of one processor for each step of the protocol, and 7 MB a message."""

MAX_SITES = 8
"""Each site but the leader costs the leader a run of its own."""

PartKind = Literal["text", "date"]


class IdentifierPart(Model):
    """One part of what identifies a record, the same at every site.

    Args:
        field: its name; each site's configuration says which column of its file it is (`identifiers`).
        kind: how it is normalised; see `almoner.psi.normalise`.
    """

    field: Name
    kind: PartKind


class SizeRelease(Model):
    """How many identifiers all sites have in common, as the leader counts them: once, with integer Laplace noise.

    Args:
        epsilon: charged to the account of every site of the job, since each one's records are in the number.
    """

    kind: Literal["size"]
    epsilon: Epsilon


class PsiSpec(Document):
    """One alignment: each site learns which of its own records all others have too, and keeps that.

    What the sites tell each other in this way is no noised release; no ε covers it. Hence the cap, the list of
    sites and the data officer's approval.

    Args:
        sites: all of them take part, or nothing happens.
        leader: the site that compares. Of three or more sites it learns more than the others: which of its records
            each of them has.
        unit: what one identifier stands for.
        identifier: the parts; two records are one if all parts are equal once normalised.
        max_identifiers: every list is filled up with random entries to so many; what is over is left out.
        releases: how many they have in common, or nothing.
    """

    kind: Literal["psi"]
    name: Name
    study: Name
    purpose: PlainText
    dataset: Name
    sites: Annotated[tuple[Name, ...], Field(min_length=2, max_length=MAX_SITES)]
    leader: Name
    unit: Name
    neighboring_relation: NeighboringRelation
    identifier: Annotated[tuple[IdentifierPart, ...], Field(min_length=1, max_length=8)]
    max_identifiers: Annotated[int, Field(ge=1, le=MAX_IDENTIFIERS)]
    releases: Annotated[tuple[SizeRelease, ...], Field(max_length=1)]

    @model_validator(mode="after")
    def _names_are_sound(self) -> "PsiSpec":
        if len(set(self.sites)) != len(self.sites):
            raise ValueError("sites: a site is named twice")
        if self.leader not in self.sites:
            raise ValueError(f"leader: {self.leader} is not in sites")
        if len({part.field for part in self.identifier}) != len(self.identifier):
            raise ValueError("identifier: a field is named twice")
        return self

    @property
    def privacy_unit(self) -> str:
        """What one neighbour is."""
        return self.unit

    @property
    def target_delta(self) -> float:
        """δ at which the job's ε is stated: integer Laplace noise needs none, so the least that is accounted."""
        return MIN_TARGET_DELTA

    @property
    def min_sites(self) -> int:
        """All sites: without one of them, the others would learn of records that it does not have."""
        return len(self.sites)

    @property
    def num_colluding_sites(self) -> int:
        """Whoever helps the server can tell it no more than he was shown himself: all but one."""
        return len(self.sites) - 1

    def trust_model(self, keys_at_site: bool = False) -> TrustModel:
        """Return what the job asks its sites to believe about the server: it carries sealed boxes alone.

        Args:
            keys_at_site: whether every site made its own key, as its roster says.
        """
        return "active_server" if keys_at_site else "semi_honest_server"
