"""A small consortium whose certificates look like FLARE's, and an honest network between its sites and a server."""

import datetime
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from almoner.errors import ProtocolError
from almoner.protection.agreement import Agreed, SiteAgreement, SiteKeys, agree_on_keys
from almoner.protection.meeting import AGREEMENT_BYTES, confirmation_bytes
from almoner.protection.scheme import Question
from almoner.protection.set_up import SET_UP_BYTES, JobTerms
from almoner.schema.consortium import Roster, RosterEntry

SITES = ("ada", "bob", "cyd", "dan", "eve")
DEALT = b"the job's secret, as HE deals it"
DEALT_BYTES = len(DEALT)
CONCLUDED = b"done"


@lru_cache(maxsize=32)
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Return the key of somebody; drawing one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_pem(name: str) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return rsa_key(name).private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def issue(subject: str, key: str, role: str = "", issuer: str = "root", issuer_key: str = "root") -> x509.Certificate:
    """Issue a certificate as FLARE's provisioner does: no BasicConstraints, a role for users alone."""

    def name(common: str, role: str = "") -> x509.Name:
        fields = ((NameOID.COMMON_NAME, common), (NameOID.UNSTRUCTURED_NAME, role))
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in fields if value])

    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(
        name(issuer), name(subject, role), rsa_key(key).public_key(), x509.random_serial_number()
    )
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=36500))
    return builder.sign(rsa_key(issuer_key), hashes.SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@lru_cache(maxsize=1)
def root_pem() -> bytes:
    return pem(issue("root", "root"))


@lru_cache(maxsize=8)
def entry(site: str) -> RosterEntry:
    return entry_of(site, issue(site, site))


def entry_of(site: str, certificate: x509.Certificate) -> RosterEntry:
    return RosterEntry(
        site=site,
        certificate_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        certificate_pem=pem(certificate).decode(),
        nominal_records={"cardiology": 100},
    )


def roster(*instead: RosterEntry) -> Roster:
    """Return the roster, with other entries for some sites."""
    other = {changed.site: changed for changed in instead}
    entries = tuple(other.get(site) or entry(site) for site in SITES)
    return Roster(schema_version=1, consortium="small", sites=entries)


TERMS = JobTerms(
    envelope_digest="ab" * 32,
    job_id="6a1b1111-0000-4000-8000-000000000000",
    scheme="secagg",
    sites=SITES,
    declared=(100, 90, 80, 70, 60),
    num_colluding_sites=1,
    min_sites=3,
    dimension=10,
    limit=32_767,
    step=2.0**-10,
    nonce="0123456789abcdef" * 2,
)
"""n = 5, c = 1, so t = 4."""


def agreement(site: str, terms: JobTerms = TERMS, dealt: bool = False, **changes: Any) -> SiteAgreement:
    fields: dict[str, Any] = {
        "roster": roster(),
        "root_certificate_pem": root_pem(),
        "private_key_pem": key_pem(site),
        "deal": (lambda: DEALT) if dealt else None,
        "dealt_bytes": DEALT_BYTES if dealt else 0,
    }
    return SiteAgreement(terms=terms, site=site, **{**fields, **changes})


Tamper = Callable[[Question, str], tuple[tuple[str, ...], bytes] | None]
"""What the network shows a site in place of a question; None: the site is not reached."""


def honest(question: Question, site: str) -> tuple[tuple[str, ...], bytes]:
    return question.contributors, question.body


@dataclass
class Network:
    """Sites that answer a server through a network which can change what each is shown, and what it says.

    The first error of each site is kept.

    Args:
        machines: the sites' agreements.
        show: what a site is shown.
        hear: what the server hears of an answer.
    """

    machines: dict[str, SiteAgreement]
    show: Tamper = honest
    hear: Callable[[Question, str, bytes], bytes] = lambda question, site, said: said
    agreed: dict[str, Agreed] = field(default_factory=dict)
    errors: dict[str, ProtocolError] = field(default_factory=dict)
    asked: list[Question] = field(default_factory=list)

    def tell(self, site: str, question: Question, contributors: tuple[str, ...], body: bytes) -> bytes:
        """Put one question to one site."""
        machine = self.machines[site]
        if question.task == "keys":
            return machine.keys()
        if question.task == "confirm":
            return machine.confirm(contributors, body)
        if question.task == "agree":
            return machine.agree(contributors, body)
        self.agreed[site] = machine.conclude(contributors, body)
        return CONCLUDED

    def ask(self, question: Question) -> dict[str, bytes]:
        """Put a question to all of its sites; return the answers of the right length."""
        self.asked.append(question)
        answers = {}
        for site in question.sites:
            shown = self.show(question, site)
            if shown is None:
                continue
            try:
                said = self.hear(question, site, self.tell(site, question, *shown))
            except ProtocolError as error:
                self.errors.setdefault(site, error)
                continue
            if len(said) == question.answer_bytes[site]:
                answers[site] = said
        return answers

    def run(self, conversation: Generator[Question, dict[str, bytes], SiteKeys] | None = None) -> SiteKeys:
        """Carry a conversation out, by default the honest server's."""
        talk = conversation or agree_on_keys(TERMS, tuple(self.machines), roster(), self.dealt_bytes, len(CONCLUDED))
        try:
            question = next(talk)
            while True:
                question = talk.send(self.ask(question))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    @property
    def dealt_bytes(self) -> int:
        return next(iter(self.machines.values()))._dealt_bytes


def careless_server(sites: tuple[str, ...] = SITES, dealt_bytes: int = 0) -> Generator[Question, Any, SiteKeys]:
    """Relay whatever sites say, as a server does that is in league with one of them."""
    asked, shown = sites, dict[str, bytes]()
    parts: dict[str, bytes] = {}
    for task in ("keys", "confirm", "agree", "conclude"):
        asked = sites if task == "keys" else tuple(parts)
        lengths = dict.fromkeys(asked, {"keys": SET_UP_BYTES, "agree": AGREEMENT_BYTES}.get(task, len(CONCLUDED)))
        if task == "confirm":
            lengths = {site: confirmation_bytes(TERMS, dealt_bytes, site == asked[0]) for site in asked}
        parts = yield Question(task, 0, tuple(parts), b"".join(parts.values()), asked, 0, lengths)
        shown = shown or parts
    return SiteKeys(tuple(parts), asked, shown, parts)


def network(sites: tuple[str, ...] = SITES, dealt: bool = False, **changes: Any) -> Network:
    return Network({site: agreement(site, dealt=dealt) for site in sites}, **changes)
