"""A job's variants differ in mechanism and aggregation alone; the threats that layers name are listed and tested."""

from pathlib import Path

import pytest
import yaml

from almoner.errors import PolicyViolation
from almoner.experiments.pipeline.layers import LAYERS, variants_of
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec

ROOT = Path(__file__).resolve().parents[4]
PRIVATE = {"mechanism", "target_epsilon", "target_delta"}


def job(name: str) -> JobSpec:
    return load_document(ROOT / "jobs" / f"{name}.yaml", JobSpec)


def test_threats_are_listed_and_tested() -> None:
    listed = yaml.safe_load((ROOT / "threat_model" / "threats.yaml").read_text())["threats"]
    tested = {threat["id"] for threat in listed if threat["status"] == "tested"}
    assert {threat for layer in LAYERS for threat in layer.threats} <= tested


@pytest.mark.parametrize("name", ["bank_credit", "heart_disease", "heart_disease_distributed"])
def test_all_but_mechanism_and_aggregation_is_the_jobs(name: str) -> None:
    spec = job(name)
    found = variants_of(spec, 12)
    for variant in (found.plain, found.dp, found.he, found.secagg, found.groups):
        changed = {key for key, value in variant.model_dump().items() if value != spec.model_dump()[key]}
        assert changed <= {"privacy", "aggregation", "releases"}
        numbers, own = variant.privacy.model_dump(), spec.privacy.model_dump()
        assert {key: own[key] for key in numbers if key not in PRIVATE} == {
            key: numbers[key] for key in numbers if key not in PRIVATE
        }
        assert JobSpec.model_validate(variant.model_dump()) == variant
    assert (found.plain.privacy.mechanism, found.dp.privacy.mechanism) == ("none", "dp_sgd")
    assert found.dp.privacy == found.he.privacy == found.secagg.privacy == found.groups.privacy
    assert found.dp.target_epsilon == spec.target_epsilon


def test_groups_are_the_jobs_own_or_three() -> None:
    own = job("bank_credit_secure")
    assert variants_of(own, 10).groups.aggregation == own.aggregation
    others = variants_of(job("heart_disease"), 12).groups.grouping
    assert others is not None
    assert (others.groups, others.rule, others.num_byzantine_sites, others.l2_clip_norm) == (3, "median", 1, 1.0)


def test_more_colluding_sites_than_groups_bear_are_not_claimed() -> None:
    spec = job("heart_disease")
    spec = spec.model_copy(update={"aggregation": spec.aggregation.model_copy(update={"num_colluding_sites": 4})})
    assert [variants_of(spec, n).groups.num_colluding_sites for n in (9, 12, 18)] == [1, 2, 4]


def test_a_job_without_privacy_is_refused() -> None:
    with pytest.raises(PolicyViolation, match="job next-word: trains without privacy"):
        variants_of(job("next_word"), 10)
