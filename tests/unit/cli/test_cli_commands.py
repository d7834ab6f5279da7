"""Exit codes and output: 0 done, 1 refused, 2 an error that is one line on stderr; JSON where it is asked for."""

import json
import os
import shutil
import stat
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_cases import Outcome, Shell
from tests.unit.provision.kit_cases import make_key, self_signed

from almoner import __version__
from almoner.cli import app as app_module
from almoner.cli import operate
from almoner.cli.app import run_or_exit
from almoner.errors import AlmonerError
from almoner.privacy.ledger import Ledger, Reservation
from almoner.privacy.plan import PlannedStep
from almoner.schema.declarations import Declarations
from almoner.schema.documents import DOCUMENTS
from almoner.schema.receipt import DistributedGaussian, SampledGaussian

JOB = "jobs/heart_disease.yaml"


def is_one_line_error(outcome: Outcome) -> bool:
    text = outcome.err.removesuffix("\n")
    return outcome.code == 2 and outcome.out == "" and text.startswith("error: ") and text.isprintable()


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of the checkout's declarations and jobs, to be damaged."""
    for folder in ("provisioning", "policies", "site_configs", "jobs"):
        shutil.copytree(root / folder, tmp_path / folder)
    return tmp_path


@pytest.fixture
def site(tmp_path: Path, declarations: Declarations) -> Path:
    """A site's folder with an opened ledger."""
    folder = tmp_path / "cleveland"
    (folder / "ledger").mkdir(parents=True, mode=0o700)
    with Ledger.create(folder / "ledger" / "ledger.sqlite", "cleveland") as ledger:
        ledger.open_account(declarations.policies["cleveland"].accounts[0])
    return folder


def test_version(almoner: Shell) -> None:
    assert almoner("version") == Outcome(0, f"almoner {__version__}\n", "")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schemas_are_json(name: str, almoner: Shell) -> None:
    outcome = almoner("schema", name)
    assert outcome.code == 0
    schema = json.loads(outcome.out)
    assert schema.get("additionalProperties") is False or name == "job"
    kinds = [schema["$defs"][one["$ref"].split("/")[-1]] for one in schema.get("oneOf", [])]
    assert len(kinds) == (3 if name == "job" else 0), "a job is one of three kinds"
    assert all(kind["additionalProperties"] is False for kind in kinds)


def test_unknown_schema(almoner: Shell) -> None:
    outcome = almoner("schema", "nothing")
    assert is_one_line_error(outcome)
    assert "schema nothing: not a document → one of job, envelope, policy" in outcome.err


class TestPolicy:
    def test_good(self, copy: Path, almoner: Shell) -> None:
        outcome = almoner("policy", "check", "--root", copy)
        assert outcome.code == 0
        assert "va-long-beach: tightens the floor; ε ≤ 3, δ = 0.0001 for life" in outcome.out
        assert outcome.err == ""

    def test_looser_than_the_floor(self, copy: Path, almoner: Shell) -> None:
        path = copy / "policies" / "hungary.yaml"
        path.write_text(path.read_text().replace("max_rounds: 50", "max_rounds: 51"))
        outcome = almoner("policy", "check", "--root", copy)
        assert is_one_line_error(outcome)
        assert f"{path}: limits.max_rounds: 51 is looser than the consortium's floor (at most 50)" in outcome.err

    def test_nothing_is_called_good_before_all_are(self, copy: Path, almoner: Shell) -> None:
        path = copy / "policies" / "va-long-beach.yaml"
        path.write_text(path.read_text().replace("max_rounds: 50", "max_rounds: 51"))
        assert "tightens" not in almoner("policy", "check", "--root", copy).out

    def test_malformed(self, copy: Path, almoner: Shell) -> None:
        path = copy / "policies" / "hungary.yaml"
        path.write_text(path.read_text() + "[bold]x[/bold]: 1\n")
        outcome = almoner("policy", "check", "--root", copy)
        assert is_one_line_error(outcome)
        assert f"{path}:" in outcome.err

    def test_missing_folder(self, tmp_path: Path, almoner: Shell) -> None:
        outcome = almoner("policy", "check", "--root", tmp_path)
        assert is_one_line_error(outcome)
        assert (
            "provisioning/consortium.yaml: there is none → run this in a checkout, or name one by --root" in outcome.err
        )

    def test_all_declared_consortia_are_checked_or_one(self, copy: Path, almoner: Shell) -> None:
        path = copy / "policies" / "banks" / "bank-04.yaml"
        path.write_text(path.read_text().replace("max_rounds: 50", "max_rounds: 51"))
        for arguments in ((), ("--declared", "banks")):
            outcome = almoner("policy", "check", "--root", copy, *arguments)
            assert is_one_line_error(outcome)
            assert f"{path}: limits.max_rounds: 51 is looser" in outcome.err
        outcome = almoner("policy", "check", "--root", copy, "--declared", "consortium")
        assert outcome.code == 0
        assert "hungary: tightens" in outcome.out
        assert "bank-" not in outcome.out

    def test_an_undeclared_consortium(self, copy: Path, almoner: Shell) -> None:
        for arguments in (("policy", "check"), ("provision", "--out", copy / "out")):
            outcome = almoner(*arguments, "--root", copy, "--declared", "bank")
            assert is_one_line_error(outcome)
            assert "declares no consortium 'bank' → one of consortium, alignment, banks, census" in outcome.err


class TestJob:
    @pytest.mark.parametrize("name", ["bank_credit", "bank_credit_plain", "bank_credit_secure"])
    def test_a_job_of_another_consortium(self, root: Path, almoner: Shell, name: str) -> None:
        outcome = almoner("job", "plan", root / "jobs" / f"{name}.yaml", "--root", root, "--json")
        assert outcome.code == 0, outcome.err
        decisions = json.loads(outcome.out)
        assert [(decision["site"], decision["verdict"]) for decision in decisions] == [
            (f"bank-{number:02}", "admitted") for number in range(1, 11)
        ]

    def test_the_policy_behind_a_rule_is_the_consortiums(self, root: Path, almoner: Shell) -> None:
        job = root / "jobs" / "bank_credit.yaml"
        outcome = almoner("policy", "explain", job, "--site", "bank-02", "--root", root)
        assert outcome.code == 0
        assert f"({root / 'policies' / 'banks' / 'bank-02.yaml'}:" in outcome.out

    def test_a_study_of_nobody(self, copy: Path, almoner: Shell) -> None:
        path = copy / "jobs" / "bank_credit.yaml"
        path.write_text(path.read_text().replace("study: credit", "study: debts"))
        outcome = almoner("job", "plan", path, "--root", copy)
        assert is_one_line_error(outcome)
        assert "no consortium has study 'debts' → one of cardiology, alignment, credit, census" in outcome.err

    def test_plan(self, root: Path, almoner: Shell) -> None:
        outcome = almoner("job", "plan", root / JOB, "--root", root)
        assert outcome.code == 0
        assert outcome.out.count("admitted by ") == 4
        assert "20 steps a site" in outcome.out

    def test_plan_as_json(self, root: Path, almoner: Shell) -> None:
        outcome = almoner("job", "plan", root / JOB, "--root", root, "--json")
        assert outcome.code == 0
        assert [decision["verdict"] for decision in json.loads(outcome.out)] == ["admitted"] * 4

    def test_a_refused_plan_exits_with_1(self, root: Path, almoner: Shell) -> None:
        arguments = ("job", "plan", root / JOB, "--root", root, "--user", "trainee@hungary.example")
        outcome = almoner(*arguments)
        assert outcome.code == 1
        assert "refused by hungary: job heart-disease asks training ε=1.00" in outcome.out
        assert (
            "  submitter.role     trainee@hungary.example is trainee of hungary; admitted are [lead of" in outcome.out
        )
        assert "Traceback" not in outcome.err
        as_json = almoner(*arguments, "--json")
        assert as_json.code == 1
        assert {decision["verdict"] for decision in json.loads(as_json.out)} == {"refused"}

    def test_export(self, root: Path, tmp_path: Path, almoner: Shell) -> None:
        outcome = almoner("job", "export", root / JOB, "--root", root, "--out", tmp_path / "jobs")
        assert outcome.code == 0
        assert (Path(outcome.out.strip()) / "meta.json").is_file()

    def test_brackets_in_a_path_are_not_taken_for_markup(self, root: Path, tmp_path: Path, almoner: Shell) -> None:
        out = tmp_path / "[bold]jobs[/bold]"
        outcome = almoner("job", "export", root / JOB, "--root", root, "--out", out)
        assert Path(outcome.out.strip()).parent == out
        assert (Path(outcome.out.strip()) / "meta.json").is_file()

    @pytest.mark.parametrize("command", ["plan", "export"])
    def test_a_bad_spec(self, command: str, copy: Path, almoner: Shell) -> None:
        path = copy / JOB
        path.write_text(path.read_text().replace("target_epsilon: 1.0", "target_epsilon: .nan"))
        outcome = almoner("job", command, path, "--root", copy)
        assert is_one_line_error(outcome)
        assert f"{path}:15: privacy.target_epsilon: Input should be a finite number" in outcome.err

    def test_a_target_that_no_noise_meets(self, copy: Path, almoner: Shell) -> None:
        path = copy / JOB
        text = path.read_text().replace("target_epsilon: 1.0", "target_epsilon: 0.01")
        path.write_text(text.replace("target_delta: 1.0e-4", "target_delta: 1.0e-10"))
        outcome = almoner("job", "plan", path, "--root", copy)
        assert is_one_line_error(outcome)
        assert "cannot be met" in outcome.err

    @pytest.mark.parametrize("command", [("list",), ("watch", "some-id"), ("result", "some-id")])
    def test_without_a_kit(self, command: tuple[str, ...], tmp_path: Path, almoner: Shell) -> None:
        outcome = almoner("job", *command, "--kit", tmp_path)
        assert is_one_line_error(outcome)
        assert "not a user's startup kit" in outcome.err

    def test_submit_without_a_kit(self, root: Path, tmp_path: Path, almoner: Shell) -> None:
        before = Path.cwd()
        outcome = almoner("job", "submit", root / JOB, "--root", root, "--kit", tmp_path)
        assert is_one_line_error(outcome)
        assert Path.cwd() == before


@pytest.fixture
def job(site: Path) -> str:
    """A started job of two rounds, the first of them committed."""
    event = SampledGaussian(kind="sampled_gaussian", noise_multiplier=4.0, sampling_prob=0.5, count=10)
    job_id = str(uuid.UUID(int=1))
    reservation = Reservation(
        job_id=job_id,
        nonce="1" * 32,
        envelope_digest="a" * 64,
        tree_digest="b" * 64,
        population="cleveland-cardiology",
        privacy_unit="patient",
        neighboring_relation="add_or_remove_one",
        steps=tuple(PlannedStep(f"train-{number:04d}", (event,)) for number in (1, 2)),
    )
    with Ledger.open(site / "ledger" / "ledger.sqlite") as ledger:
        ledger.reserve(reservation)
        ledger.start(job_id, "b" * 64)
        ledger.commit(job_id, "train-0001")
    return job_id


class TestLedger:
    def test_show(self, site: Path, almoner: Shell) -> None:
        for target in (site, site / "ledger" / "ledger.sqlite"):
            outcome = almoner("ledger", "show", target)
            assert outcome.code == 0
            assert "cleveland-cardiology" in outcome.out
            assert "account-opened" in outcome.out

    def test_show_as_json(self, site: Path, almoner: Shell) -> None:
        shown = json.loads(almoner("ledger", "show", site, "--json", "--last", "1").out)
        assert shown["accounts"][0]["epsilon_spent"] == 0.0
        assert shown["accounts"][0]["epsilon_cap"] == 3.0
        assert [entry["kind"] for entry in shown["entries"]] == ["account-opened"]
        assert shown["head"]["seq"] == 2
        assert shown["head"]["hash"] == shown["entries"][0]["hash"]

    def test_verify(self, site: Path, almoner: Shell) -> None:
        assert "ledger verifies: 2 entries, head " in almoner("ledger", "verify", site).out
        assert json.loads(almoner("ledger", "verify", site, "--json").out)["ok"] is True

    @pytest.mark.parametrize("command", ["show", "verify"])
    def test_missing(self, command: str, tmp_path: Path, almoner: Shell) -> None:
        outcome = almoner("ledger", command, tmp_path)
        assert is_one_line_error(outcome)
        assert "the ledger is missing" in outcome.err

    def test_report(self, site: Path, job: str, almoner: Shell) -> None:
        (row,) = json.loads(almoner("ledger", "report", site, "--json").out)
        fixed = row["as if fixed in advance"]
        assert row["claim"]["epsilon_committed"] < row["claim"]["epsilon_spent"] < row["epsilon_cap"]
        assert 0 < fixed["pld_epsilon"] < row["claim"]["epsilon_spent"]
        assert 0 < fixed["attack_advantage"] < 1
        assert list(fixed["attack_true_positive_rates"]) == ["0.001", "0.01", "0.1"]
        (line,) = row["statement"]
        assert (line["steps_committed"], line["steps_planned"]) == (1, 2)
        assert line["epsilon_after"] == row["claim"]["epsilon_spent"]
        text = almoner("ledger", "report", site).out
        assert "what drew on cleveland-cardiology" in text
        assert "ε, the claim" in text
        assert "as if fixed in advance" in text

    def test_export(self, site: Path, job: str, almoner: Shell) -> None:
        entries = json.loads(almoner("ledger", "export", site).out)
        assert [entry["kind"] for entry in entries] == [
            "created", "account-opened", "reserved", "started", "committed",
        ]  # fmt: skip
        (account,) = json.loads(almoner("ledger", "export", site, "--events").out)
        assert account["spent"]["event"]["class"] == "ComposedDpEvent"
        assert account["committed"]["event"]["events"][0]["count"] == 10
        assert account["spent"]["rdp"] == 2 * account["committed"]["rdp"]
        assert (account["spent"]["accountants"], account["spent"]["assumptions"]) == (["rdp", "pld"], [])

    def test_export_says_what_shared_noise_rests_on(self, site: Path, job: str, almoner: Shell) -> None:
        event = DistributedGaussian(
            kind="distributed_gaussian",
            noise_multiplier=4.0,
            sampling_prob=0.5,
            count=1,
            assumption="2 of 4 keep theirs",
        )
        reservation = Reservation(
            job_id=str(uuid.UUID(int=2)),
            nonce="2" * 32,
            envelope_digest="a" * 64,
            tree_digest="b" * 64,
            population="cleveland-cardiology",
            privacy_unit="patient",
            neighboring_relation="add_or_remove_one",
            steps=(PlannedStep("train-0001", (event,)),),
        )
        with Ledger.open(site / "ledger" / "ledger.sqlite") as ledger:
            ledger.reserve(reservation)
        (account,) = json.loads(almoner("ledger", "export", site, "--events").out)
        assert account["spent"]["accountants"] == ["rdp"]
        assert account["spent"]["assumptions"] == ["2 of 4 keep theirs"]
        assert account["committed"]["accountants"] == ["rdp", "pld"]

    def test_backup(self, site: Path, tmp_path: Path, almoner: Shell) -> None:
        target = tmp_path / "copy.sqlite"
        assert "backed up to" in almoner("ledger", "backup", site, target).out
        assert almoner("ledger", "verify", target).code == 0
        assert is_one_line_error(almoner("ledger", "backup", site, target))

    def test_abandon_and_reconcile(self, site: Path, job: str, almoner: Shell) -> None:
        assert f"job {job} is started" in almoner("ledger", "show", site).out
        assert is_one_line_error(almoner("ledger", "reconcile", site, job, "--reason", "the machine lost power"))
        assert "stays charged" in almoner("ledger", "abandon", site, job, "--reason", "the machine lost power").out
        shown = json.loads(almoner("ledger", "show", site, "--json").out)
        assert shown["open_jobs"] == [{"job_id": job, "status": "abandoned"}]
        assert "given back" in almoner("ledger", "reconcile", site, job, "--reason", "the machine lost power").out
        shown = json.loads(almoner("ledger", "show", site, "--json").out)
        assert [entry["kind"] for entry in shown["entries"]][-2:] == ["abandoned", "reconciled"]

    def test_damaged(self, site: Path, almoner: Shell) -> None:
        path = site / "ledger" / "ledger.sqlite"
        path.write_bytes(b"not a ledger" * 1000)
        assert is_one_line_error(almoner("ledger", "verify", site))

    def test_open_to_others(self, site: Path, almoner: Shell) -> None:
        path = site / "ledger" / "ledger.sqlite"
        path.chmod(path.stat().st_mode | stat.S_IRGRP)
        outcome = almoner("ledger", "show", site, "--json")
        assert is_one_line_error(outcome)
        assert "open to other users → chmod 600 ledger.sqlite" in outcome.err


class TestOperator:
    def test_status_without_a_kit(self, tmp_path: Path, almoner: Shell) -> None:
        assert is_one_line_error(almoner("status", "--kit", tmp_path))

    @pytest.mark.threat("T-158")
    def test_status_warns_before_it_logs_in(
        self, tmp_path: Path, almoner: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "startup").mkdir()
        (tmp_path / "startup" / "rootCA.pem").write_bytes(self_signed(make_key()))
        monkeypatch.setattr(operate.time, "time", lambda: datetime(2123, 12, 1, tzinfo=UTC).timestamp())
        warning, error = almoner("status", "--kit", tmp_path).err.splitlines()
        assert warning.startswith("warning: certificates run out: the root on 2123-12-08 (in 7 days) → ")
        assert error.startswith("error: ")

    def test_up_without_a_consortium(self, tmp_path: Path, root: Path, almoner: Shell) -> None:
        outcome = almoner("up", tmp_path, "--root", root)
        assert is_one_line_error(outcome)
        assert f"{tmp_path}: no provisioned consortium → almoner provision --out {tmp_path}" in outcome.err

    def test_provision_never_into_an_existing_folder(self, tmp_path: Path, root: Path, almoner: Shell) -> None:
        outcome = almoner("provision", "--root", root, "--out", tmp_path)
        assert is_one_line_error(outcome)
        assert "exists already → give a new folder" in outcome.err
        assert list(tmp_path.iterdir()) == []

    def test_provision_never_with_a_loose_policy(self, copy: Path, almoner: Shell) -> None:
        path = copy / "policies" / "hungary.yaml"
        path.write_text(path.read_text().replace("epsilon_cap: 3.0", "epsilon_cap: 3.1"))
        outcome = almoner("provision", "--root", copy, "--out", copy / "out")
        assert is_one_line_error(outcome)
        assert "accounts.0.epsilon_cap: 3.1 is looser" in outcome.err
        assert not (copy / "out").exists()

    def test_a_kit_that_is_not_signed_does_not_start(self, tmp_path: Path, almoner: Shell) -> None:
        environment, folder = dict(os.environ), Path.cwd()
        outcome = almoner("site", "start", tmp_path)
        assert is_one_line_error(outcome)
        assert "this is not a complete startup kit" in outcome.err
        assert dict(os.environ) == environment
        assert Path.cwd() == folder


@pytest.mark.parametrize(
    "arguments",
    [("no-such-command",), ("job", "no-such"), ("job", "plan"), ("job", "plan", "x", "--no-such"), ("job", "list"),
     ("ledger", "show", "x", "--last", "0"), ("provision", "--out", "x", "--port", "80")],
)  # fmt: skip
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...], almoner: Shell) -> None:
    outcome = almoner(*arguments)
    assert outcome.code == 2
    assert "Usage: " in outcome.err
    assert "Traceback" not in outcome.err


class TestFailing:
    def run(self, error: BaseException, capsys: pytest.CaptureFixture[str]) -> Outcome:
        def command() -> None:
            raise error

        with pytest.raises(SystemExit) as caught:
            run_or_exit(command)
        out, err = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Outcome(caught.value.code, out, err)

    @pytest.mark.parametrize("kind", [AlmonerError, *AlmonerError.__subclasses__()])
    def test_every_error_of_ours_is_one_line(
        self, kind: type[AlmonerError], capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = "f.yaml:1: [bold]field[/bold]: " + "long " * 100
        assert self.run(kind(text), capsys) == Outcome(2, "", f"error: {text}\n")

    def test_interrupts(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run(KeyboardInterrupt(), capsys) == Outcome(130, "", "interrupted\n")

    def test_files_of_another_user(self, capsys: pytest.CaptureFixture[str]) -> None:
        outcome = self.run(PermissionError(13, "Permission denied", "/srv/site/ledger"), capsys)
        said = "error: /srv/site/ledger: Permission denied → run it as the user whose files these are\n"
        assert outcome == Outcome(2, "", said)

    def test_bugs_are_not_hidden(self) -> None:
        def command() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            run_or_exit(command)

    def test_success_does_not_exit(self) -> None:
        run_or_exit(lambda: None)

    def test_json_keeps_greek_and_sorts(self, capsys: pytest.CaptureFixture[str]) -> None:
        app_module.print_json({"b": "ε", "a": 1})
        assert capsys.readouterr().out == '{\n  "a": 1,\n  "b": "ε"\n}\n'

    def test_json_has_no_nan(self, capsys: pytest.CaptureFixture[str]) -> None:
        app_module.print_json({"a": [float("nan"), (1.5, float("inf"))]})
        assert json.loads(capsys.readouterr().out) == {"a": [None, [1.5, None]]}


def test_the_installed_command_is_the_same(tmp_path: Path) -> None:
    """One run as a process of its own: exit code, streams and no traceback."""
    run = subprocess.run(
        [sys.executable, "-m", "almoner.cli.main", "policy", "check", "--root", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1
