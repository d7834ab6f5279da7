"""The study on the four hospitals: one total ε for all, and each line's bytes and figures are what they claim."""

from pathlib import Path

import pytest

from almoner.experiments.communication import measure, render_csv
from almoner.experiments.public import PublicSite
from almoner.experiments.signal import measure_signal
from almoner.experiments.traffic import site_traffic
from almoner.experiments.variants import COMMUNICATION, HETEROGENEITY, Variant
from almoner.privacy.plans import plan_of
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.schema.site import DatasetConfig
from almoner.workloads.heart_disease import HeartDisease

TASK = HeartDisease()
NOMINAL = {"cleveland": 212, "hungary": 183, "switzerland": 32, "va-long-beach": 91}
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def sites(heart_files: dict[str, Path]) -> dict[str, PublicSite]:
    common = {"path": "data/heart.csv", "public": True, "one_record_per_unit": True}
    return {
        site: PublicSite(
            DatasetConfig.model_validate(common | {"population": site, "nominal_records": NOMINAL[site]}),
            TASK.load(heart_files[site]),
        )
        for site in NOMINAL
    }


@pytest.fixture(scope="module")
def spec() -> JobSpec:
    return load_document(ROOT / "jobs" / "heart_disease.yaml", JobSpec)


@pytest.mark.parametrize("variant", COMMUNICATION + HETEROGENEITY, ids=lambda v: f"{v.name}, {v.split}")
def test_every_variant_is_a_job_of_the_same_epsilon(variant: Variant, spec: JobSpec) -> None:
    job = variant.job(spec, 1.0)
    assert job.privacy.target_epsilon == spec.privacy.target_epsilon == 1.0
    assert job.num_steps == pytest.approx(spec.num_steps * variant.steps, abs=job.training.local_steps - 1)
    noise, own = (plan_of(each, 4).noise_multiplier for each in (job, spec))
    if variant.mechanism == "distributed_dp":
        assert noise > own  # Rényi orders alone count
    else:
        assert (noise < own) == (job.num_steps < spec.num_steps)
        assert noise == own or job.num_steps != spec.num_steps


def test_another_momentum_moves_the_weights_as_far(spec: JobSpec) -> None:
    job = Variant(name="", server_momentum=0.9).job(spec, 2.0)
    assert job.training.learning_rate == pytest.approx(0.1 * 2 * spec.training.learning_rate)


def test_lines_are_what_they_say(spec: JobSpec, sites: dict[str, PublicSite]) -> None:
    chosen = [v for v in COMMUNICATION if v.name in ("as the job", "in clear", "10 bits", "10 local steps")]
    told: list[tuple[int, int]] = []
    lines = measure(spec, TASK, sites, chosen, 2, 1, lambda done, total: told.append((done, total)))
    job, clear, narrow, local = lines
    assert told[-1] == (15, 15)  # three variants that train differently: three rates, two seeds
    assert (job.accuracy, job.lowest, job.highest) == (clear.accuracy, clear.lowest, clear.highest)
    assert 0.7 < job.lowest <= job.accuracy <= job.highest < 0.9
    assert (job.rounds, local.rounds, local.local_steps) == (20, 2, 10)
    own = site_traffic(chosen[0].job(spec, 1.0), NOMINAL, TASK.dimension, 32_767)
    assert (job.upload_bytes, job.download_bytes) == (own.upload(20), own.download(20))
    assert narrow.upload_bytes == job.upload_bytes - 20 * 8 * (6 - 4)  # 17 values: 6 words of three, 4 of five
    assert clear.upload_bytes < local.upload_bytes < narrow.upload_bytes
    assert render_csv(lines).count("\n") == 5


def test_the_results_do_not_depend_on_the_processes(spec: JobSpec, sites: dict[str, PublicSite]) -> None:
    few = [Variant(name="", alpha=alpha, steps=0.1, rates=(1.0,)) for alpha in (float("inf"), None)]
    one, two = (measure(spec, TASK, sites, few, 1, n, lambda done, total: None) for n in (1, 2))
    assert one == two
    assert one[0].split == "even"


def test_an_update_under_local_noise_is_mostly_noise(spec: JobSpec, sites: dict[str, PublicSite]) -> None:
    """With four times the ε there is more signal in it; with all of an update sent, all is right."""
    loud = spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"target_epsilon": 50.0})})
    first, last = measure_signal(spec, TASK, sites, 0)
    assert (first.number, last.number) == (1, 20)
    assert measure_signal(loud, TASK, sites, 0)[0].ratio > 4 * first.ratio > 4 * last.ratio
