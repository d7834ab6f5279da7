"""Two populations with accounts of their own, with kits that FLARE's provisioner made: joined, charged, and misused."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from nvflare.apis.workspace import Workspace
from tests.integration.conftest import make_consortium
from tests.integration.test_deployer_refusals import Door

from almoner.admission import decide
from almoner.admission.rules import RULES
from almoner.cli.main import main
from almoner.data.commitment import COMMITMENTS_FILE, SALT_FILE
from almoner.flare.commands.planning import explain_job, plan_job
from almoner.flare.door.render import new_envelope
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.site import unit_joins
from almoner.flare.site.dataset_commitments import commit_site_data
from almoner.flare.site.site_files import LEDGER, load_kit
from almoner.privacy.ledger import AccountState, Ledger
from almoner.provision import names
from almoner.schema.job import JobSpec

SITE = "hungary"
PATIENTS, VOLUNTEERS = f"{SITE}-cardiology", f"{SITE}-volunteers"
NOT_SHOWN = f"populations {PATIENTS} and {VOLUNTEERS} were not shown to be disjoint since the data changed"
ONE_CAP = 3.0


def edited(path: Path, change: Any) -> None:
    """Change a YAML document in place."""
    fields = yaml.safe_load(path.read_text())
    change(fields)
    path.write_text(yaml.safe_dump(fields, sort_keys=False))


def add_account(policy: dict[str, Any]) -> None:
    policy["accounts"].append(policy["accounts"][0] | {"population": VOLUNTEERS})


def add_dataset(site: str, config: dict[str, Any]) -> None:
    """Give a site a second data set; only one site has a second population."""
    first = config["datasets"]["cardiology"]
    first["unit_column"] = "record_id"
    population = VOLUNTEERS if site == SITE else first["population"]
    config["datasets"]["volunteers"] = deepcopy(first) | {"path": "data/volunteers.csv", "population": population}


@pytest.fixture(scope="module")
def consortium(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvisionedConsortium:
    """A consortium in which hungary has two populations, each with half of its records."""
    folder = tmp_path_factory.mktemp("populations")
    for name in ("provisioning", "policies", "site_configs"):
        shutil.copytree(root / name, folder / name)
    edited(folder / "policies" / f"{SITE}.yaml", add_account)
    for path in (folder / "site_configs").glob("*.yaml"):
        edited(path, lambda config, site=path.stem: add_dataset(site, config))
    (folder / "build").symlink_to(root / "build")
    made = make_consortium(folder, folder / "heart")
    data = made.site_folder(SITE) / "data"
    header, *lines = (data / "heart.csv").read_text().splitlines(keepends=True)
    (data / "heart.csv").write_text("".join([header, *lines[::2]]))
    (data / "volunteers.csv").write_text("".join([header, *lines[1::2]]))
    return made


class TwoPopulations(Door):
    """The door of a copy of the site, its data and its command line."""

    def __init__(self, consortium: ProvisionedConsortium, folder: Path, spec: JobSpec) -> None:
        super().__init__(consortium, folder)
        self.site, self.spec = folder / "consortium" / "sites" / SITE, spec
        shutil.copytree(consortium.site_folder(SITE), self.site)
        self.workspace = Workspace(str(self.site / "kit"), SITE)

    def ledger(self) -> Ledger:
        return Ledger.open(self.site / LEDGER)

    def data(self, name: str) -> Path:
        return self.site / "data" / f"{name}.csv"

    def job(self, dataset: str, epsilon: float = 0.05) -> str:
        privacy = self.spec.privacy.model_copy(update={"target_epsilon": epsilon})
        spec = self.spec.model_copy(update={"dataset": dataset, "privacy": privacy, "releases": ()})
        return self.submit(new_envelope(spec, self.consortium.declarations.consortium.sites))

    def accounts(self) -> list[AccountState]:
        with self.ledger() as ledger:
            ledger.verify()
            return [ledger.account(PATIENTS), ledger.account(VOLUNTEERS)]

    def spent(self) -> list[float]:
        return [account.rdp_spent for account in self.accounts()]

    def join(self) -> int:
        """Run the operator's command; return its exit code."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["almoner", "site", "join-units", str(self.site)])
            with pytest.raises(SystemExit) as caught:
                main()
        return int(caught.value.code or 0)

    def kept(self) -> dict[str, bytes]:
        """Return what lies beside the ledger, and the ledger's head."""
        with self.ledger() as ledger:
            head = str(ledger.head()).encode()
        files = (path for path in (self.site / LEDGER).parent.iterdir() if path.name[:6] in ("units-", "datase"))
        return {"head": head, **{path.name: path.read_bytes() for path in files if path.name != SALT_FILE}}


@pytest.fixture
def door(consortium: ProvisionedConsortium, heart_spec: JobSpec, tmp_path: Path) -> TwoPopulations:
    return TwoPopulations(consortium, tmp_path, heart_spec)


@pytest.fixture
def control_off() -> Iterator[pytest.MonkeyPatch]:
    """The door without the rule."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "RULES", tuple(rule for rule in RULES if rule.name != "account.disjoint"))
        yield patch


def add_line(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


def line_of(path: Path, number: int = 1) -> str:
    return path.read_text().splitlines()[number]


@pytest.mark.threat("T-34")
def test_refused_before_the_join_admitted_after_and_refused_again_when_a_row_was_added(
    door: TwoPopulations, capsys: pytest.CaptureFixture[str]
) -> None:
    for dataset in ("cardiology", "volunteers"):
        assert f"account.disjoint   {NOT_SHOWN} → the site's operator runs `almoner site join-units`" in door.job(
            dataset
        )
    assert door.spent() == [0.0, 0.0]
    assert door.join() == 0
    assert f"{PATIENTS} and {VOLUNTEERS}: 0 units are in both\n" in capsys.readouterr().out
    assert door.job("cardiology") == ""
    [patients, volunteers] = door.spent()
    assert (patients > 0, volunteers) == (True, 0.0)
    assert door.job("volunteers", 0.1) == ""
    assert door.spent()[0] == patients
    assert door.spent()[1] > patients
    add_line(door.data("volunteers"), line_of(door.data("volunteers")).replace(",", "x,", 1))
    for dataset in ("cardiology", "volunteers"):
        assert NOT_SHOWN in door.job(dataset)
    assert door.join() == 0
    assert door.job("volunteers") == ""


@pytest.mark.threat("T-34")
def test_with_a_patient_in_both_the_join_refuses_and_records_nothing(
    door: TwoPopulations, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert door.join() == 0
    before, patient = door.kept(), line_of(door.data("heart"))
    add_line(door.data("volunteers"), f"  {patient}")
    capsys.readouterr()
    assert door.join() == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: populations {PATIENTS} and {VOLUNTEERS}: 1 units are in both, ")
    assert (err.count("\n"), out, caplog.text) == (1, "", "")
    assert door.kept() == before
    for dataset in ("cardiology", "volunteers"):
        assert NOT_SHOWN in door.job(dataset)
    assert door.spent() == [0.0, 0.0]


@pytest.mark.threat("T-34")
def test_with_the_control_off_the_same_patient_is_charged_beyond_either_cap(
    door: TwoPopulations, control_off: pytest.MonkeyPatch
) -> None:
    shutil.copy(door.data("heart"), door.data("volunteers"))
    for dataset in ("cardiology", "volunteers"):
        for _ in range(8):
            if door.job(dataset, 1.5):
                break
    one, other = door.accounts()
    assert max(one.epsilon_spent, other.epsilon_spent) <= ONE_CAP
    together = one.filter.epsilon_of(one.rdp_spent + other.rdp_spent)
    assert together > ONE_CAP, "both releases are about the same patients"
    control_off.undo()
    assert door.join() == 2
    assert NOT_SHOWN in door.job("cardiology")


def swap(door: TwoPopulations) -> None:
    """Give each population the other's patients."""
    first, second = door.data("heart"), door.data("volunteers")
    one, other = first.read_text(), second.read_text()
    first.write_text(other)
    second.write_text(one)


def move_dataset(door: TwoPopulations) -> None:
    """Count the patients among the volunteers, and nobody among the patients."""
    edited(
        door.site / "kit" / "local" / names.SITE_FILE,
        lambda config: config["datasets"]["cardiology"].update(population=VOLUNTEERS),
    )


def drop_account(door: TwoPopulations) -> None:
    """Count everybody among the volunteers, and leave the other account out of the policy."""
    move_dataset(door)
    edited(door.site / "kit" / "local" / names.POLICY_FILE, lambda policy: policy["accounts"].pop(0))


@pytest.mark.threat("T-34")
@pytest.mark.parametrize("move", [swap, move_dataset, drop_account])
def test_patients_who_were_charged_in_one_account_cannot_move_to_the_other(
    door: TwoPopulations, move: Any, control_off: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert door.join() == 0
    assert door.job("cardiology") == ""
    before = door.spent()
    move(door)
    dataset = "volunteers" if move is swap else "cardiology"
    assert door.job(dataset) == "", "with the control off they are charged a second time, elsewhere"
    assert door.spent()[1] > before[1]
    control_off.undo()
    assert NOT_SHOWN in door.job(dataset)
    assert door.join() == 2
    assert "units are in both, now or by an earlier join" in capsys.readouterr().err
    assert NOT_SHOWN in door.job(dataset)


@pytest.mark.threat("T-34")
@pytest.mark.parametrize("what", ["units-*.register", SALT_FILE])
def test_what_earlier_joins_kept_cannot_be_left_out(
    door: TwoPopulations, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert door.join() == 0
    [path] = (door.site / LEDGER).parent.glob(what)
    path.unlink()
    swap(door)
    assert door.join() == 2
    assert "missing, changed or of another salt → restore it" in capsys.readouterr().err


def test_the_record_names_what_was_compared_and_tells_no_ids_and_no_counts(door: TwoPopulations) -> None:
    assert door.join() == 0
    with door.ledger() as ledger:
        [entry] = (entry for entry in ledger.entries() if entry.kind == "disjoint")
    found = json.loads(entry.payload)
    kept = json.loads((door.site / LEDGER).parent.joinpath(COMMITMENTS_FILE).read_text())["datasets"]
    assert found["populations"] == [PATIENTS, VOLUNTEERS]
    assert found["datasets"] == {
        name: {"population": population, "unit_column": "record_id", "commitment": kept[name]["commitment"]}
        for name, population in (("cardiology", PATIENTS), ("volunteers", VOLUNTEERS))
    }
    assert set(found) == {"populations", "datasets", "register"}
    assert [path.name for path in (door.site / LEDGER).parent.glob("units-*")] == [
        f"units-{found['register']}.register"
    ]


def test_a_file_that_was_overwritten_in_place_and_given_its_old_time(door: TwoPopulations) -> None:
    """The door opens no data; inode, size and both times of change tell that the file was touched."""
    assert door.join() == 0
    path = door.data("volunteers")
    stat = path.stat()
    path.write_bytes(b"x" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert NOT_SHOWN in door.job("volunteers")


def test_a_new_commitment_serves_for_the_same_bytes_alone(door: TwoPopulations) -> None:
    site = load_kit(door.site / "kit")
    assert door.join() == 0
    os.utime(door.data("heart"), ns=(0, 0))
    assert NOT_SHOWN in door.job("cardiology")
    commit_site_data(site)
    assert door.job("cardiology") == ""
    add_line(door.data("heart"), line_of(door.data("volunteers")))
    commit_site_data(site)
    assert NOT_SHOWN in door.job("cardiology")


def test_a_file_that_changes_under_the_join(door: TwoPopulations, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real = door.kept(), unit_joins.read_unit_ids

    def slow(path: Path, column: str) -> list[str]:
        found = list(real(path, column))
        add_line(path, line_of(path))
        return found

    monkeypatch.setattr(unit_joins, "read_unit_ids", slow)
    assert door.join() == 2
    assert door.kept() == before


def test_a_data_set_without_a_unit_column(door: TwoPopulations, capsys: pytest.CaptureFixture[str]) -> None:
    config = door.site / "kit" / "local" / names.SITE_FILE
    edited(config, lambda fields: fields["datasets"]["volunteers"].pop("unit_column"))
    assert load_kit(door.site / "kit").config.datasets["volunteers"].unit_column is None
    assert door.join() == 2
    assert "data set volunteers: no unit_column → name the column" in capsys.readouterr().err


def test_plans_ask_the_account_of_the_jobs_data_set_and_the_last_join(
    door: TwoPopulations, heart_spec: JobSpec
) -> None:
    declarations, there = door.consortium.declarations, door.folder / "consortium"
    for site in set(declarations.consortium.sites) - {SITE}:
        (there / "sites" / site).symlink_to(door.consortium.site_folder(site))
    jobs = {name: heart_spec.model_copy(update={"dataset": name}) for name in ("cardiology", "volunteers")}

    def verdict(consortium: Path | None) -> str:
        answers = explain_job(jobs["cardiology"], SITE, declarations, consortium)
        return next(found.status for rule, found in answers if rule.name == "account.disjoint")

    assert (verdict(None), verdict(there)) == ("holds", "broken")
    assert door.join() == 0
    assert verdict(there) == "holds"
    assert door.job("volunteers", 1.0) == ""
    spent = {}
    for name, spec in jobs.items():
        planned = {decision.site: decision for decision in plan_job(spec, declarations, there)}
        spent[name] = planned[SITE].epsilon_spent
    assert spent["cardiology"] == 0.0
    assert spent["volunteers"] == door.accounts()[1].epsilon_spent > 0
