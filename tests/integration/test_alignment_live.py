"""The patient alignment on a real federation: 50,000 patients at each of two hospitals, and what is left of it."""

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.proving import prove
from tests.integration.test_site_killed import wait_until

from almoner.data.patient_lists import NUM_PATIENTS, NUM_SHARED, SITE_FILE, has_birth_date, people_of, write_lists
from almoner.flare.alignment.files import alignment_path
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.federation import Federation, free_port
from almoner.flare.commands.session import JobReport, open_session
from almoner.flare.kits.provisioning import ProvisionedConsortium, provision
from almoner.flare.results.origin import submitted_job
from almoner.flare.results.vouched import read_vouched, root_certificate
from almoner.flare.site.approval_files import AskedJob, Officer, write_approval
from almoner.flare.site.job_folder import is_job_id
from almoner.flare.site.site_files import LEDGER, load_kit
from almoner.privacy.ledger import Ledger
from almoner.privacy.plans import plan_of
from almoner.schema.declarations import job_sites
from almoner.schema.documents import load_document
from almoner.schema.psi import PsiSpec

SITES = ("north-hospital", "south-hospital")
LEAD = "lead@north-hospital.example"
JOB_SECONDS = 300.0
NOISE = 250
"""At ε=0.1 the noise is beyond this once in 10^10 releases."""


@pytest.fixture(scope="module")
def consortium(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedConsortium:
    made = provision(root, tmp_path_factory.mktemp("alignment") / "hospitals", free_port(), "alignment")
    write_lists(made.root / "sites")
    return made


@pytest.fixture(scope="module", autouse=True)
def _federation(consortium: ProvisionedConsortium) -> Iterator[None]:
    with Federation(consortium) as running:
        running.start(lambda text: None)
        yield


@pytest.fixture(scope="module")
def spec(root: Path) -> PsiSpec:
    return load_document(root / "jobs" / "patient_alignment.yaml", PsiSpec)


def submit(consortium: ProvisionedConsortium, spec: PsiSpec, folder: Path) -> JobReport:
    exported = export_job(spec, consortium.declarations, folder)
    with open_session(consortium.user_kit(LEAD), spec.study) as session:
        return session.follow(session.submit(exported), lambda progress: None, JOB_SECONDS)


def approve(consortium: ProvisionedConsortium, spec: PsiSpec) -> None:
    for site in SITES:
        kit = consortium.user_kit(f"officer@{site}.example") / "startup"
        officer = Officer((kit / "client.key").read_bytes(), (kit / "client.crt").read_bytes())
        asked = AskedJob(spec, job_sites(spec, consortium.declarations), LEAD, "")
        write_approval(load_kit(consortium.site_folder(site) / "kit"), asked, True, officer, 7)


def expected_records() -> dict[str, list[int]]:
    """Return which lines both hospitals have, from the people behind the lines."""
    people = {site: people_of(site, NUM_PATIENTS, NUM_SHARED) for site in SITES}
    whole = {
        site: {person for line, person in enumerate(found) if has_birth_date(line)} for site, found in people.items()
    }
    both = whole[SITES[0]] & whole[SITES[1]]
    return {
        site: [line + 1 for line, person in enumerate(found) if person in both and has_birth_date(line)]
        for site, found in people.items()
    }


def traces(consortium: ProvisionedConsortium) -> list[Path]:
    """Return every file that server, sites and FLARE have written, but data and results."""
    kept = {SITE_FILE.split("/")[0], "alignments"}
    files = (path for path in consortium.root.rglob("*") if path.is_file() and path.stat().st_size)
    return [path for path in files if not kept & set(path.relative_to(consortium.root).parts)]


BY_CHANCE = re.compile(rb"PID: \d+|(?:127\.0\.0\.1|localhost):\d+|[\w+/=-]{32,}")
"""Process ids, ports, and digests, ids and signatures: in one run of 250 one of these has such a number in it."""


def found_in(paths: list[Path], number: int) -> list[Path]:
    """Return the files that have a number in them, by itself."""
    pattern = re.compile(rb"(?<![\d.])%d(?!\d)" % number)
    return [path for path in paths if pattern.search(BY_CHANCE.sub(b" ", path.read_bytes()))]


def tokens_in(paths: list[Path], tokens: set[str]) -> list[Path]:
    """Return the files that have one of some tokens of nine digits in them, in any of the hospitals' spellings."""
    found = []
    for path in paths:
        text = unicodedata.normalize("NFKC", path.read_text(errors="replace")).replace("-", "")
        if tokens & set(re.findall(r"(?<!\d)\d{9}(?!\d)", text)):
            found.append(path)
    return found


@pytest.mark.threat("T-64")
def test_hospitals_find_their_common_patients_and_tell_nobody(
    consortium: ProvisionedConsortium, spec: PsiSpec, tmp_path: Path
) -> None:
    refused = submit(consortium, spec, tmp_path / "first")
    assert not refused.completed
    assert all("awaiting approval of digest" in refused.answers[site] for site in SITES)
    approve(consortium, spec)
    report = submit(consortium, spec, tmp_path / "second")
    assert report.completed, report

    expected = expected_records()
    for site in SITES:
        path = alignment_path(consortium.site_folder(site), report.job_id)
        kept = json.loads(path.read_bytes())
        assert kept["records_in_common"] == expected[site]
        assert (kept["records"], kept["records_without_identifier"]) == (NUM_PATIENTS, NUM_PATIENTS // 1000)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert consortium.site_folder(site) / "kit" not in path.parents
        with Ledger.open(consortium.site_folder(site) / LEDGER) as ledger:
            ledger.verify()
            account = ledger.account(f"{site}-patients")
            assert account.rdp_spent == plan_of(spec, 2).charge(account.filter.order) > 0
    size = len(expected[SITES[0]])
    with open_session(consortium.user_kit(LEAD), spec.study) as session:
        folder = session.download(report.job_id, tmp_path / "download")
    kit = consortium.user_kit(LEAD)
    found = read_vouched(folder, root_certificate(kit), report.job_id, submitted_job(kit, report.job_id))
    assert found.sites == (spec.leader,), "of a size it is the leader alone who signs"
    assert prove(consortium, report.job_id).checks
    result = found.result
    assert result.alignment is not None
    assert result.alignment.noisy_size is not None
    assert abs(result.alignment.noisy_size - size) < NOISE

    kits = [consortium.site_folder(site) / "kit" for site in SITES]
    wait_until(lambda: not any(is_job_id(path.name) for kit in kits for path in kit.iterdir()), 60.0)
    nothing_in_the_logs(consortium, report.job_id, size)
    again = submit(consortium, spec, tmp_path / "third")
    assert not again.completed
    assert all("was used by another job" in again.answers[site] for site in SITES)


def nothing_in_the_logs(consortium: ProvisionedConsortium, job_id: str, size: int) -> None:
    """Look for identifiers in all files, and for the exact sizes in all that are text."""
    paths = traces(consortium)
    logs = [path for path in paths if path.suffix in (".txt", ".log", ".json")]
    assert {"process_log.txt", f"{job_id}.txt"} <= {path.name for path in logs}
    lists = [consortium.site_folder(site) / SITE_FILE for site in SITES]
    results = [alignment_path(consortium.site_folder(site), job_id) for site in SITES]
    for number in (size, NUM_PATIENTS - NUM_PATIENTS // 1000):
        assert found_in(logs, number) == []
    assert found_in(results, size) == results, "the search finds what is there"
    lines = [line for path in lists for line in path.read_text().splitlines()[1::50]]
    tokens = {re.sub(r"\D", "", unicodedata.normalize("NFKC", line.split(",")[1])) for line in lines}
    assert {len(token) for token in tokens} == {9}
    assert tokens_in(paths, tokens) == []
    assert tokens_in(lists, tokens) == lists, "the search finds what is there"
