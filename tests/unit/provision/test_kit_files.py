"""The hardened `local/` files, read by FLARE's own parsers: nothing is open that should be shut."""

import importlib
import inspect
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvflare.fuel.sec.authz import Authorizer, AuthzContext, Person
from nvflare.private.fed.server.job_cmds import JobCommandModule
from nvflare.security.security import FLAuthorizer

from almoner.provision import kit_files, names
from almoner.schema.consortium import ROLES, Consortium
from almoner.schema.declarations import Declarations

RIGHTS = ("submit_job", "manage_job", "download_job", "view")
NEVER = ("byoc", "shell_commands", "clone_job", "server-predeployed-flwr")


def class_at(path: str) -> type:
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert inspect.isclass(found)
    return found


def paths_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["path"]] if isinstance(value.get("path"), str) else []
        return own + [path for inner in value.values() for path in paths_in(inner)]
    return [path for inner in value for path in paths_in(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize(
    "render", [kit_files.render_site_resources, kit_files.render_server_resources, kit_files.render_privacy]
)
def test_every_class_that_is_named_exists_and_takes_its_arguments(render: Any) -> None:
    rendered = render()
    assert json.loads(json.dumps(rendered)) == rendered
    assert paths_in(rendered)
    for path in paths_in(rendered):
        class_at(path)
    for component in rendered.get("components", []):
        inspect.signature(class_at(component["path"])).bind(**component["args"])


@pytest.mark.threat("T-06")
def test_sites_load_no_class_but_our_executor_and_stream_no_logs() -> None:
    resources = kit_files.render_site_resources()
    assert resources["class_list_enforcement_mode"] == "enforce"
    assert resources["class_allow_list"] == [names.EXECUTOR]
    assert resources["allow_log_streaming"] is False
    by_id = {component["id"]: component["path"] for component in resources["components"]}
    assert by_id["process_launcher"] == names.LAUNCHER
    assert by_id["app_deployer"] == names.DEPLOYER


def test_the_server_loads_no_class_but_our_controller_and_keeps_nothing_in_tmp() -> None:
    resources = kit_files.render_server_resources()
    assert resources["class_list_enforcement_mode"] == "enforce"
    assert resources["class_allow_list"] == [names.CONTROLLER]
    assert resources["app_validator"]["path"] == names.APP_VALIDATOR
    assert "/tmp" not in json.dumps(resources)


def test_there_is_one_privacy_scope_with_our_filters_in_order() -> None:
    privacy = kit_files.render_privacy()
    [scope] = privacy["scopes"]
    assert scope["name"] == privacy["default_scope"] == names.SCOPE
    assert [entry["path"] for entry in scope["task_result_filters"]] == [
        "almoner.flare.components.filters.BudgetFilter",
        "almoner.flare.components.filters.ProtectionFilter",
        "almoner.flare.components.filters.EgressFilter",
    ]
    assert all(entry["direction"] == "out" for entry in scope["task_result_filters"])
    assert scope["task_data_filters"] == []


def allowed(policy: dict[str, Any], role: str, right: str, user_org: str = "a", site_org: str = "a") -> bool:
    """Ask FLARE's own authorizer."""
    authorizer = Authorizer(site_org=site_org)
    assert not authorizer.load_policy(policy)
    user = Person(name="user@a.example", org=user_org, role=role)
    permitted, _ = authorizer.authorize(AuthzContext(right=right, user=user, submitter=user))
    return bool(permitted)


@pytest.mark.parametrize("role", [*ROLES, "trainee", "stranger"])
@pytest.mark.parametrize("right", NEVER)
def test_nobody_has_a_shell_brings_code_or_clones_jobs(declarations: Declarations, role: str, right: str) -> None:
    assert not allowed(kit_files.render_authorization(declarations.consortium), role, right)


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        ("project_admin", {"manage_job", "view", "operate"}),
        ("org_admin", {"manage_job", "view", "operate"}),
        ("lead", {"submit_job", "manage_job", "download_job", "view"}),
        ("member", {"view"}),
        ("trainee", {"submit_job", "view"}),
        ("stranger", set()),
    ],
)
def test_rights_by_role(declarations: Declarations, role: str, rights: set[str]) -> None:
    policy = kit_files.render_authorization(declarations.consortium)
    assert {right for right in (*RIGHTS, "operate") if allowed(policy, role, right)} == rights


def test_org_admins_operate_their_own_site_only(declarations: Declarations) -> None:
    policy = kit_files.render_authorization(declarations.consortium)
    assert not allowed(policy, "org_admin", "operate", user_org="b", site_org="a")


@settings(max_examples=30)
@given(st.dictionaries(st.from_regex(r"\A[a-z]{3,8}x\Z"), st.sets(st.sampled_from(RIGHTS)), max_size=3))
def test_roles_of_the_consortium_get_what_they_list_and_no_more(roles: dict[str, set[str]]) -> None:
    consortium = Consortium.model_validate(
        {
            "schema_version": 1,
            "name": "c",
            "server": {"host": "localhost", "org": "s"},
            "sites": ("a",),
            "users": ({"name": "lead@a.example", "org": "a", "role": "lead"},),
            "roles": {role: tuple(sorted(rights)) for role, rights in roles.items()},
            "studies": {},
        }
    )
    policy = kit_files.render_authorization(consortium)
    for role, rights in roles.items():
        assert {right for right in (*RIGHTS, *NEVER, "operate") if allowed(policy, role, right)} == rights


def test_flare_names_no_submitter_when_jobs_are_listed() -> None:
    """Why `view` stays "any": bound to the submitter, it would hide a job from everybody, its submitter too."""
    authz = {spec.name: spec.authz_func for spec in JobCommandModule().get_spec().cmd_specs}
    assert authz["list_jobs"] == authz["submit_job"] != authz["get_job_meta"]
    user = Person("lead@cleveland.example", "cleveland", "lead")
    authorizer = FLAuthorizer("any", {"format_version": "1.0", "permissions": {"lead": {"view": "n:submitter"}}})
    assert authorizer.authorize(AuthzContext("get_job_meta", user, user))[0]
    assert not authorizer.authorize(AuthzContext("list_jobs", user))[0]
