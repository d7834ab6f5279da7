"""How updates are combined: robust rules, and secure aggregation in groups, with all that they need and no more."""

from typing import Any, get_args

import pytest
from schema_cases import JOB, edit, refusal

from almoner.schema.aggregation import Grouping, GroupRuleKind, RuleKind
from almoner.schema.base import ProtectionKind, canonical_json
from almoner.schema.documents import parse_document
from almoner.schema.job import TRUST_MODELS, JobSpec

GROUPED = "kind: secagg, num_colluding_sites: 2, groups: 5, rule: median, num_byzantine_sites: 3, l2_clip_norm: 0.5"


def text(aggregation: str) -> str:
    """Return the main job with another aggregation, on one line."""
    return edit(JOB, "aggregation:\n  kind: he\n  num_colluding_sites: 1\n", f"aggregation: {{{aggregation}}}\n")


def spec(aggregation: str) -> JobSpec:
    return parse_document(text(aggregation), JobSpec, "f.yaml")


def refused(aggregation: str) -> str:
    return refusal(text(aggregation), JobSpec).removeprefix("f.yaml:21: ")


@pytest.mark.parametrize("rule", [rule for rule in get_args(RuleKind) if "clip" not in rule])
def test_robust_rules(rule: str) -> None:
    job = spec(f"kind: robust, rule: {rule}, num_byzantine_sites: 2")
    assert (job.num_byzantine_sites, job.num_colluding_sites, job.grouping) == (2, 0, None)
    assert job.trust_model(keys_at_site=True) == job.trust_model() == "trusted_server"


CLIPPING = [
    "rule: centered_clipping",
    "rule: norm_clipped_mean",
    "rule: krum, pre: [bucketing, static_clipping]",
]


@pytest.mark.parametrize("what", CLIPPING)
def test_what_clips_needs_a_norm(what: str) -> None:
    assert spec(f"kind: robust, {what}, num_byzantine_sites: 1, l2_clip_norm: 0.5").num_byzantine_sites == 1
    needing = what.rstrip("]").split()[-1]
    assert refused(f"kind: robust, {what}, num_byzantine_sites: 1") == (
        f"aggregation: l2_clip_norm: {needing} needs it; give the norm that mean updates are cut to"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("rule: krum, num_byzantine_sites: 1, l2_clip_norm: 1.0", "aggregation: l2_clip_norm: nothing here clips; "),
        ("rule: krum, num_byzantine_sites: 1, pre: [bucketing, bucketing]", "aggregation: pre: a step is named twice"),
        ("rule: mean, num_byzantine_sites: 1", "aggregation.rule: "),
        ("rule: krum, num_byzantine_sites: 1, pre: [median]", "aggregation.pre.0: "),
        ("rule: krum, num_byzantine_sites: 0", "aggregation.num_byzantine_sites: "),
        ("rule: krum, num_byzantine_sites: 25", "aggregation.num_byzantine_sites: "),
        ("rule: krum", "aggregation.num_byzantine_sites: Field required"),
        ("num_byzantine_sites: 1", "aggregation.rule: Field required"),
        ("rule: krum, num_byzantine_sites: 1, num_colluding_sites: 1", "aggregation.num_colluding_sites: "),
        ("rule: norm_clipped_mean, num_byzantine_sites: 1, l2_clip_norm: 0.0", "aggregation.l2_clip_norm: "),
        ("rule: norm_clipped_mean, num_byzantine_sites: 1, l2_clip_norm: .inf", "aggregation.l2_clip_norm: "),
    ],
)
def test_robust_jobs_that_are_none(fields: str, message: str) -> None:
    assert refused(f"kind: robust, {fields}").startswith(message)


@pytest.mark.parametrize("rule", get_args(GroupRuleKind))
def test_groups_with_every_rule_that_sites_can_compute(rule: str) -> None:
    job = spec(GROUPED.replace("median", rule))
    assert job.grouping == Grouping(5, rule, 3, 0.5)  # type: ignore[arg-type]
    assert (job.num_colluding_sites, job.num_byzantine_sites) == (2, 3)
    assert {job.trust_model(), job.trust_model(keys_at_site=True)} == {"semi_honest_server"}
    assert parse_document(canonical_json(job).decode(), JobSpec, "f.json") == job


def test_secure_aggregation_without_groups_is_as_before() -> None:
    job = spec("kind: secagg, num_colluding_sites: 2")
    assert (job.grouping, job.num_byzantine_sites, job.num_colluding_sites) == (None, 0, 2)
    assert (job.trust_model(), job.trust_model(keys_at_site=True)) == ("semi_honest_server", "active_server")


@pytest.mark.parametrize("left_out", ["groups: 5", "rule: median", "num_byzantine_sites: 3", "l2_clip_norm: 0.5"])
def test_groups_are_given_in_full(left_out: str) -> None:
    name = left_out.partition(":")[0]
    message = refused(GROUPED.replace(f", {left_out}", ""))
    assert message.startswith("aggregation: ")
    assert f"without {name}: groups take all of groups, rule, num_byzantine_sites, l2_clip_norm, or none" in message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rule: median", "rule: geometric_median"),
        ("rule: median", "rule: bulyan"),
        ("groups: 5", "groups: 1"),
        ("groups: 5", "groups: 17"),
        ("num_byzantine_sites: 3", "num_byzantine_sites: 0"),
        ("num_colluding_sites: 2", "num_colluding_sites: 0"),
        ("l2_clip_norm: 0.5", "l2_clip_norm: -1.0"),
        ("groups: 5", "groups: 5, pre: []"),
    ],
)
def test_groups_that_are_none(old: str, new: str) -> None:
    assert refused(edit(GROUPED, old, new)).startswith(f"aggregation.{new.rpartition(', ')[2].partition(':')[0]}: ")


@pytest.mark.parametrize("kind", get_args(ProtectionKind))
def test_every_kind_says_what_it_takes_to_believe(kind: str) -> None:
    fields: dict[str, Any] = {
        "robust": ", rule: median, num_byzantine_sites: 1",
        "he": ", num_colluding_sites: 1",
        "secagg": ", num_colluding_sites: 1",
    }
    assert spec(f"kind: {kind}{fields.get(kind, '')}").trust_model() == TRUST_MODELS[kind]
