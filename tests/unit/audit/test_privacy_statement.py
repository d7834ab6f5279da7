"""The words of a DP statement hold for the job that they are about; a site that signs others is found."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.audit.audit_cases import make_run, packaged_spec, parsed, parts_of, refused, resigned, sealed, spec_of

from almoner.audit import parts as names
from almoner.audit.pack_verify import verify_pack
from almoner.audit.privacy_statement import stated_about_privacy
from almoner.audit.report import render_report
from almoner.privacy.events import has_loss_distribution
from almoner.privacy.plans import plan_of
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.receipt import PureRelease

SITES = ["site-1", "site-2", "site-3"]
JOBS = (
    "heart_disease.yaml",
    "heart_disease_distributed.yaml",
    "hospital_statistics.yaml",
    "hospital_statistics_distributed.yaml",
    "census_release.yaml",
    "patient_alignment.yaml",
    "next_word.yaml",
)


def spec(name: str) -> AnyJobSpec:
    return parsed(packaged_spec(name, SITES))


def said(name: str) -> dict[str, Any]:
    return stated_about_privacy(spec(name), "active_server")


def text(found: dict[str, Any], *topics: str) -> str:
    return " ".join(str(found[topic]) for topic in topics or found)


@pytest.mark.parametrize("name", JOBS)
def test_the_job_alone_is_stated_by_what_its_events_have(name: str) -> None:
    events = plan_of(spec(name), len(SITES)).all_events
    by_distributions = "the job alone by privacy loss distributions" in said(name)["composition"]
    charged = [event for event in events if event.kind != "public_data"]
    assert by_distributions == (bool(charged) and all(map(has_loss_distribution, charged)))
    assert ("Rényi divergence too" in said(name)["composition"]) == (bool(charged) and not by_distributions)


@pytest.mark.parametrize("name", JOBS)
def test_sampling_and_noise_are_those_of_the_events(name: str) -> None:
    kinds = {event.kind for event in plan_of(spec(name), len(SITES)).all_events}
    found = said(name)
    assert ("Poisson sampling of units" in found["sampler"]) == bool(
        kinds & {"sampled_gaussian", "distributed_gaussian"}
    )
    assert ("noise is rounded to it" in found["arithmetic"]) == ("sampled_gaussian" in kinds)
    assert ("integer Laplace" in found["arithmetic"]) == ("pure_release" in kinds)
    assert ("OpenDP" in found["random_generator"]) == bool(kinds & {"pure_release", "zcdp_release"})
    assert ("AES-128" in found["random_generator"]) == (spec(name).kind == "training")
    assert ("share of the noise" in found["arithmetic"]) == ("distributed" in name)


def test_dp_sgd() -> None:
    found = stated_about_privacy(parsed(spec_of(3, 3)), "active_server")
    assert "a released accuracy is two counts" in found["arithmetic"]
    silent = stated_about_privacy(parsed({**spec_of(3, 3), "releases": []}), "active_server")
    assert "OpenDP" not in text(silent)
    assert "gradients themselves are computed in float32" in text(silent, "side_channels")


def test_without_privacy_no_guarantee_is_stated() -> None:
    found = said("next_word.yaml")
    assert found["parameters"].startswith("no ε")
    assert "no unit is clipped, and no noise is added" in found["arithmetic"]
    assert "noised" not in text(found)


def test_an_alignment_says_what_no_epsilon_covers() -> None:
    found = said("patient_alignment.yaml")
    assert "no ε covers which records sites have in common" in found["parameters"]
    assert isinstance(plan_of(spec("patient_alignment.yaml"), 2).all_events[0], PureRelease)
    assert "gradient" not in text(found)


def test_of_a_job_that_was_not_admitted_nothing_is_stated() -> None:
    found = stated_about_privacy(None, None)
    assert found["sampler"] == found["arithmetic"] == found["trust_model"] == "the job was not admitted here"
    assert "the job alone" not in found["composition"]


@pytest.mark.parametrize("name", ["hospital_statistics.yaml", "patient_alignment.yaml"])
def test_a_pack_states_its_own_jobs_words(name: str, tmp_path: Path) -> None:
    run = make_run(num_sites=3, num_rounds=1, packaged=name)
    parts = parts_of(run, tmp_path)
    verdict = verify_pack(sealed(run, parts), run.root_pem)
    part = names.of_site("site-1", names.PRIVACY)
    stated = verdict.statements[part].predicate["stated"]
    assert stated["arithmetic"] == said(name)["arithmetic"]
    page = render_report(verdict)
    assert "Poisson" not in page
    others = stated_about_privacy(parsed(spec_of(1, 3)), None) | {"trust_model": stated["trust_model"]}
    changed = resigned(run, parts, part, lambda old: {**old, "stated": others})
    refused(run, changed, "dp-statement")


def test_a_page_has_the_words_of_a_site_that_admitted(tmp_path: Path) -> None:
    run = make_run()
    verdict = verify_pack(sealed(run, parts_of(run, tmp_path)), run.root_pem)
    first = names.of_site("site-1", names.PRIVACY)
    left_out = {"recomputed": {"admitted": False}, "stated": stated_about_privacy(None, None)}
    statement = verdict.statements[first]
    refusing = replace(statement, predicate={**statement.predicate, **left_out})
    page = render_report(replace(verdict, statements={**verdict.statements, first: refusing}))
    assert "Poisson sampling of units" in page
