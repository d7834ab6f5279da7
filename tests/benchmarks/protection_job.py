"""A job's protection without a federation: sites and server in this process, each call measured, no network.

The certificates are made here, as FLARE makes them. What a site does in a round is split by call: `quantise` (floats
to the grid), `begin`, `protect`, `acknowledge`, `reveal` (with the keys of the next round in it), `open` (check and
unpack the sum). The server's part is all of its side of the conversation.
"""

import datetime
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, cast

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from tests.benchmarks.one_core import timed
from tests.benchmarks.protected_models import Update

from almoner.encryption.bfv_server import BfvServer
from almoner.encryption.bfv_site import BfvSite
from almoner.protection.scheme import VALUE_BOUND, Conversation, IntVector, Question, ServerProtection, SiteProtection
from almoner.protection.set_up import JobTerms
from almoner.schema.consortium import Roster, RosterEntry
from almoner.secagg.quantise import quantise
from almoner.secagg.server import SecaggServer
from almoner.secagg.site import SecaggSite
from almoner.training.grid import UpdateGrid

Scheme = Literal["he", "secagg"]
Measure = Callable[[Callable[[], Any]], tuple[Any, float]]

STEP = 2.0**-17
"""Updates have a standard deviation of 0.05: five of them to the end of the grid, at ±0.25."""


@cache
def _key(name: str) -> rsa.RSAPrivateKey:
    """Draw somebody's key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _certificate(name: str) -> x509.Certificate:
    """Issue somebody's certificate; the root's signs all."""
    subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, "root"))
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, _key(name).public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=36500))
    return builder.sign(_key("root"), hashes.SHA256())


def _pem(name: str) -> bytes:
    """Return somebody's certificate."""
    return _certificate(name).public_bytes(serialization.Encoding.PEM)


def _key_pem(name: str) -> bytes:
    """Return somebody's private key."""
    form = serialization.PrivateFormat.PKCS8
    return _key(name).private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _roster(sites: tuple[str, ...]) -> Roster:
    """Return the list of the sites' certificates."""
    entries = tuple(
        RosterEntry(
            site=site,
            certificate_sha256=_certificate(site).fingerprint(hashes.SHA256()).hex(),
            certificate_pem=_pem(site).decode(),
            nominal_records={"some-data": 100},
        )
        for site in sites
    )
    return Roster(schema_version=1, consortium="bench", sites=entries)


@dataclass
class Costs:
    """What a round or the set-up cost, in what `measure` measures.

    Args:
        server: of each step of the server's side.
        sites: of each call, one entry a site.
    """

    server: list[float] = field(default_factory=list)
    sites: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


class ProtectedJob:
    """One job's sites and server, their keys agreed on.

    Args:
        scheme: what protects it.
        num_sites: n.
        dimension: d.
        measure: runs a call and returns its result and what it cost; by default processor seconds.
    """

    def __init__(self, scheme: Scheme, num_sites: int, dimension: int, measure: Measure = timed) -> None:
        self.names = tuple(f"site-{number:02d}" for number in range(1, num_sites + 1))
        self._measure, self._to_grid = measure, to_grid if scheme == "he" else to_grid_at_random
        terms = JobTerms(
            envelope_digest="ab" * 32,
            job_id="6a1b1111-0000-4000-8000-000000000000",
            scheme=scheme,
            sites=self.names,
            declared=(100,) * num_sites,
            num_colluding_sites=1,
            min_sites=3,
            dimension=dimension,
            limit=VALUE_BOUND,
            step=STEP,
            nonce="0123456789abcdef" * 2,
        )
        server, site = {"he": (BfvServer, BfvSite), "secagg": (SecaggServer, SecaggSite)}[scheme]
        roster = _roster(self.names)
        self.server: ServerProtection = server(terms, roster)
        self.sites: dict[str, SiteProtection] = {
            name: site(terms, roster, _pem("root"), name, _key_pem(name)) for name in self.names
        }
        self.number = 0
        self.message_bytes = 0
        self.set_up_costs = Costs()
        self._talk(self.server.set_up(self.names), self._answer, self.set_up_costs)

    def round(self, updates: Mapping[str, Update], silent: tuple[str, ...] = ()) -> Costs:
        """Run one round and check its sum.

        Args:
            updates: of every site.
            silent: sites whose message does not arrive; they answer what comes after.

        Raises:
            RuntimeError: the sum is not that of the others' values.
        """
        self.number += 1
        costs = Costs()
        expected = np.zeros(next(iter(updates.values())).size, dtype=np.int64)

        def answer(question: Question, site: str, costs: Costs) -> bytes | None:
            if question.task != "train":
                return self._answer(question, site, costs)
            if site in silent:
                self._train(question, site, updates[site], Costs())
                return None
            message, values = self._train(question, site, updates[site], costs)
            self.message_bytes = len(message)
            np.add(expected, np.clip(values, -VALUE_BOUND, VALUE_BOUND), out=expected)
            return message

        total = self._talk(self.server.round(self.number, self.names), answer, costs)
        for name, site in self.sites.items():
            opened, cost = self._measure(lambda site=site: site.open(self.number, total.contributors, total.body))
            costs.sites["open"].append(cost)
            if not np.array_equal(opened, expected):
                raise RuntimeError(f"round {self.number}: {name} opened another sum")
        return costs

    def _train(self, question: Question, site: str, update: Update, costs: Costs) -> tuple[bytes, IntVector]:
        """Have a site begin the round and protect its update; return the message and the values in it."""
        own = self.sites[site]
        values, costs_quantise = self._measure(lambda: self._to_grid(update))
        _, costs_begin = self._measure(lambda: own.begin(question.number, question.contributors, question.body))
        message, costs_protect = self._measure(lambda: own.protect(question.number, values))
        for call, cost in (("quantise", costs_quantise), ("begin", costs_begin), ("protect", costs_protect)):
            costs.sites[call].append(cost)
        return message, values

    def _answer(self, question: Question, site: str, costs: Costs) -> bytes:
        """Have a site answer any other question."""
        asked = question.task, question.number, question.contributors, question.body
        said, cost = self._measure(lambda: self.sites[site].answer(*asked))
        costs.sites[question.task].append(cost)
        return said

    def _talk(
        self, conversation: Conversation[Any], answer: Callable[[Question, str, Costs], bytes | None], costs: Costs
    ) -> Any:
        """Carry a conversation of the server out; return its result."""
        answers: dict[str, bytes] | None = None
        while True:
            (question, result), cost = self._measure(lambda answers=answers: _next(conversation, answers))
            costs.server.append(cost)
            if question is None:
                return result
            said = {site: answer(question, site, costs) for site in question.sites}
            answers = {site: message for site, message in said.items() if message is not None}


def _next(conversation: Conversation[Any], answers: dict[str, bytes] | None) -> tuple[Question | None, Any]:
    """Return the server's next question, or None and its result."""
    try:
        return (next(conversation) if answers is None else conversation.send(answers)), None
    except StopIteration as end:
        return None, end.value


def to_grid(update: Update) -> IntVector:
    """Return an update's nearest grid points, as the trainer rounds."""
    return UpdateGrid(STEP).to_integers(update)


def to_grid_at_random(update: Update) -> IntVector:
    """Return grid points next to an update's, right on average, as Flower rounds: int32, as secagg takes it too."""
    return cast(IntVector, quantise(update, STEP, VALUE_BOUND))
