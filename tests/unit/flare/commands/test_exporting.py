"""Exporting and planning: whole folders or none, the sites' own rules, and ledgers as they stand."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from flare_cases import SITES

from almoner.errors import DocumentError, LedgerError
from almoner.flare.commands.exporting import export_job
from almoner.flare.commands.planning import plan_job
from almoner.flare.door.render import render_job
from almoner.flare.site.site_files import LEDGER
from almoner.privacy.ledger import Ledger
from almoner.provision import names
from almoner.schema.declarations import Declarations, job_sites
from almoner.schema.documents import load_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec


class TestExport:
    def test_the_folder_is_what_the_envelope_renders_to(
        self, heart_spec: JobSpec, declarations: Declarations, tmp_path: Path
    ) -> None:
        folder = export_job(heart_spec, declarations, tmp_path / "not" / "yet")
        made = load_document(folder / "app" / "config" / names.JOB_FILE, JobEnvelope)
        assert made.spec == heart_spec
        assert made.sites == SITES
        assert folder.name == f"heart-disease-{made.nonce[:8]}"
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert files == render_job(made)

    @pytest.mark.parametrize(("days", "good_for"), [(None, 7), (2, 2), (30, 7)])
    def test_it_is_good_for_no_longer_than_each_of_its_sites_admits(
        self, heart_spec: JobSpec, declarations: Declarations, tmp_path: Path, days: int | None, good_for: int
    ) -> None:
        first, policy = SITES[0], declarations.policies[SITES[0]]
        changed = policy.model_copy(update={"limits": policy.limits.model_copy(update={"max_validity_days": days})})
        declared = replace(declarations, policies={**declarations.policies, first: changed})
        made = load_document(
            export_job(heart_spec, declared, tmp_path) / "app" / "config" / names.JOB_FILE, JobEnvelope
        )
        assert made.expires_unix_seconds - made.issued_unix_seconds == good_for * 86_400

    def test_every_export_is_another_job(self, heart_spec: JobSpec, declarations: Declarations, tmp_path: Path) -> None:
        first, second = (export_job(heart_spec, declarations, tmp_path) for _ in range(2))
        assert first != second
        assert first.is_dir()
        assert second.is_dir()

    def test_a_folder_that_cannot_be_written_leaves_nothing(
        self, heart_spec: JobSpec, declarations: Declarations, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(DocumentError, match="cannot be written: Not a directory"):
            export_job(heart_spec, declarations, tmp_path / "file")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_a_disk_that_fills_up_leaves_nothing(
        self, heart_spec: JobSpec, declarations: Declarations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = Path.write_bytes

        def full(self: Path, data: bytes) -> int:
            if self.name == names.JOB_FILE:
                raise OSError(28, "No space left on device")
            return write(self, data)

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(DocumentError, match="cannot be written: No space left on device"):
            export_job(heart_spec, declarations, tmp_path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "changes", [{"study": "oncology"}, {"dataset": "radiology"}, {"min_sites": 5}], ids=["study", "data", "sites"]
    )
    def test_too_few_sites(
        self, changes: dict[str, object], heart_spec: JobSpec, declarations: Declarations, tmp_path: Path
    ) -> None:
        spec = heart_spec.model_copy(update=changes)
        with pytest.raises(DocumentError) as caught:
            export_job(spec, declarations, tmp_path)
        assert f"the job wants min_sites={spec.min_sites} → correct study or dataset" in str(caught.value)
        assert str(caught.value).isprintable()
        assert list(tmp_path.iterdir()) == []

    def test_sites_are_those_of_the_study_in_roster_order(
        self, heart_spec: JobSpec, declarations: Declarations
    ) -> None:
        assert job_sites(heart_spec, declarations) == SITES


class TestPlan:
    def test_every_site_answers(self, heart_spec: JobSpec, declarations: Declarations) -> None:
        decisions = plan_job(heart_spec, declarations)
        assert tuple(decision.site for decision in decisions) == SITES
        assert {decision.verdict for decision in decisions} == {"admitted"}
        assert {decision.epsilon_spent for decision in decisions} == {0.0}

    def test_another_user(self, heart_spec: JobSpec, declarations: Declarations) -> None:
        for decision in plan_job(heart_spec, declarations, user="trainee@hungary.example"):
            assert [violation.rule for violation in decision.violations] == ["submitter.role"]

    def test_an_unknown_user(self, heart_spec: JobSpec, declarations: Declarations) -> None:
        with pytest.raises(DocumentError, match=r"user nobody@x\.org: not in provisioning/consortium\.yaml"):
            plan_job(heart_spec, declarations, user="nobody@x.org")

    def test_a_study_without_sites(self, heart_spec: JobSpec, declarations: Declarations) -> None:
        with pytest.raises(DocumentError, match="study oncology has 0 sites"):
            plan_job(heart_spec.model_copy(update={"study": "oncology"}), declarations)

    def test_ledgers_are_asked_as_they_stand_and_nothing_is_written(
        self, heart_spec: JobSpec, declarations: Declarations, tmp_path: Path
    ) -> None:
        for site in SITES:
            path = tmp_path / "sites" / site / LEDGER
            path.parent.mkdir(parents=True, mode=0o700)
            with Ledger.create(path, site) as ledger:
                ledger.open_account(declarations.policies[site].accounts[0])
        path = tmp_path / "sites" / "hungary" / LEDGER
        self.spend(path, heart_spec, declarations)
        heads = self.heads(tmp_path)
        by_site = {decision.site: decision for decision in plan_job(heart_spec, declarations, tmp_path)}
        assert by_site["cleveland"].epsilon_spent == 0.0
        assert by_site["hungary"].epsilon_spent == by_site["cleveland"].epsilon_after > 1
        assert by_site["hungary"].verdict == "admitted"
        assert self.heads(tmp_path) == heads
        shutil.rmtree(path.parent)
        with pytest.raises(LedgerError, match="the ledger is missing"):
            plan_job(heart_spec, declarations, tmp_path)

    def heads(self, consortium: Path) -> list[tuple[int, str]]:
        found = []
        for site in SITES:
            with Ledger.open(consortium / "sites" / site / LEDGER) as ledger:
                found.append(ledger.head())
        return found

    def spend(self, path: Path, spec: JobSpec, declarations: Declarations) -> None:
        from almoner.privacy.ledger import Reservation
        from almoner.privacy.plan import job_events

        account = declarations.policies["hungary"].accounts[0]
        with Ledger.open(path) as ledger:
            ledger.reserve(
                Reservation(
                    job_id="00000000-0000-0000-0000-000000000001",
                    nonce="0" * 32,
                    envelope_digest="a" * 64,
                    tree_digest="b" * 64,
                    population=account.population,
                    privacy_unit=account.privacy_unit,
                    neighboring_relation=account.neighboring_relation,
                    steps=job_events(spec).steps,
                )
            )


def test_exported_configurations_are_json_that_people_can_read(
    heart_spec: JobSpec, declarations: Declarations, tmp_path: Path
) -> None:
    folder = export_job(heart_spec, declarations, tmp_path)
    for path in folder.rglob("*.json"):
        assert isinstance(json.loads(path.read_bytes()), dict)
        assert path.read_bytes().endswith(b"\n")
