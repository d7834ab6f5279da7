"""Who takes part in a consortium, and the public roster that every kit carries."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from almoner.schema.base import Digest, Document, HostName, Model, Name, UserName, org_code
from almoner.schema.confidential import ConfidentialComputing

ROLES = ("project_admin", "org_admin", "lead", "member")
"""FLARE's own roles; a consortium may add others under `roles`."""

Right = Literal["submit_job", "manage_job", "download_job", "view"]


class ServerEntry(Model):
    """The FLARE server."""

    host: HostName
    org: Name


class UserEntry(Model):
    """A person with an admin startup kit."""

    name: UserName
    org: Name
    role: Name


class StudyEntry(Model):
    """A FLARE study: which sites take part and who may log in to it."""

    sites: Literal["all"] | tuple[Name, ...]
    admins: tuple[UserName, ...]


class Consortium(Document):
    """`provisioning/consortium.yaml`, or another `<name>.yaml` there. A site's organisation has the site's name."""

    name: Name
    server: ServerEntry
    sites: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)]
    users: Annotated[tuple[UserEntry, ...], Field(min_length=1)]
    roles: Annotated[dict[Name, tuple[Right, ...]], Field(default_factory=dict)]
    studies: dict[Name, StudyEntry]
    confidential_computing: ConfidentialComputing | None = None

    @model_validator(mode="after")
    def _names_agree(self) -> "Consortium":
        orgs = {*self.sites, self.server.org}
        for group, names in (("sites", self.sites), ("users", tuple(user.name for user in self.users))):
            if len(set(names)) != len(names):
                raise ValueError(f"{group}: a name occurs twice")
        if len({org_code(org) for org in orgs}) != len(orgs):
            raise ValueError("sites: two organisations differ in '-' and '_' alone")
        if {"server", "super"} & set(self.sites):
            raise ValueError("sites: 'server' and 'super' are names that FLARE keeps for itself")
        if set(self.roles) & {"super", "client", "server", *ROLES}:
            raise ValueError("roles: FLARE's own roles cannot be redefined")
        for user in self.users:
            if user.org not in orgs:
                raise ValueError(f"users: {user.name} is of org {user.org}, which has no site or server")
            if user.role not in (*ROLES, *self.roles):
                raise ValueError(f"users: {user.name} has role {user.role}, which is not defined under roles")
        return self

    @model_validator(mode="after")
    def _flare_takes_the_names(self) -> "Consortium":
        if self.server.host in self.sites:
            raise ValueError(f"server: host {self.server.host} is also the name of a site")
        if hyphened := sorted(role for role in self.roles if "-" in role):
            raise ValueError(f"roles: {hyphened[0]} has a '-', which FLARE does not take")
        for study in self.studies:
            if study == "default" or not study[-1].isalnum():
                raise ValueError(f"studies: {study} is a name that FLARE does not take")
        return self

    @model_validator(mode="after")
    def _studies_name_who_takes_part(self) -> "Consortium":
        known = {user.name for user in self.users}
        for name, study in self.studies.items():
            if study.sites != "all" and (unknown := set(study.sites) - set(self.sites)):
                raise ValueError(f"studies: {name} names unknown sites {sorted(unknown)}")
            if unknown := set(study.admins) - known:
                raise ValueError(f"studies: {name} names unknown users {sorted(unknown)}")
        return self

    def sites_of_study(self, study: str) -> tuple[str, ...]:
        """Return the sites of a study in roster order; unknown studies have none."""
        entry = self.studies.get(study)
        if entry is None:
            return ()
        return self.sites if entry.sites == "all" else tuple(s for s in self.sites if s in entry.sites)


class RosterEntry(Model):
    """What is public about a site: its certificate and the declared sizes of its data sets."""

    site: Name
    certificate_sha256: Digest
    certificate_pem: str
    nominal_records: dict[Name, Annotated[int, Field(ge=1)]]


class Roster(Document):
    """The signed list of sites in every kit, in the order of the consortium's declaration.

    Args:
        keys: who made the sites' keys. `central`: the operator, who can act as every site; the claim is
            "semi-honest server". `site`: each site its own, and each kit has its site's approval of this roster.
        studies: the sites of each study, in roster order.
    """

    consortium: Name
    keys: Literal["central", "site"] = "central"
    sites: tuple[RosterEntry, ...]
    studies: Annotated[dict[Name, tuple[Name, ...]], Field(default_factory=dict)]

    def entry(self, site: str) -> RosterEntry | None:
        """Return a site's entry, or None."""
        return next((entry for entry in self.sites if entry.site == site), None)

    def nominal_records(self, dataset: str) -> dict[str, int]:
        """Return the declared size of a data set at each site that has it, in roster order."""
        return {entry.site: entry.nominal_records[dataset] for entry in self.sites if dataset in entry.nominal_records}
