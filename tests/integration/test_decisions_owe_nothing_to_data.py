"""Sites that differ in their data alone decide in the same bytes; only the commitment in their own books differs."""

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from tests.integration.test_deployer_refusals import LEAD, SITE, Door

from almoner import __version__
from almoner.flare.door.deployer import PolicyAppDeployer
from almoner.flare.door.render import new_envelope, render_app, render_meta
from almoner.flare.kits.provisioning import ProvisionedConsortium
from almoner.flare.site.dataset_commitments import commit_site_data
from almoner.flare.site.site_files import LEDGER, load_kit
from almoner.privacy.ledger import Entry, Ledger
from almoner.schema.base import digest
from almoner.schema.job import JobSpec
from almoner.workloads.installed import package_digest

Edit = Callable[[list[str]], list[str]]


def infinite(lines: list[str]) -> list[str]:
    """Put an infinite value into the first record's first feature."""
    fields = lines[1].split(",")
    return [lines[0], ",".join([*fields[:2], "inf", *fields[3:]]), *lines[2:]]


def longer(lines: list[str]) -> list[str]:
    """Add a record under another id."""
    return [*lines, "another," + lines[1].partition(",")[2]]


DATA: dict[str, Edit | None] = {
    "as it is": lambda lines: lines,
    "an infinite feature": infinite,
    "no record": lambda lines: lines[:1],
    "a record more": longer,
    "no table": lambda lines: ["\0"],
    "no file": None,
}
Submission = tuple[str, bytes, dict[str, Any]]


@pytest.fixture(scope="module")
def submissions(
    consortium: ProvisionedConsortium, heart_spec: JobSpec, tmp_path_factory: pytest.TempPathFactory
) -> list[Submission]:
    """Jobs to be admitted and refused in different ways, signed once, so that every site is shown the same bytes."""
    door = Door(consortium, tmp_path_factory.mktemp("signed"))
    privacy = heart_spec.privacy.model_copy(update={"target_epsilon": 9.0})
    specs = [
        heart_spec,
        heart_spec.model_copy(update={"privacy": privacy}),
        heart_spec.model_copy(update={"dataset": "oncology", "workload": "other", "rounds": 99}),
    ]
    envelopes = [new_envelope(spec, consortium.declarations.consortium.sites) for spec in specs]
    apps = [(render_app(envelope), render_meta(envelope), LEAD) for envelope in envelopes]
    apps.append((apps[0][0] | {"custom/code.py": b"1"}, apps[0][1], LEAD))
    apps.append((apps[0][0], apps[0][1], "trainee@hungary.example"))
    made = [
        (str(uuid.uuid4()), door.sign(files, consortium.user_kit(user) / "startup"), meta) for files, meta, user in apps
    ]
    return [*made, (str(uuid.uuid4()), b"no zip", apps[0][1]), (str(uuid.uuid4()), made[0][1], apps[0][1])]


def ask(site: Path, submissions: list[Submission]) -> tuple[list[str], tuple[Entry, ...]]:
    """Show a site all jobs; return what their submitters read, and the entries that it made."""
    workspace, deployer = Workspace(str(site / "kit"), SITE), PolicyAppDeployer()
    answers = [
        deployer.deploy(workspace, job, {"job_id": job, "study": "cardiology", **meta}, "app", data, FLContext())
        for job, data, meta in submissions
    ]
    with Ledger.open(site / LEDGER) as ledger:
        ledger.verify()
        return answers, ledger.entries()


@pytest.fixture(scope="module")
def outcomes(
    consortium: ProvisionedConsortium, submissions: list[Submission], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[list[str], tuple[Entry, ...]]]:
    """What each of the sites answers and writes down; all are copies of one, with other data."""
    found = {}
    for number, (name, edit) in enumerate(DATA.items()):
        site = tmp_path_factory.mktemp("site") / str(number)
        shutil.copytree(consortium.site_folder(SITE), site)
        path = site / load_kit(site / "kit").config.datasets["cardiology"].path
        if edit is None:
            path.unlink()
        else:
            path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")
            commit_site_data(load_kit(site / "kit"))
        found[name] = ask(site, submissions)
    return found


ITS_OWN = ("dataset_commitment", "signature")
"""What may differ in the site's own book; signatures are randomised, and over the commitment too."""


def payloads(entries: tuple[Entry, ...], *without: str) -> list[tuple[str, dict[str, Any]]]:
    """Return kinds and payloads of what jobs caused, in order."""
    read = [(entry.kind, json.loads(entry.payload)) for entry in entries if entry.kind != "remark"]
    return [(kind, {key: value for key, value in fields.items() if key not in without}) for kind, fields in read]


@pytest.mark.threat("T-31")
def test_answers_and_entries_are_the_same_but_for_the_commitment(
    outcomes: dict[str, tuple[list[str], tuple[Entry, ...]]],
) -> None:
    answers, entries = outcomes["as it is"]
    assert answers[0] == ""
    for rule in ("limits.epsilon_per_job", "workload.known", "render.identical", "submitter.role", "job.unreadable"):
        assert any(rule in answer for answer in answers)
    for name in DATA:
        assert outcomes[name][0] == answers, name
        assert payloads(outcomes[name][1], *ITS_OWN) == payloads(entries, *ITS_OWN), name


def test_commitments_differ_and_are_in_no_answer(outcomes: dict[str, tuple[list[str], tuple[Entry, ...]]]) -> None:
    seen = {}
    for name, (answers, entries) in outcomes.items():
        decisions = [fields for kind, fields in payloads(entries) if kind == "decision"]
        seen[name] = decisions[0]["dataset_commitment"]
        assert all(seen[name] not in answer for answer in answers if seen[name])
    assert seen.pop("no file") == ""
    assert len(set(seen.values())) == len(seen)
    assert all(len(commitment) == 64 for commitment in seen.values())


def test_every_decision_names_job_policy_package_and_data(
    outcomes: dict[str, tuple[list[str], tuple[Entry, ...]]],
    consortium: ProvisionedConsortium,
    submissions: list[Submission],
) -> None:
    read = payloads(outcomes["as it is"][1])
    decisions = [fields for kind, fields in read if kind == "decision"]
    assert [fields["job_id"] for fields in decisions] == [job for job, _, _ in submissions]
    policy = digest(consortium.declarations.policies[SITE])
    for fields in decisions:
        assert fields["policy_digest"] == policy
        assert fields["package"] == {"version": __version__, "digest": package_digest()}
        unread = any(violation["rule"] == "job.unreadable" for violation in fields["violations"])
        assert unread == (fields["job_digest"] == "") == (fields["envelope_digest"] == "")
    assert (decisions[0]["study"], decisions[0]["submitter"]) == ("cardiology", LEAD)


def test_the_policy_is_recorded_once_before_the_first_decision_and_again_when_it_changes(
    outcomes: dict[str, tuple[list[str], tuple[Entry, ...]]],
    consortium: ProvisionedConsortium,
    submissions: list[Submission],
    tmp_path: Path,
) -> None:
    policy = digest(consortium.declarations.policies[SITE])
    kinds = [kind for kind, _ in payloads(outcomes["as it is"][1])]
    assert kinds.count("policy") == 1
    assert kinds.index("policy") < kinds.index("decision")
    shutil.copytree(consortium.site_folder(SITE), tmp_path / "site")
    ask(tmp_path / "site", submissions[1:2])
    path = tmp_path / "site" / "kit" / "local" / "almoner_policy.yaml"
    path.write_text(path.read_text().replace('"max_rounds": 50', '"max_rounds": 49'))
    _, entries = ask(tmp_path / "site", submissions[2:3])
    first, second = (fields for kind, fields in payloads(entries) if kind == "policy")
    assert (first["old"], first["new"]) == ("", policy)
    assert (second["old"], second["new"]) == (policy, digest(load_kit(tmp_path / "site" / "kit").policy))
    assert first["signed_by"] == consortium.root_fingerprint
    assert entries[-1].kind == "decision"
