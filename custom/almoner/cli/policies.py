"""`almoner policy`: what a data officer asks of the policies before anybody else does."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from almoner import __version__
from almoner.admission.diff import policy_changes
from almoner.admission.lattice import Policy, verify_policies
from almoner.admission.policy_cases import CaseResult, Installation, run_case, uncovered
from almoner.admission.rule import UNSET, Rule, Verdict
from almoner.admission.rules import DOOR_RULES, RULES
from almoner.cli.app import console, new_group, print_json
from almoner.errors import DocumentError
from almoner.flare.commands.planning import explain_job
from almoner.flare.site.site_view import installed_workloads
from almoner.schema.declarations import (
    Declarations,
    declarations_of_study,
    load_all_declarations,
    load_declarations,
)
from almoner.schema.documents import field_lines, load_document, load_job, read_text
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.policy import ConsortiumPolicy, SitePolicy
from almoner.schema.policy_case import PolicyTests

app = new_group("Check, explain, compare and test the sites' policies.")

ROOT_OPTION = typer.Option("--root", help="the folder with provisioning/, policies/ and site_configs/")
JSON_OPTION = typer.Option("--json", help="print JSON for scripts")
SHOWN = {"holds": "holds", "broken": "BROKEN", "unset": "-"}


@app.command("check")
def check_command(
    root: Annotated[Path, ROOT_OPTION] = Path(),
    declared: Annotated[
        str | None, typer.Option("--declared", help="one consortium alone, by the name of its file in provisioning/")
    ] = None,
) -> None:
    """Check that every declaration is well formed and no site's policy is looser than its consortium's.

    Example: almoner policy check
    """
    checked = load_all_declarations(root) if declared is None else (load_declarations(root, declared),)
    for declarations in checked:
        verify_policies(root, declarations)
    for site, policy in ((site, policy) for found in checked for site, policy in found.policies.items()):
        several = len(policy.accounts) > 1
        caps = [
            f"ε ≤ {account.epsilon_cap:g}, δ = {account.delta:g} for life" + f" of {account.population}" * several
            for account in policy.accounts
        ]
        console.print(f"{site}: tightens the floor; {'; '.join(caps)}")


@app.command("explain")
def explain_command(
    spec_path: Annotated[Path, typer.Argument(help="a job, such as jobs/heart_disease.yaml")],
    site: Annotated[str, typer.Option("--site", help="whose policy")],
    root: Annotated[Path, ROOT_OPTION] = Path(),
    consortium: Annotated[
        Path | None, typer.Option("--consortium", help="a consortium on this machine, to ask its ledger and approvals")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="who would submit; the first lead if not given")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List every rule of a site with its verdict on a job, the figures, and the line of the policy behind it.

    Without --consortium the account is taken as untouched. Exit code 1 if the site would refuse.

    Example: almoner policy explain jobs/heart_disease.yaml --site cleveland
    """
    spec = load_job(spec_path)
    declarations = declarations_of_study(root, spec.study)
    asked = explain_job(spec, site, declarations, consortium, user)
    index = _account_index(spec, site, declarations)
    answers = [(replace(rule, field=rule.field.replace("accounts.0.", f"accounts.{index}.")), v) for rule, v in asked]
    path = declarations.policy_path(root, site)
    lines = field_lines(read_text(path), str(path), (rule.field for rule, _ in answers if rule.field))
    broken = [rule.name for rule, verdict in answers if verdict.status == "broken"]
    if as_json:
        rules = [_explained(rule, verdict, lines) for rule, verdict in answers]
        print_json({"site": site, "verdict": "refused" if broken else "admitted", "rules": rules})
    else:
        for rule, verdict in answers:
            behind = f"  ({path}:{lines[rule.field]})" if verdict is not UNSET and rule.field in lines else ""
            console.print(f"{SHOWN[verdict.status]:<7} {rule.name:<23} {verdict.finding}{behind}")
        console.print(f"only the site's door can check: {', '.join(DOOR_RULES)}")
        console.print(f"{site} would " + (f"refuse: {', '.join(broken)}" if broken else "admit"))
    if broken:
        raise typer.Exit(1)


def _account_index(spec: AnyJobSpec, site: str, declarations: Declarations) -> int:
    """Return which of a policy's accounts a job is charged to."""
    policy = declarations.policies[site]
    return policy.accounts.index(policy.account_of(declarations.sites[site].population_of(spec.dataset)))


def _explained(rule: Rule, verdict: Verdict, lines: dict[str, int]) -> dict[str, Any]:
    """Return one rule's answer for scripts."""
    return {
        "rule": rule.name,
        "about": rule.about,
        "verdict": verdict.status,
        "finding": verdict.finding,
        "remedy": verdict.remedy,
        "field": rule.field or None,
        "line": lines.get(rule.field),
    }


@app.command("diff")
def diff_command(
    before: Annotated[Path, typer.Argument(help="a policy, of a site or the consortium")],
    after: Annotated[Path, typer.Argument(help="the policy to compare it with")],
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Say in words what the second policy is tighter or looser in than the first.

    Example: almoner policy diff policies/consortium.yaml policies/cleveland.yaml
    """
    changes = policy_changes(_load_policy(before), _load_policy(after))
    if as_json:
        print_json([vars(change) for change in changes])
        return
    for change in changes:
        console.print(f"{change.effect:<8} {change.field}: {change.words}")
    if not changes:
        console.print("no difference")


def _load_policy(path: Path) -> Policy:
    """Read a site's policy or a consortium's floor, whichever the file says it is."""
    if re.search(r"^consortium:", read_text(path), re.MULTILINE):
        return load_document(path, ConsortiumPolicy)
    return load_document(path, SitePolicy)


@app.command("test")
def run_tests_command(
    root: Annotated[Path, ROOT_OPTION] = Path(), as_json: Annotated[bool, JSON_OPTION] = False
) -> None:
    """Run the tests beside the policies (policies/tests/*.yaml), and name the rules that no case exercises.

    Exit code 1 if a case is decided otherwise than it says, or a rule is not exercised.

    Example: almoner policy test
    """
    results = _run_tests(root)
    missing = uncovered(results)
    failed = [result for result in results if not result.passed]
    if as_json:
        cases = [{**vars(result), "passed": result.passed} for result in results]
        print_json({"cases": cases, "rules": len(RULES), "uncovered": missing})
    else:
        for result in failed:
            expected, got = (", ".join(rules) or "admitted" for rules in (result.expected, result.refused_by))
            console.print(f"FAILED  {result.name}: expected {expected}; got {got}")
        console.print(f"{len(results)} cases, {len(failed)} failed; rules: {len(RULES) - len(missing)} of {len(RULES)}")
        if missing:
            console.print(f"no case is refused by: {', '.join(missing)}")
    if failed or missing:
        raise typer.Exit(1)


def _run_tests(root: Path) -> list[CaseResult]:
    """Run all files of tests."""
    jobs = {path.stem: load_job(path) for path in sorted((root / "jobs").glob("*.yaml"))}
    made = {
        site: Installation(found, jobs, installed_workloads(), __version__)
        for found in load_all_declarations(root)
        for site in found.consortium.sites
    }
    files = sorted((root / "policies" / "tests").glob("*.yaml"))
    if not files:
        raise DocumentError(f"{root / 'policies' / 'tests'}: no tests → write one, see policies/README.md")
    results = []
    for path in files:
        tests = load_document(path, PolicyTests)
        policy = load_document(root / "policies" / tests.policy, SitePolicy)
        if policy.site not in made:
            where = root / "policies" / tests.policy
            raise DocumentError(f"{where}: site: no consortium has {policy.site} → one of {', '.join(made)}")
        for case in tests.cases:
            result = run_case(case, policy, made[policy.site])
            results.append(CaseResult(f"{path.name}: {result.name}", result.expected, result.refused_by))
    return results
