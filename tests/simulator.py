"""An in-memory network between the two sides of a protection, which can lose, reorder, repeat, replay and forge.

    job = Simulation.of("secagg", num_sites=5)
    job.set_up()
    job.round(1)                       # asks every site for `job.values(number, site)`
    job.opened["site-2"][1]            # what a site took from round 1's total

`Simulation.shown` and `.heard` are hooks: what a site is shown in place of a question, what the server hears in place
of an answer. A lying server is a hook, or a test that asks sites by hand with `ask`.
"""

import copy
import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from threading import RLock
from typing import TypeVar
from unittest import mock

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from almoner.errors import FederationError, ProtocolError
from almoner.protection.hidden import Hidden
from almoner.protection.scheme import (
    Answers,
    Conversation,
    IntVector,
    Question,
    RoundTotal,
    ServerProtection,
    SiteProtection,
    Task,
)
from almoner.protection.set_up import JobTerms
from almoner.schema.consortium import Roster, RosterEntry
from almoner.secagg.server import SecaggServer
from almoner.secagg.site import OutsideTheRing, SecaggSite

T = TypeVar("T")
DIMENSION = 7
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


@lru_cache(maxsize=64)
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Return the certificate key of somebody; drawing one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_pem(name: str) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return rsa_key(name).private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@lru_cache(maxsize=64)
def certificate(name: str) -> x509.Certificate:
    """Return a certificate that the root issued."""

    def subject(common_name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])

    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder(subject("root"), subject(name), rsa_key(name).public_key(), serial)
    builder = builder.not_valid_before(START).not_valid_after(START + datetime.timedelta(days=36500))
    return builder.sign(rsa_key("root"), hashes.SHA256())


def pem(name: str) -> bytes:
    return certificate(name).public_bytes(serialization.Encoding.PEM)


@lru_cache(maxsize=16)
def roster_of(sites: tuple[str, ...]) -> Roster:
    entries = tuple(
        RosterEntry(
            site=site,
            certificate_sha256=certificate(site).fingerprint(hashes.SHA256()).hex(),
            certificate_pem=pem(site).decode(),
            nominal_records={"data": 100},
        )
        for site in sites
    )
    return Roster(schema_version=1, consortium="small", sites=entries)


def terms_of(
    scheme: str,
    sites: tuple[str, ...],
    dimension: int = DIMENSION,
    colluding: int = 1,
    min_sites: int = 3,
    limit: int = 32_767,
) -> JobTerms:
    return JobTerms(
        envelope_digest="ab" * 32,
        job_id="6a1b1111-0000-4000-8000-000000000000",
        scheme=scheme,
        sites=sites,
        declared=(100,) * len(sites),
        num_colluding_sites=colluding,
        min_sites=min_sites,
        dimension=dimension,
        limit=limit,
        step=2.0**-10,
        nonce="0123456789abcdef" * 2,
    )


def names_of(num_sites: int) -> tuple[str, ...]:
    return tuple(f"site-{number}" for number in range(1, num_sites + 1))


def _sides(terms: JobTerms) -> tuple[ServerProtection, dict[str, SiteProtection]]:
    """Return the two sides of a scheme."""
    roster = roster_of(terms.sites)
    kits = {site: (terms, roster, pem("root"), site, key_pem(site)) for site in terms.sites}
    if terms.scheme == "secagg":
        return SecaggServer(terms, roster), {site: SecaggSite(*kit) for site, kit in kits.items()}
    if terms.scheme == "plain":
        from almoner.protection.plain import PlainServer, PlainSite

        return PlainServer(terms.dimension, terms.min_sites), {site: PlainSite(terms.dimension) for site in terms.sites}
    from almoner.encryption.bfv_server import BfvServer
    from almoner.encryption.bfv_site import BfvSite

    return BfvServer(terms, roster), {site: BfvSite(*kit) for site, kit in kits.items()}


Shown = Callable[[Question, str], Question | None]
Heard = Callable[[Question, str, bytes], bytes | None]


@dataclass
class Simulation:
    """One job between a server and its sites, all in this process.

    Args:
        server: its side of the protection.
        sites: each site's side.
        dimension: d.
        shown: what a site is shown in place of a question; None: nothing.
        heard: what the server hears in place of an answer; None: nothing.
        repeat: deliver every question twice, and demand the same answer.
        order: shuffles the order in which sites are asked; None keeps it.
        questions, errors, opened, totals: what happened.
    """

    server: ServerProtection
    sites: dict[str, SiteProtection]
    dimension: int
    shown: Shown = lambda question, site: question
    heard: Heard = lambda question, site, said: said
    repeat: bool = False
    order: random.Random | None = None
    questions: list[Question] = field(default_factory=list)
    answers: list[Answers] = field(default_factory=list)
    errors: dict[str, ProtocolError] = field(default_factory=dict)
    opened: dict[str, dict[int, IntVector]] = field(default_factory=dict)
    totals: dict[int, RoundTotal] = field(default_factory=dict)
    members: tuple[str, ...] = ()

    @classmethod
    def of(cls, scheme: str, num_sites: int = 5, **terms: int) -> "Simulation":
        """Return a job of honest parties."""
        names = names_of(num_sites)
        server, sites = _sides(terms_of(scheme, names, **terms))
        return cls(server, sites, terms.get("dimension", DIMENSION))

    def values(self, number: int, site: str) -> IntVector:
        """Return what a site contributes to a round."""
        seed = [number, list(self.sites).index(site)]
        return np.random.default_rng(seed).integers(-32_767, 32_768, self.dimension)

    def sum_of(self, number: int, sites: tuple[str, ...]) -> IntVector:
        return np.sum([self.values(number, site) for site in sites], axis=0)

    def set_up(self) -> tuple[str, ...]:
        self.members = self.converse(self.server.set_up(tuple(self.sites)))
        return self.members

    def round(self, number: int) -> RoundTotal:
        """Run a round, and have every site that can open its total."""
        total = self.converse(self.server.round(number, self.members))
        self.totals[number] = total
        self.members = self._going_on(number)
        return total

    def _going_on(self, number: int) -> tuple[str, ...]:
        """Return who can go on: who acknowledged, or contributed where nothing is acknowledged."""
        asked = zip(self.questions, self.answers, strict=True)
        by_task = {question.task: tuple(answers) for question, answers in asked if question.number == number}
        return by_task.get("acknowledge", by_task["train"])

    def open_all(self, number: int) -> dict[str, IntVector]:
        """Have every member open a round's total; return what they found."""
        total = self.totals[number]
        for site in self.members:
            self._attempt(site, lambda site=site: self._open(site, number, total))
        return {site: sums[number] for site, sums in self.opened.items() if number in sums}

    def converse(self, conversation: Conversation[T]) -> T:
        """Carry the questions of a server's generator to the sites, and the answers back."""
        try:
            question = next(conversation)
            while True:
                question = conversation.send(self.carry(question))
        except StopIteration as end:
            return end.value

    def carry(self, question: Question) -> Answers:
        """Ask all sites of a question; return the answers of the right length, in roster order."""
        self.questions.append(question)
        asked = list(question.sites)
        if self.order is not None:
            self.order.shuffle(asked)
        found = {site: self._exchange(question, site) for site in asked}
        answers = {site: said for site in question.sites if (said := found[site]) is not None}
        self.answers.append(answers)
        if len(answers) < question.min_answers:
            raise FederationError(f"{question.task}: {len(answers)} of {question.min_answers} sites answered")
        return answers

    def _exchange(self, question: Question, site: str) -> bytes | None:
        """Show a question to a site, and let the server hear the answer."""
        shown = self.shown(question, site)
        if shown is None:
            return None
        said = self._attempt(site, lambda: self.ask(site, shown))
        if said is not None and self.repeat and self.ask(site, shown) != said:
            raise AssertionError(f"{site} answered the same {question.task} in two ways")
        heard = None if said is None else self.heard(question, site, said)
        return heard if heard is not None and len(heard) == question.answer_bytes[site] else None

    def ask(self, site: str, question: Question) -> bytes:
        """Ask one site, as the site's driver does."""
        protection = self.sites[site]
        if question.task != "train":
            return protection.answer(question.task, question.number, question.contributors, question.body)
        last = self.totals.get(question.number - 1)
        if last is not None and question.number - 1 not in self.opened.get(site, {}):
            self._open(site, question.number - 1, last)
        protection.begin(question.number, question.contributors, question.body)
        return protection.protect(question.number, self.values(question.number, site))

    def _open(self, site: str, number: int, total: RoundTotal) -> None:
        """Open a total at a site."""
        self.opened.setdefault(site, {})[number] = self.sites[site].open(number, total.contributors, total.body)

    def _attempt(self, site: str, act: Callable[[], bytes | None]) -> bytes | None:
        """Do something at a site, and keep the error that it raises."""
        try:
            return act()
        except OutsideTheRing:
            return None
        except ProtocolError as error:
            self.errors.setdefault(site, error)
            return None


def snapshot(thing: T) -> T:
    """Copy a site, or a whole job, with all secrets, as a snapshot of a machine does; their classes refuse that."""
    locks = mock.patch.dict(copy._deepcopy_dispatch, {type(RLock()): lambda lock, memo: RLock()})  # type: ignore[attr-defined]
    with mock.patch.object(Hidden, "__reduce_ex__", object.__reduce_ex__), locks:
        return copy.deepcopy(thing)


@lru_cache(maxsize=8)
def _set_up(num_sites: int, terms: tuple[tuple[str, int], ...]) -> Simulation:
    job = Simulation.of("secagg", num_sites, **dict(terms))
    job.set_up()
    return job


def running(num_sites: int = 5, **terms: int) -> Simulation:
    """Return a copy of a job of secret sharing whose sites have agreed on keys, before its first round."""
    return snapshot(_set_up(num_sites, tuple(sorted(terms.items()))))


def losing(*lost: tuple[int, Task, str]) -> Shown:
    """Return a hook that loses questions: (round, task, site)."""
    return lambda question, site: None if (question.number, question.task, site) in lost else question


def altered(question: Question, **changes: object) -> Question:
    """Return a question with other fields."""
    return replace(question, **changes)  # type: ignore[arg-type]
