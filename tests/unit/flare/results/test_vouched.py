"""What sites did not sign is no result, whatever the server hands over: every lie also passes where nobody checks."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from flare_cases import DIMENSION, ENCRYPTED, JOB_ID, SITES, SPEC, Pki, envelope, make_context, server_heads
from hospital_cases import DISTRIBUTED, LOCAL, hospitals
from nvflare.lighter.utils import load_private_key_file, sign_folders
from tests.unit.flare.training.test_protected_jobs import Members

from almoner.errors import FederationError
from almoner.flare.door.render import render_app
from almoner.flare.job.protections import server_protection
from almoner.flare.results import vouched
from almoner.flare.results.job_result import RESULT_FILE, read_result
from almoner.flare.results.origin import JobOf, KnownJob
from almoner.flare.results.vouched import read_vouched
from almoner.flare.training.run import TrainingRun
from almoner.protection.vouchers import Vouched, body_digest, sign_voucher, voucher_statement
from almoner.schema.base import digest
from almoner.schema.envelope import JobEnvelope
from almoner.schema.statistics import StatisticsSpec

Change = Callable[[dict[str, Any]], object]
FIRST, SECOND = SITES[:2]


def train(folder: Path, pki: Pki) -> tuple[JobEnvelope, str, str]:
    contexts = {site: make_context(folder / site, pki, ENCRYPTED, site=site) for site in SITES}
    made = contexts[FIRST].envelope
    server = server_protection(made, JOB_ID, pki.roster, DIMENSION)
    heads = server_heads(folder / "server", pki)
    job = TrainingRun(made, JOB_ID, server, DIMENSION, Members(contexts).ask, lambda progress: None, heads)
    return made, JOB_ID, job.run(SITES).model_dump_json()


def ask(folder: Path, pki: Pki, kind: str) -> tuple[JobEnvelope, str, str]:
    spec = {"local": LOCAL, "distributed": DISTRIBUTED}[kind]
    job, _ = hospitals(folder, pki, spec)
    return envelope(spec), job.job_id, job.run(SITES).model_dump_json()


@pytest.fixture(scope="module")
def results(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[JobEnvelope, str, str]]:
    folder = tmp_path_factory.mktemp("jobs")
    return {
        "training": train(folder / "training", pki),
        "local": ask(folder / "local", pki, "local"),
        "distributed": ask(folder / "distributed", pki, "distributed"),
    }


Results = dict[str, tuple[JobEnvelope, str, str]]


def known(made: JobEnvelope) -> KnownJob:
    return KnownJob(digest(made))


def download(folder: Path, pki: Pki, made: JobEnvelope, result: dict[str, Any], signer: str = "lead") -> Path:
    """Write what FLARE's download leaves: the job as somebody signed it, and the server's workspace."""
    app = folder / "job" / "small" / "app"
    for name, content in render_app(made).items():
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_bytes(content)
    sign_folders(str(app), load_private_key_file(str(pki.key(signer))), str(pki.certificate(signer)))
    (folder / "workspace").mkdir()
    (folder / "workspace" / RESULT_FILE).write_text(json.dumps(result))
    return folder


@pytest.mark.parametrize("kind", ["training", "local", "distributed"])
def test_an_honest_result_is_signed_by_all(kind: str, results: Results, pki: Pki, tmp_path: Path) -> None:
    made, job_id, result = results[kind]
    found = read_vouched(download(tmp_path, pki, made, json.loads(result)), pki.root.read_bytes(), job_id, known(made))
    assert found.sites == SITES
    assert found.submitter == "lead@cleveland.example"
    assert found.envelope == made


def test_a_bare_majority_is_enough_and_less_is_not(results: Results, pki: Pki, tmp_path: Path) -> None:
    made, job_id, text = results["training"]
    for count in (3, 2):
        result = json.loads(text)
        result["vouchers"]["model"] = dict(list(result["vouchers"]["model"].items())[:count])
        folder = download(tmp_path / str(count), pki, made, result)
        if count == 3:
            found = read_vouched(folder, pki.root.read_bytes(), job_id, known(made))
            assert found.sites == SITES, "the releases have all four"
        else:
            with pytest.raises(FederationError, match="model: 2 of at least 3 sites signed for it"):
                read_vouched(folder, pki.root.read_bytes(), job_id, known(made))


def swap(values: dict[str, Any]) -> None:
    values[FIRST], values[SECOND] = values[SECOND], values[FIRST]


def other(release: str) -> str:
    """Return other numbers; which ones noise makes, all zeros too, is chance."""
    return bytes(byte ^ 1 for byte in bytes.fromhex(release)).hex()


def take_from_first(said: dict[str, Any]) -> None:
    for told in (said["releases"], said["vouchers"]["release"]):
        told[SECOND] = told[FIRST]


LIES: dict[str, tuple[str, Change]] = {
    "a weight": ("training", lambda said: said["model"].__setitem__(1, said["model"][1] + 1e-9)),
    "no signature": ("training", lambda said: said.update(vouchers={})),
    "a release": ("training", lambda said: said["releases"].update({FIRST: other(said["releases"][FIRST])})),
    "the release of another": ("training", lambda said: take_from_first(said)),
    "signatures of another kind": ("training", lambda said: said["vouchers"].update(model=said["vouchers"]["release"])),
    "names of signers": ("training", lambda said: swap(said["vouchers"]["release"])),
    "a site's numbers": ("local", lambda said: said["statistics"]["by_site"][FIRST].__setitem__(0, 7)),
    "sites' numbers changed about": ("local", lambda said: swap(said["statistics"]["by_site"])),
    "what was asked": ("local", lambda said: said["statistics"]["spec"].update(purpose="another")),
    "which sites were asked": ("local", lambda said: said["statistics"]["sites"].pop()),
    "the total": ("distributed", lambda said: said["statistics"]["total"].__setitem__(0, 7)),
    "whose total": ("distributed", lambda said: said["statistics"]["contributors"].pop()),
    "which job": ("distributed", lambda said: said.update(job="another")),
}


@pytest.mark.threat("T-162")
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_of_the_server(lie: str, results: Results, pki: Pki, tmp_path: Path) -> None:
    kind, change = LIES[lie]
    made, job_id, text = results[kind]
    result = json.loads(text)
    change(result)
    folder = download(tmp_path, pki, made, result)
    assert read_result(folder).model_dump_json() != text, "unchecked it is a result"
    with pytest.raises(FederationError, match=r"sites signed for it|of another job than was submitted"):
        read_vouched(folder, pki.root.read_bytes(), job_id, known(made))


@pytest.mark.threat("T-162")
def test_the_result_of_another_job(results: Results, pki: Pki, tmp_path: Path) -> None:
    """The same request, asked twice: the first answer is not the second's."""
    made, job_id, text = results["distributed"]
    folder = download(tmp_path / "job", pki, made, json.loads(text))
    with pytest.raises(FederationError, match="total: 0 of at least 3 sites signed for it"):
        read_vouched(folder, pki.root.read_bytes(), job_id.replace("0", "1"), known(made))
    other = made.model_copy(update={"nonce": "ef" * 16})
    folder = download(tmp_path / "submission", pki, other, json.loads(text))
    with pytest.raises(FederationError, match="total: 0 of at least 3 sites signed for it"):
        read_vouched(folder, pki.root.read_bytes(), job_id, known(other))


@pytest.mark.threat("T-162")
def test_certificates_are_the_roots_and_the_sites_own(results: Results, pki: Pki, tmp_path: Path) -> None:
    made, job_id, text = results["local"]
    for name, why in (("stranger", "not issued by the root"), ("lead", f"not of {FIRST}")):
        result = json.loads(text)
        result["certificates"][FIRST] = pki.certificate(name).read_text()
        with pytest.raises(FederationError, match=why):
            read_vouched(download(tmp_path / name, pki, made, result), pki.root.read_bytes(), job_id, known(made))


def test_a_job_that_its_submitter_did_not_sign(results: Results, pki: Pki, tmp_path: Path) -> None:
    made, job_id, text = results["local"]
    folder = download(tmp_path, pki, made, json.loads(text))
    (job,) = folder.rglob("almoner_job.json")
    job.write_bytes(job.read_bytes() + b" ")
    with pytest.raises(FederationError, match="not signed by its submitter"):
        read_vouched(folder, pki.root.read_bytes(), job_id, known(made))


def of_one_site(pki: Pki, made: JobEnvelope, kind: Vouched, values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return what a server says of a job, for whose numbers the one site at its side signs."""
    statement = voucher_statement(FIRST, digest(made), JOB_ID, kind, body_digest(values.tobytes()))
    return {
        "job": made.spec.name,
        "vouchers": {kind: {FIRST: sign_voucher(pki.key(FIRST).read_bytes(), statement).hex()}},
        "certificates": {FIRST: pki.certificate(FIRST).read_text()},
    }


@pytest.mark.threat("T-162")
@pytest.mark.parametrize("signer", [FIRST, "lead"])
def test_the_job_of_another_beside_a_result(signer: str, pki: Pki, tmp_path: Path) -> None:
    """Who writes the job says which sites, and how many, must sign: the server's friend, or the lead long ago."""
    asked, weak = envelope(ENCRYPTED), envelope(SPEC.model_copy(update={"min_sites": 1}), sites=(FIRST,))
    said = of_one_site(pki, weak, "model", np.array([1e6, -1e6, 0.0], "<f8")) | {"model": [1e6, -1e6, 0.0]}
    folder, root = download(tmp_path, pki, weak, said, signer), pki.root.read_bytes()
    author = {"lead": "lead@cleveland.example", FIRST: FIRST}[signer]
    assert read_vouched(folder, root, JOB_ID, JobOf(author)).sites == (FIRST,), "where nobody knows the job"
    with pytest.raises(FederationError, match="that is not the one submitted"):
        read_vouched(folder, root, JOB_ID, known(asked))
    with pytest.raises(FederationError, match=f"a job of {author}, not of second@cleveland.example"):
        read_vouched(folder, root, JOB_ID, JobOf("second@cleveland.example"))


@pytest.mark.threat("T-162")
@pytest.mark.parametrize(
    ("spec", "why"),
    [(DISTRIBUTED, "another trust model"), (LOCAL, "the numbers are of 1 sites, the job wants 3")],
    ids=["distributed", "local"],
)
def test_one_site_in_the_place_of_all(
    spec: StatisticsSpec, why: str, pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, cells = envelope(spec), np.full(spec.num_cells, 500, "<i8")
    told = {"spec": spec.model_dump(mode="json"), "sites": SITES, "by_site": {FIRST: cells.tolist()}}
    folder = download(tmp_path, pki, made, of_one_site(pki, made, "statistics", cells) | {"statistics": told})
    with pytest.raises(FederationError, match=why):
        read_vouched(folder, pki.root.read_bytes(), JOB_ID, known(made))
    monkeypatch.setattr(vouched, "_check_sums", lambda told: None)
    assert read_vouched(folder, pki.root.read_bytes(), JOB_ID, known(made)).sites == (FIRST,)


@pytest.mark.threat("T-162")
def test_the_key_of_a_certificate_that_has_ended(
    results: Results, pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, job_id, text = results["local"]
    folder = download(tmp_path, pki, made, json.loads(text))
    end = x509.load_pem_x509_certificate(pki.certificate(FIRST).read_bytes()).not_valid_after_utc
    for day, ended in ((end - timedelta(days=1), False), (end + timedelta(days=1), True)):
        clock = type("Clock", (datetime,), {"now": classmethod(lambda cls, zone, day=day: day)})
        monkeypatch.setattr(vouched, "datetime", clock)
        if not ended:
            assert read_vouched(folder, pki.root.read_bytes(), job_id, known(made)).sites == SITES
            continue
        with pytest.raises(FederationError, match="is not valid today"):
            read_vouched(folder, pki.root.read_bytes(), job_id, known(made))
