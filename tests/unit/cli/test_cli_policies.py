"""`almoner policy`: explain, diff, test, and the policies and examples of the checkout themselves."""

import json
import shutil
from pathlib import Path

import pytest
from cli_cases import Shell

from almoner.admission.lattice import loosenings, verify_tightens
from almoner.admission.rules import RULES
from almoner.schema.declarations import Declarations, load_declarations
from almoner.schema.documents import load_document
from almoner.schema.policy import Account, Limits, ManualApproval, Pause, Quotas, Require, SitePolicy
from almoner.schema.policy_allow import Allow, PurposeGrant, SubmitterRule, Window

JOB = Path("jobs") / "heart_disease.yaml"


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """The declarations of the checkout, to be edited."""
    for name in ("provisioning", "policies", "site_configs", "jobs"):
        shutil.copytree(root / name, tmp_path / name)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


class TestExplain:
    def test_every_rule_with_its_line(self, root: Path, almoner: Shell) -> None:
        outcome = almoner("policy", "explain", root / JOB, "--site", "cleveland", "--root", root)
        assert outcome.code == 0
        lines = outcome.out.splitlines()
        assert [line.split()[1] for line in lines[: len(RULES)]] == [rule.name for rule in RULES]
        behind = (root / "policies" / "cleveland.yaml").read_text().splitlines()
        shown = next(line for line in lines if " limits.max_rounds " in line)
        assert "20 rounds, at most 50" in shown
        assert "max_rounds: 50" in behind[int(shown.rpartition(":")[2].rstrip(")")) - 1]
        assert lines[-1] == "cleveland would admit"

    def test_a_refusal_is_marked_and_exits_with_1(self, checkout: Path, almoner: Shell) -> None:
        edit(checkout / JOB, "rounds: 20", "rounds: 60")
        outcome = almoner("policy", "explain", checkout / JOB, "--site", "hungary", "--root", checkout)
        assert outcome.code == 1
        assert "BROKEN  limits.max_rounds       60 rounds are more than 50" in outcome.out
        assert outcome.out.splitlines()[-1] == "hungary would refuse: limits.max_rounds"

    def test_as_json(self, root: Path, almoner: Shell) -> None:
        outcome = almoner("policy", "explain", root / JOB, "--site", "cleveland", "--root", root, "--json")
        shown = json.loads(outcome.out)
        assert shown["verdict"] == "admitted"
        by_name = {rule["rule"]: rule for rule in shown["rules"]}
        assert set(by_name) == {rule.name for rule in RULES}
        assert by_name["allow.studies"]["line"] == 14
        assert by_name["allow.windows"] | {"about": ""} == {
            "rule": "allow.windows", "about": "", "verdict": "unset", "finding": "not restricted", "remedy": "",
            "field": "allow.windows", "line": None,
        }  # fmt: skip

    def test_the_lines_are_those_of_the_account_that_is_charged(self, checkout: Path, almoner: Shell) -> None:
        path, config = checkout / "policies" / "cleveland.yaml", checkout / "site_configs" / "cleveland.yaml"
        shutil.copy(checkout / "policies" / "examples" / "two_populations.yaml", path)
        behind = path.read_text().splitlines()
        for population in ("cleveland-cardiology", "cleveland-volunteers"):
            outcome = almoner("policy", "explain", checkout / JOB, "--site", "cleveland", "--root", checkout, "--json")
            lines = {rule["rule"]: rule["line"] for rule in json.loads(outcome.out)["rules"]}
            caps = [number for number, line in enumerate(behind, 1) if "epsilon_cap" in line]
            assert lines["budget.remaining"] == caps[population == "cleveland-volunteers"]
            assert behind[lines["account.disjoint"] - 1] == "accounts:"
            if population == "cleveland-cardiology":
                edit(config, "population: cleveland-cardiology", "population: cleveland-volunteers")
        shown = almoner("policy", "check", "--root", checkout).out
        assert (
            "cleveland: tightens the floor; ε ≤ 3, δ = 0.0001 for life of cleveland-cardiology;"
            " ε ≤ 1, δ = 1e-05 for life of cleveland-volunteers\n"
        ) in shown

    def test_another_user(self, root: Path, almoner: Shell) -> None:
        arguments = ("policy", "explain", root / JOB, "--site", "hungary", "--root", root)
        assert almoner(*arguments, "--user", "trainee@hungary.example").code == 1

    def test_an_unknown_site(self, root: Path, almoner: Shell) -> None:
        outcome = almoner("policy", "explain", root / JOB, "--site", "basel", "--root", root)
        assert outcome.code == 2
        assert "site basel: not in the consortium → one of cleveland, hungary" in outcome.err


class TestDiff:
    def test_words(self, checkout: Path, almoner: Shell) -> None:
        before, after = checkout / "policies" / "cleveland.yaml", checkout / "after.yaml"
        shutil.copy(before, after)
        edit(after, "max_rounds: 50", "max_rounds: 20")
        edit(after, "min_noise_multiplier: 0.8", "min_noise_multiplier: 0.7")
        edit(after, "[{role: lead, orgs: [cleveland]}]", "[{role: lead, orgs: [hungary]}]")
        edit(after, "population: cleveland-cardiology", "population: all")
        assert almoner("policy", "diff", before, after).out.splitlines() == [
            "other    accounts.0.population: from cleveland-cardiology to all",
            "looser   limits.min_noise_multiplier: from at least 0.8 to at least 0.7",
            "tighter  limits.max_rounds: from at most 50 to at most 20",
            "mixed    allow.submitters: from only lead of cleveland to only lead of hungary; new: lead of hungary;"
            " gone: lead of cleveland",
        ]
        effects = [change["effect"] for change in json.loads(almoner("policy", "diff", after, before, "--json").out)]
        assert effects == ["other", "tighter", "looser", "mixed"]

    def test_with_the_floor(self, root: Path, almoner: Shell) -> None:
        floor, policy = root / "policies" / "consortium.yaml", root / "policies" / "cleveland.yaml"
        outcome = almoner("policy", "diff", floor, policy)
        assert outcome.out.startswith("tighter  allow.submitters: from only lead of cleveland, lead of hungary,")
        assert almoner("policy", "diff", policy, policy).out == "no difference\n"

    def test_no_policy(self, root: Path, almoner: Shell) -> None:
        outcome = almoner("policy", "diff", root / JOB, root / JOB)
        assert outcome.code == 2
        assert outcome.err.count("\n") == 1


class TestPolicyTests:
    def test_the_checkouts_cases_hold_and_exercise_every_rule(self, root: Path, almoner: Shell) -> None:
        outcome = almoner("policy", "test", "--root", root)
        assert outcome.code == 0, outcome.out
        assert outcome.out.endswith(f"0 failed; rules: {len(RULES)} of {len(RULES)}\n")

    def one_file(self, checkout: Path, cases: str) -> None:
        shutil.rmtree(checkout / "policies" / "tests")
        (checkout / "policies" / "tests").mkdir()
        (checkout / "policies" / "tests" / "one.yaml").write_text(
            f"schema_version: 1\npolicy: cleveland.yaml\ncases:\n{cases}"
        )

    def test_a_case_that_is_decided_otherwise(self, checkout: Path, almoner: Shell) -> None:
        cases = "  - {name: too long, change: {rounds: 51}, admitted: true}\n"
        self.one_file(checkout, cases + "  - {name: fine, refused_by: [limits.max_rounds]}\n")
        outcome = almoner("policy", "test", "--root", checkout)
        assert outcome.code == 1
        assert "FAILED  one.yaml: too long: expected admitted; got limits.max_rounds" in outcome.out
        assert "FAILED  one.yaml: fine: expected limits.max_rounds; got admitted" in outcome.out
        assert "2 cases, 2 failed; rules: 0 of" in outcome.out

    def test_rules_that_no_case_exercises_are_named(self, checkout: Path, almoner: Shell) -> None:
        self.one_file(checkout, "  - {name: too long, change: {rounds: 51}, refused_by: [limits.max_rounds]}\n")
        outcome = almoner("policy", "test", "--root", checkout)
        assert outcome.code == 1
        assert "1 cases, 0 failed; rules: 1 of" in outcome.out
        missing = json.loads(almoner("policy", "test", "--root", checkout, "--json").out)["uncovered"]
        assert set(missing) == {rule.name for rule in RULES} - {"limits.max_rounds"}

    @pytest.mark.parametrize(
        ("case", "problem"),
        [
            ("{name: a}", "one.yaml:4: cases.0: say either 'admitted: true' or 'refused_by: [...]'"),
            ("{name: a, job: other, admitted: true}", "case 'a': job other is not in jobs/ → one of bank_credit, "),
            ("{name: a, change: {rounds: -1}, admitted: true}", "case 'a': change.rounds: "),
            ("{name: a, submitter: b@c.de, admitted: true}", "case 'a': submitter b@c.de is not in provisioning/"),
        ],
    )
    def test_a_case_that_cannot_be_run(self, checkout: Path, almoner: Shell, case: str, problem: str) -> None:
        self.one_file(checkout, f"  - {case}\n")
        outcome = almoner("policy", "test", "--root", checkout)
        assert outcome.code == 2
        assert problem in outcome.err

    def test_no_tests(self, checkout: Path, almoner: Shell) -> None:
        shutil.rmtree(checkout / "policies" / "tests")
        assert almoner("policy", "test", "--root", checkout).code == 2


class TestThePage:
    """`policies/README.md` keeps what it says."""

    def test_every_field_is_explained(self, root: Path) -> None:
        page = (root / "policies" / "README.md").read_text()
        models = (SitePolicy, Account, Limits, Quotas, Pause, Allow, SubmitterRule, PurposeGrant, Window, Require)
        fields = {field for model in (*models, ManualApproval) for field in model.model_fields}
        assert {field for field in fields if field not in page} == {"extends"}

    def test_its_tests_hold(self, root: Path, checkout: Path, almoner: Shell) -> None:
        block = (root / "policies" / "README.md").read_text().rpartition("```yaml\n")[2].partition("```")[0]
        shutil.rmtree(checkout / "policies" / "tests")
        (checkout / "policies" / "tests").mkdir()
        (checkout / "policies" / "tests" / "page.yaml").write_text(block)
        outcome = almoner("policy", "test", "--root", checkout)
        assert outcome.out.startswith("3 cases, 0 failed"), outcome.out


class TestExamples:
    @pytest.mark.parametrize("name", ["strict", "research", "two_populations"])
    def test_these_tighten_the_floor(self, root: Path, declarations: Declarations, name: str) -> None:
        path = root / "policies" / "examples" / f"{name}.yaml"
        verify_tightens(load_document(path, SitePolicy), declarations.floor, str(path))

    def test_public_data_needs_a_floor_of_its_own(self, root: Path, declarations: Declarations) -> None:
        policy = load_document(root / "policies" / "examples" / "public_data.yaml", SitePolicy)
        assert {"accounts.0.epsilon_cap", "require.protection"} <= {
            found.field for found in loosenings(policy, declarations.floor)
        }

    def test_robust_needs_a_floor_of_its_own_for_that_alone(self, root: Path, declarations: Declarations) -> None:
        policy = load_document(root / "policies" / "examples" / "robust.yaml", SitePolicy)
        assert [found.field for found in loosenings(policy, declarations.floor)] == ["require.protection"]

    def test_large_sums_tightens_the_banks_floor(self, root: Path) -> None:
        policy = load_document(root / "policies" / "examples" / "large_sums.yaml", SitePolicy)
        assert loosenings(policy, load_declarations(root, "banks").floor) == []

    def test_each_is_tested_beside_the_policies(self, root: Path) -> None:
        examples = {path.name for path in (root / "policies" / "examples").glob("*.yaml")}
        assert examples == {
            f"{name}.yaml" for name in ("strict", "research", "public_data", "robust", "large_sums", "two_populations")
        }
        assert examples <= {path.name for path in (root / "policies" / "tests").glob("*.yaml")}
