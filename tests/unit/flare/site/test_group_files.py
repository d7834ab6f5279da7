"""What a site keeps of a study's draw: durable before it is said, drawn once, anew only with an officer's signature."""

import json
import multiprocessing
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from flare_cases import SITES, Pki
from tests.grouped import MemoryStore

from almoner.admission.approvals import sign_approval
from almoner.admission.history import History
from almoner.errors import CertificateRefused, DocumentError, LedgerError, PolicyViolation, ProtocolError
from almoner.flare.job.job_context import JobContext
from almoner.flare.site import group_files
from almoner.flare.site.approval_files import Officer
from almoner.flare.site.group_files import DrawFiles, draw_terms, read_records, redraw_groups, stored_groups
from almoner.flare.site.site_view import site_view
from almoner.protection.certificates import site_keys
from almoner.protection.draw_site import DrawRecord, SiteDraw, fresh_record
from almoner.provision.roster import fingerprint
from almoner.schema.approval import Approval, SignedApproval
from almoner.schema.revocation import Revocation

SITE, STUDY = "cleveland", "cardiology"


@pytest.fixture
def files(context: JobContext) -> DrawFiles:
    return DrawFiles(context.site, STUDY)


@pytest.fixture
def path(context: JobContext) -> Path:
    return context.site.ledger_folder / "groups" / f"{STUDY}.json"


@pytest.fixture
def officer(pki: Pki) -> Officer:
    return officer_of(pki, "officer")


def officer_of(pki: Pki, name: str) -> Officer:
    return Officer(pki.key(name).read_bytes(), pki.certificate(name).read_bytes())


def draw(context: JobContext, pki: Pki, sizes: tuple[int, ...] = (2, 2)) -> dict[str, SiteDraw]:
    """Return the site under test, with its files, and the other three."""
    terms = draw_terms(context.site.roster, STUDY, SITES, sizes)
    keys = site_keys(pki.roster, pki.root.read_bytes(), SITES)
    stores = {site: DrawFiles(context.site, STUDY) if site == SITE else MemoryStore() for site in SITES}
    return {site: SiteDraw(terms, site, keys, pki.key(site).read_bytes(), stores[site]) for site in SITES}


def slot(said: bytes, site: str) -> bytes:
    size = len(said) // len(SITES)
    return said[SITES.index(site) * size :][:size]


def carry_out(sides: dict[str, SiteDraw]) -> set[bytes]:
    commitments = b"".join(slot(sides[site].answer("draw-commit", (), b""), site) for site in SITES)
    disclosures = b"".join(slot(sides[site].answer("draw-reveal", SITES, commitments), site) for site in SITES)
    return {sides[site].answer("draw-settle", SITES, disclosures) for site in SITES}


def noted(context: JobContext) -> list[dict[str, object]]:
    with context.site.ledger() as ledger:
        return [json.loads(entry.payload) for entry in ledger.entries() if entry.kind == "groups"]


def test_what_is_said_lies_on_the_disk_and_in_the_ledger(context: JobContext, pki: Pki, path: Path) -> None:
    sides = draw(context, pki)
    said = sides[SITE].answer("draw-commit", (), b"")
    held = read_records(context.site)[STUDY]
    assert bytes.fromhex(held.commitments[SITE]) == slot(said, SITE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.is_relative_to(context.site.kit)
    assert [(entry["study"], entry["epoch"], entry["groups"]) for entry in noted(context)] == [(STUDY, 1, 2)]
    assert held.secret not in json.dumps(noted(context))
    assert stored_groups(context.site.ledger_folder, STUDY) == {STUDY: 2}
    assert len(carry_out(sides)) == 1
    assert noted(context)[-1]["listed"] == read_records(context.site)[STUDY].listed
    assert read_records(context.site)[STUDY].groups == sides[SITE].groups
    with context.site.ledger() as ledger:
        ledger.verify()


def test_another_job_gets_the_same_answers(context: JobContext, pki: Pki, path: Path) -> None:
    first = draw(context, pki)
    assert len(carry_out(first)) == 1
    before = path.read_bytes()
    again = draw(context, pki)
    for site in set(SITES) - {SITE}:
        again[site] = first[site]
    assert len(carry_out(again)) == 1
    assert again[SITE].groups == first[SITE].groups
    assert path.read_bytes() == before
    assert [bool(entry["listed"]) for entry in noted(context)] == [False, True]


def test_another_number_of_groups_is_refused_from_the_commitment_on(context: JobContext, pki: Pki) -> None:
    draw(context, pki)[SITE].answer("draw-commit", (), b"")
    with pytest.raises(ProtocolError, match="are fixed: 4 sites in 2 groups, not 4 in 1"):
        draw(context, pki, (4,))[SITE].answer("draw-commit", (), b"")


def test_a_lost_file_is_no_new_draw(context: JobContext, pki: Pki, path: Path) -> None:
    draw(context, pki)[SITE].answer("draw-commit", (), b"")
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(LedgerError, match="lost, or not what the ledger names last"):
        draw(context, pki)[SITE].answer("draw-commit", (), b"")
    path.write_bytes(kept)
    draw(context, pki)[SITE].answer("draw-commit", (), b"")


def test_a_crash_between_file_and_ledger_is_made_good(
    context: JobContext, pki: Pki, files: DrawFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    def crash(*arguments: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(DrawFiles, "_note", crash)
        with pytest.raises(Crash):
            draw(context, pki)[SITE].answer("draw-commit", (), b"")
    secret = read_records(context.site)[STUDY].secret
    assert noted(context) == []
    draw(context, pki)[SITE].answer("draw-commit", (), b"")
    assert read_records(context.site)[STUDY].secret == secret
    assert len(noted(context)) == 1


@pytest.mark.threat("T-42")
def test_a_record_from_before_the_disclosure_does_not_count_after_it(
    context: JobContext, pki: Pki, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a backup; without the ledger's word the site would disclose for a second list."""
    sides = draw(context, pki)
    sides[SITE].answer("draw-commit", (), b"")
    before = path.read_bytes()
    carry_out(sides)
    path.write_bytes(before)
    with monkeypatch.context() as patch:
        patch.setattr(DrawFiles, "_noted", lambda self, ledger: [])
        other = draw(context, pki)
        carry_out(other)
    path.write_bytes(before)
    with pytest.raises(LedgerError, match="not what the ledger names last"):
        draw(context, pki)[SITE].answer("draw-commit", (), b"")


class TestNewEpochs:
    def test_an_officer_opens_one(self, context: JobContext, pki: Pki, officer: Officer) -> None:
        first = draw(context, pki)
        carry_out(first)
        old = read_records(context.site)[STUDY]
        made = redraw_groups(context.site, STUDY, 1, None, officer)
        assert (made.epoch, made.group_sizes, made.groups) == (2, (4,), None)
        assert made.secret != old.secret
        assert stored_groups(context.site.ledger_folder, STUDY) == {STUDY: 1}
        with pytest.raises(ProtocolError, match="4 sites in 1 groups, not 4 in 2"):
            draw(context, pki)[SITE].answer("draw-commit", (), b"")
        said = slot(draw(context, pki, (4,))[SITE].answer("draw-commit", (), b""), SITE)
        assert said[:4] == (2).to_bytes(4, "big")
        assert [entry["epoch"] for entry in noted(context)] == [1, 1, 2]

    def test_the_epoch_can_be_that_of_the_other_sites(self, context: JobContext, pki: Pki, officer: Officer) -> None:
        draw(context, pki)[SITE].answer("draw-commit", (), b"")
        assert redraw_groups(context.site, STUDY, 2, 5, officer).epoch == 5
        with pytest.raises(PolicyViolation, match="epoch 5 was drawn before → 6 or more"):
            redraw_groups(context.site, STUDY, 2, 5, officer)

    @pytest.mark.parametrize("name", ["lead", "trainee", "cleveland", "stranger"])
    def test_nobody_else_does(self, name: str, context: JobContext, pki: Pki, path: Path) -> None:
        draw(context, pki)[SITE].answer("draw-commit", (), b"")
        before = path.read_bytes()
        with pytest.raises(PolicyViolation):
            redraw_groups(context.site, STUDY, 2, None, officer_of(pki, name))
        assert path.read_bytes() == before
        assert len(noted(context)) == 1

    @pytest.mark.threat("T-157")
    def test_an_officer_who_is_revoked_later_approved_what_stands_and_nothing_more(
        self, context: JobContext, pki: Pki, officer: Officer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The paper says when it was signed; the ledger says since when the draw was noted, and only that is asked."""
        draw(context, pki)[SITE].answer("draw-commit", (), b"")
        redraw_groups(context.site, STUDY, 2, None, officer)
        now, certificate = datetime.now(UTC), x509.load_pem_x509_certificate(officer.certificate)
        day = (now + timedelta(days=2)).date()
        revoked = (Revocation(certificate_sha256=fingerprint(certificate), since=day, reason="she left"),)
        site = replace(context.site, policy=context.site.policy.model_copy(update={"revoked": revoked}))
        monkeypatch.setattr(group_files.time, "time", lambda: now.timestamp() + 3 * 86_400)
        DrawFiles(site, STUDY).change(lambda held: held)
        with pytest.raises(CertificateRefused, match=f"is revoked since {day}: she left"):
            redraw_groups(site, STUDY, 2, None, officer)
        today = (revoked[0].model_copy(update={"since": now.date()}),)
        site = replace(site, policy=site.policy.model_copy(update={"revoked": today}))
        with pytest.raises(CertificateRefused, match="is revoked"):
            DrawFiles(site, STUDY).change(lambda held: held)

    @pytest.mark.threat("T-42")
    def test_a_record_that_nobody_approved_does_not_count(
        self, context: JobContext, pki: Pki, files: DrawFiles, path: Path, officer: Officer
    ) -> None:
        """Whoever runs the site can write both, but has no officer's key; an older paper is of another draw."""
        draw(context, pki)[SITE].answer("draw-commit", (), b"")
        paper = redraw_groups(context.site, STUDY, 2, None, officer).approval
        for approval in (None, paper):
            terms = replace(draw_terms(context.site.roster, STUDY, SITES, (2, 2)), epoch=3)
            forged = fresh_record(terms, SITE, pki.key(SITE).read_bytes()).model_copy(update={"approval": approval})
            path.write_text(forged.model_dump_json())
            with context.site.ledger() as ledger:
                files._note(ledger, forged)
            with pytest.raises(PolicyViolation, match=r"was not approved|another site or job"):
                draw(context, pki)[SITE].answer("draw-commit", (), b"")

    @pytest.mark.threat("T-42")
    def test_a_denial_approves_nothing(
        self, context: JobContext, pki: Pki, officer: Officer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The officer's key is in it all the same, and the paper says what it is about."""
        draw(context, pki)[SITE].answer("draw-commit", (), b"")

        def denied(approval: Approval, *keys: bytes) -> SignedApproval:
            return sign_approval(approval.model_copy(update={"verdict": "denied"}), *keys)

        monkeypatch.setattr(group_files, "sign_approval", denied)
        with monkeypatch.context() as patch:
            patch.setattr(DrawFiles, "_verify", lambda *arguments: None)
            assert redraw_groups(context.site, STUDY, 2, None, officer).approval is not None
        with pytest.raises(PolicyViolation, match="its new draw was denied"):
            draw(context, pki)[SITE].answer("draw-commit", (), b"")
        with pytest.raises(PolicyViolation, match="its new draw was denied"):
            redraw_groups(context.site, STUDY, 2, 3, officer)

    def test_an_older_record_that_was_put_back_does_not_count(
        self, context: JobContext, pki: Pki, path: Path, officer: Officer
    ) -> None:
        draw(context, pki)[SITE].answer("draw-commit", (), b"")
        old = path.read_bytes()
        redraw_groups(context.site, STUDY, 2, None, officer)
        path.write_bytes(old)
        with pytest.raises(LedgerError, match="not what the ledger names last"):
            draw(context, pki)[SITE].answer("draw-commit", (), b"")

    def test_there_is_none_before_the_first_draw(self, context: JobContext, officer: Officer) -> None:
        with pytest.raises(LedgerError, match="never drawn here"):
            redraw_groups(context.site, STUDY, 2, None, officer)
        with pytest.raises(PolicyViolation, match="study astronomy has 0 sites"):
            redraw_groups(context.site, "astronomy", 2, None, officer)

    def test_a_changed_certificate_needs_one(self, context: JobContext, pki: Pki, files: DrawFiles) -> None:
        draw(context, pki)[SITE].answer("draw-commit", (), b"")
        terms = draw_terms(context.site.roster, STUDY, SITES, (2, 2))
        changed = replace(terms, certificates=("0" * 64, *terms.certificates[1:]))
        side = SiteDraw(changed, SITE, {}, pki.key(SITE).read_bytes(), files)
        with pytest.raises(ProtocolError, match="or certificates changed"):
            side.answer("draw-commit", (), b"")


@pytest.mark.parametrize("is_locked", [False, True], ids=["without the lock", "with it"])
def test_jobs_at_once_draw_once(
    is_locked: bool, context: JobContext, pki: Pki, files: DrawFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process steps in while the first one, whose job is another, has not written its record yet."""
    if not is_locked:
        monkeypatch.setattr(DrawFiles, "_alone", lambda self: nullcontext())
    (context.site.ledger_folder / group_files.GROUPS).mkdir()
    terms = draw_terms(context.site.roster, STUDY, SITES, (2, 2))
    forked = multiprocessing.get_context("fork")
    inside, secrets = forked.Event(), forked.Queue()

    def fresh() -> DrawRecord:
        return fresh_record(terms, SITE, pki.key(SITE).read_bytes())

    def first_step(held: DrawRecord | None) -> DrawRecord:
        inside.set()
        other.join(0.5 if is_locked else 120.0)  # with the lock it cannot end before this returns
        return held or fresh()

    def second() -> None:
        inside.wait(120)
        secrets.put(DrawFiles(context.site, STUDY).change(lambda held: held or fresh()).secret)

    other = forked.Process(target=second)
    other.start()
    made = files.change(first_step)
    assert (secrets.get(timeout=120) == made.secret) == is_locked
    other.join()


def test_a_damaged_file_stops_the_jobs_of_its_study_alone(context: JobContext, pki: Pki, path: Path) -> None:
    draw(context, pki)[SITE].answer("draw-commit", (), b"")
    (path.parent / "oncology.json").write_text("{")
    with pytest.raises(DocumentError):
        read_records(context.site)  # as every job once did
    assert stored_groups(context.site.ledger_folder, STUDY) == {STUDY: 2}
    with pytest.raises(DocumentError, match=r"oncology\.json"):
        stored_groups(context.site.ledger_folder, "oncology")
    with context.site.ledger() as ledger:
        assert site_view(context.site, ledger, History(), context.envelope).stored_groups == {STUDY: 2}


def test_a_site_that_never_drew_has_no_groups(context: JobContext) -> None:
    assert stored_groups(context.site.ledger_folder, STUDY) == {}
