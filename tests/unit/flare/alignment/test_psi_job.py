"""Whole alignments with real sites, filters and ledgers around the server's PsiRun; no FLARE."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flare_cases import Pki, server_heads, write_roots
from nvflare.lighter.utils import Identity, generate_cert, generate_keys, serialize_cert, serialize_pri_key

from almoner.data.patient_lists import SITE_FILE
from almoner.errors import AlmonerError, DataError, FederationError, PolicyViolation, ProtocolError
from almoner.flare.alignment import job as psi_job
from almoner.flare.alignment.context import SIZE_BYTES, PsiContext, load_psi, unpack_size
from almoner.flare.alignment.files import alignment_path, read_identifiers
from almoner.flare.alignment.job import PsiJob, noised_size
from almoner.flare.alignment.run import PsiRun
from almoner.flare.components.filters import check_budget, expected_body_bytes, let_out, put_on_protection
from almoner.flare.door.render import render_app
from almoner.flare.job.answers import IsGood
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import REFUSAL, Reply, ReplyKind, TaskHeader, attached_bytes
from almoner.flare.site.site_files import LEDGER, SiteFiles
from almoner.flare.site.tree import tree_digest
from almoner.privacy.ledger import Ledger, Reservation
from almoner.privacy.plans import plan_of
from almoner.protection.set_up import SET_UP_BYTES
from almoner.provision.roster import render_roster
from almoner.psi import site as psi_site
from almoner.psi.padding import PaddedList, SiteList
from almoner.release.laplace_law import quantile
from almoner.schema.declarations import load_declarations
from almoner.schema.documents import load_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.psi import PsiSpec

ROOT = Path(__file__).resolve().parents[4]
DECLARATIONS = load_declarations(ROOT, "alignment")
NORTH, SOUTH = SITES = DECLARATIONS.consortium.sites
SPEC = load_document(ROOT / "jobs" / "patient_alignment.yaml", PsiSpec).model_copy(update={"max_identifiers": 20})
SILENT = SPEC.model_copy(update={"releases": ()})
JOB_ID = "00000000-0000-4000-8000-000000000009"
LISTS = {
    NORTH: "record,insurance_no,born\n1,A-1,01.02.1950\n2,É-2,03.02.1950\n3,B-3,05.05.1951\n",
    SOUTH: "record,kennung,birthday\n1,e\u0301 ２,2/3/1950\n2,a 1,1950-02-01\n3,b 3,6/5/1951\n4,x,1/1/1950\n",
}
COMMON = {NORTH: [1, 2], SOUTH: [1, 2]}


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("hospitals")
    root_key, root_public = generate_keys()
    root = Identity("root")
    (folder / "root.pem").write_bytes(serialize_cert(generate_cert(root, root, root_key, root_public, ca=True)))
    people = {"server": Identity("localhost"), **{site: Identity(site, site.replace("-", "_")) for site in SITES}}
    for name, identity in people.items():
        key, public = generate_keys()
        (folder / f"{name}.crt").write_bytes(serialize_cert(generate_cert(identity, root, root_key, public)))
        (folder / f"{name}.key").write_bytes(serialize_pri_key(key))
    pems = {site: (folder / f"{site}.crt").read_text() for site in SITES}
    return Pki(folder, folder / "root.pem", render_roster(DECLARATIONS, pems))


def make_site(folder: Path, pki: Pki, site: str, spec: PsiSpec, text: str) -> PsiContext:
    """Return a site's context of an admitted, started alignment, with a ledger and a list of its own."""
    kit = folder / "kit"
    (kit / "startup").mkdir(parents=True)
    (kit / "startup" / "client.key").write_bytes(pki.key(site).read_bytes())
    write_roots(kit, pki)
    (folder / SITE_FILE).parent.mkdir()
    (folder / SITE_FILE).write_text(text)
    files = SiteFiles(kit, folder, DECLARATIONS.policies[site], DECLARATIONS.sites[site], pki.roster)
    envelope = JobEnvelope(
        schema_version=1,
        spec=spec,
        sites=SITES,
        nonce="0123456789abcdef" * 2,
        issued_unix_seconds=1_899_900_000,
        expires_unix_seconds=1_900_000_000,
        almoner_version="0.1.0",
        workload_package="",
    )
    context = load_psi(JOB_ID, files, envelope, plan_of(spec, 2))
    tree = tree_digest(render_app(envelope))
    (folder / LEDGER).parent.mkdir(mode=0o700)
    with Ledger.create(folder / LEDGER, site) as ledger:
        account = files.policy.accounts[0]
        ledger.open_account(account)
        unit, relation = spec.unit, spec.neighboring_relation
        steps, population = context.plan.steps, account.population
        ledger.reserve(
            Reservation(JOB_ID, envelope.nonce, context.envelope_digest, tree, population, unit, relation, steps)
        )
        ledger.start(JOB_ID, tree)
    return context


Show = Callable[[str, TaskHeader, bytes], bytes]


@dataclass
class Hospitals:
    """Both sites behind a server that may show them something else than it was told.

    Args:
        said: what left each site, by task and site.
        errors: what each site logged in place of an answer.
    """

    contexts: dict[str, PsiContext]
    show: Show = lambda site, header, body: body
    twice: bool = False
    said: dict[tuple[str, str], bytes] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.jobs = {site: PsiJob(context) for site, context in self.contexts.items()}

    def ask(
        self, header: TaskHeader, body: bytes, sites: tuple[str, ...], need: int, enough: int, is_good: IsGood
    ) -> dict[str, Reply]:
        replies = {site: self.reply(site, header, body) for site in sites}
        if self.twice and header.kind.startswith("psi-"):
            again = {site: self.reply(site, header, body) for site in sites}
            cut = sum(attached_bytes(ReplyKind.PSI_SIZE)) if header.kind == "psi-size" else 0
            assert [reply.body[: len(reply.body) - cut] for reply in replies.values()] == [
                reply.body[: len(reply.body) - cut] for reply in again.values()
            ]
        return replies

    def reply(self, site: str, header: TaskHeader, body: bytes) -> Reply:
        try:
            sealed: Sealed = self.jobs[site].answer(header, self.show(site, header, body))
            for step in (check_budget, put_on_protection, let_out):
                sealed = step(sealed, self.contexts[site])
        except AlmonerError as error:
            self.errors[site] = str(error)
            return REFUSAL
        assert isinstance(sealed.body, bytes)
        self.said[header.kind, site] = sealed.body
        return Reply(kind=sealed.kind, round=sealed.round, body=sealed.body)

    def kept(self, site: str) -> dict[str, Any]:
        """Return a site's result."""
        return json.loads(alignment_path(self.contexts[site].site.folder, JOB_ID).read_bytes())

    def committed(self, site: str) -> bool:
        with self.contexts[site].site.ledger() as ledger:
            return ledger.committed(JOB_ID, "size")


Run = Callable[..., tuple[PsiRun, Hospitals]]


@pytest.fixture
def run(tmp_path: Path, hospitals: Pki) -> Run:
    def make(spec: PsiSpec = SPEC, lists: dict[str, str] = LISTS, name: str = "job", **hooks: Any) -> Any:
        contexts = {site: make_site(tmp_path / name / site, hospitals, site, spec, lists[site]) for site in SITES}
        both = Hospitals(contexts, **hooks)
        heads = server_heads(tmp_path / name / "server", hospitals, JOB_ID)
        return PsiRun(contexts[NORTH].envelope, JOB_ID, both.ask, lambda progress: None, heads), both

    return make


@pytest.mark.parametrize("twice", [False, True], ids=["once", "every task twice"])
def test_each_site_keeps_what_both_have(run: Run, twice: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    job, both = run(twice=twice)
    result = job.run(SITES)
    assert {site: both.kept(site)["records_in_common"] for site in SITES} == COMMON
    assert both.kept(SOUTH)["identifiers_in_common"] == 2
    assert (both.kept(SOUTH)["records"], both.kept(SOUTH)["records_without_identifier"]) == (4, 0)
    assert all(both.committed(site) for site in SITES)
    assert result.alignment is not None
    assert result.alignment.noisy_size == unpack_size(both.said["psi-size", NORTH][:SIZE_BYTES])
    assert result.alignment.sentence().startswith("aligned north-hospital, south-hospital; each keeps its own")
    assert both.said["psi-size", SOUTH][:SIZE_BYTES] == bytes(SIZE_BYTES)
    assert both.errors == {}
    assert not any(word in caplog.text.casefold() for word in ("kennung", "born", "1950", "é", "in_common"))
    assert {record.name for record in caplog.records} <= {
        "almoner.flare.phases.job_run",
        "almoner.flare.evidence.head_exchange",
    }


@pytest.mark.threat("T-64")
def test_a_result_is_for_the_sites_own_user_alone(run: Run) -> None:
    job, both = run()
    job.run(SITES)
    for context in both.contexts.values():
        path = alignment_path(context.site.folder, JOB_ID)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_without_a_release_nothing_is_charged_and_no_number_leaves(run: Run) -> None:
    job, both = run(SILENT)
    made = job.run(SITES).alignment
    assert made is not None
    assert made.sentence().endswith("; no number was released")
    assert {site: both.kept(site)["records_in_common"] for site in SITES} == COMMON
    assert not any(task == "psi-size" for task, _ in both.said)
    for site in SITES:
        with both.contexts[site].site.ledger() as ledger:
            assert ledger.account(f"{site}-patients").rdp_spent == 0
        with pytest.raises(ProtocolError, match="none in the job"):
            both.jobs[site].answer(TaskHeader(kind="psi-size", round=0, contributors=(), ring=(), consents={}), b"")


@pytest.mark.threat("T-60")
def test_all_that_leaves_has_the_length_of_the_cap(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the padding broken, the egress filter stops the list; with that out too, its length tells its size."""
    few = {**LISTS, SOUTH: LISTS[SOUTH].split("\n")[0] + "\n"}
    lengths = []
    for name, lists in (("many", LISTS), ("few", few)):
        job, both = run(lists=lists, name=name)
        job.run(SITES)
        lengths.append({key: len(body) for key, body in both.said.items() if key[0].startswith("psi-")})
    assert lengths[0] == lengths[1]

    def not_filled_up(own: SiteList, cap: int, salt: bytes, name: str) -> PaddedList:
        return PaddedList(tuple(value.hex() for value in own.rows), tuple(own.rows))

    monkeypatch.setattr(psi_site, "pad", not_filled_up)
    job, both = run(name="unpadded")
    with pytest.raises(FederationError) as caught:
        job.run(SITES)
    assert not any(task == "psi-blind" for task, _ in both.said)
    assert "psi-blind: 0 of at least 2" in str(caught.value)
    assert both.errors == dict.fromkeys(SITES, "PSI_LIST of an unexpected length")
    monkeypatch.setattr(f"{__name__}.let_out", unchecked)
    job, both = run(name="unpadded and unchecked")
    with pytest.raises(FederationError):
        job.run(SITES)
    assert {site: (len(both.said["psi-blind", site]) - 16) // 33 for site in SITES} == {NORTH: 3, SOUTH: 4}


def unchecked(sealed: Sealed, context: PsiContext) -> Sealed:
    """Let a result out as it is."""
    return Sealed(sealed.kind, sealed.round, "", bytes(sealed.body) + sealed.head)  # type: ignore[arg-type]


def replaced(task: str, change: Callable[[bytes], bytes], at: str = SOUTH) -> Show:
    return lambda site, header, body: change(body) if (header.kind, site) == (task, at) else body


@pytest.mark.threat("T-61")
def test_with_wrong_keys_nothing_is_charged_and_no_list_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[PsiContext] = []
    monkeypatch.setattr(psi_job, "read_identifiers", lambda context: read.append(context) or [])

    def swap_last(body: bytes) -> bytes:
        return body[: SET_UP_BYTES - 1] + bytes([body[SET_UP_BYTES - 1] ^ 1]) + body[SET_UP_BYTES:]

    job, both = run(show=replaced("psi-blind", swap_last))
    with pytest.raises(FederationError, match="psi-blind: 1 of at least 2 sites answered; the job ends here"):
        job.run(SITES)
    assert both.errors == {SOUTH: f"set-up of {NORTH}: not signed with its certificate's key"}
    assert [context.site.policy.site for context in read] == [NORTH]
    assert not both.committed(SOUTH)


@pytest.mark.threat("T-61")
@pytest.mark.parametrize(("task", "at"), [("psi-exchange", SOUTH), ("psi-compare", NORTH), ("psi-learn", SOUTH)])
def test_a_changed_box_ends_the_job_without_a_result(run: Run, task: str, at: str) -> None:
    job, both = run(show=replaced(task, lambda body: body[:-1] + bytes([body[-1] ^ 1]), at))
    if task == "psi-exchange":  # the last box there is for the leader
        both.show = replaced(task, lambda body: bytes([body[0] ^ 1]) + body[1:], at)
    with pytest.raises(FederationError):
        job.run(SITES)
    assert both.errors[at].endswith("it does not open")
    assert not alignment_path(both.contexts[at].site.folder, JOB_ID).exists()


def test_the_list_is_read_after_the_charge_is_durable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def reading(context: PsiContext) -> list[bytes | None]:
        with context.site.ledger() as ledger:
            seen.append(ledger.committed(JOB_ID, "size"))
        return read_identifiers(context)

    monkeypatch.setattr(psi_job, "read_identifiers", reading)
    job, _ = run()
    job.run(SITES)
    assert seen == [True, True]


def test_a_site_that_is_not_there_ends_the_job(run: Run) -> None:
    job, both = run()
    with pytest.raises(FederationError, match="setup: 0 of at least 2 sites answered"):
        job.run((NORTH,))
    assert both.said == {}


def test_lines_that_are_no_records_are_no_errors(run: Run) -> None:
    odd = "record,kennung,birthday\n1,a 1\n2,a,b,c\n\n4,\ud800,2/3/1950\n5,é2,3.2.50\n6,a1,2/1/1950\n"
    job, both = run(lists={**LISTS, SOUTH: odd.replace("\ud800", "\x00")})
    job.run(SITES)
    assert both.kept(SOUTH)["records_in_common"] == [6]
    assert (both.kept(SOUTH)["records"], both.kept(SOUTH)["records_without_identifier"]) == (6, 5)


@pytest.mark.parametrize("header", ["record,token,birthday\n", "record,kennung,kennung,birthday\n", ""])
def test_a_file_without_a_declared_column(run: Run, header: str) -> None:
    _, both = run(lists={**LISTS, SOUTH: header})
    with pytest.raises(DataError, match=r"has not one column kennung → correct identifiers"):
        read_identifiers(both.contexts[SOUTH])


def test_no_other_reply_of_the_job(run: Run) -> None:
    _, both = run()
    context = both.contexts[NORTH]
    for kind in (ReplyKind.UPDATE, ReplyKind.RELEASE, ReplyKind.MODEL, ReplyKind.KEYS, ReplyKind.STATISTICS):
        with pytest.raises(PolicyViolation, match=f"an alignment sends no {kind.name}"):
            expected_body_bytes(kind, context)
    assert expected_body_bytes(ReplyKind.PSI_SIZE, context) == SIZE_BYTES + 328 + 256
    assert expected_body_bytes(ReplyKind.PSI_LIST, context) == 20 * 33 + 16


@pytest.mark.threat("T-64")
def test_the_noise_of_a_size() -> None:
    """A discrete Laplace draw beyond its 1 - 10^-9 quantile, or none at all in 200 draws, is a defect."""
    bound = quantile(1e-9, 0.5, 1)
    noise = [noised_size(1000, 0.5) - 1000 for _ in range(200)]
    assert all(abs(value) <= bound for value in noise)
    assert len(set(noise)) > 3
