"""The audit finds trainers that break their claim, also in shipped code with one control off, and no honest one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from almoner.errors import PolicyViolation
from almoner.redteam.audit.claim import audited_run
from almoner.redteam.audit.faults import FAULTS, HONEST
from almoner.redteam.audit.report import NUM_CHECKS, Audit, Finding, audit_job
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.training import dp_sgd, gradients, noise, round
from almoner.training.noise import RandomSource, SecureRandom

NUM_SITES, CANARIES, RUNS = 4, 400, 7
BY_CANARIES = {"no noise", "half noise", "no clipping", "4x sampling"}
BY_CHECKS = {
    "no noise": {"noise scale", "noise reuse", "noise floor"},
    "half noise": {"noise scale", "noise floor"},
    "no clipping": {"clipping"},
    "4x sampling": {"sampling", "own sampling"},
    "same noise in each step": {"noise scale", "noise reuse"},
}


@pytest.fixture(scope="module")
def honest(heart_spec: JobSpec) -> Audit:
    """The audit of what is shipped, alone."""
    return audit_job(heart_spec, NUM_SITES, num_canaries=CANARIES, num_runs=RUNS, faults=[HONEST])


@pytest.fixture(scope="module")
def broken(heart_spec: JobSpec) -> Audit:
    return audit_job(heart_spec, NUM_SITES, num_canaries=CANARIES, num_runs=RUNS, faults=FAULTS)


def honest_finding(spec: JobSpec) -> Finding:
    """Audit what is shipped, as it is now."""
    (finding,) = audit_job(spec, NUM_SITES, num_canaries=CANARIES, num_runs=RUNS, faults=[HONEST]).findings
    return finding


def failed_checks(finding: Finding) -> set[str]:
    return {check.name.partition(":")[0] for check in finding.checks if not check.passed}


@pytest.mark.threat("T-120", "T-121", "T-122", "T-123")
def test_the_honest_trainer_passes_and_nothing_is_said_to_be_proved(honest: Audit) -> None:
    (finding,) = honest.findings
    assert (finding.fault, len(finding.checks)) == ("honest", NUM_CHECKS)
    assert finding.verdict == "no violation found at 95 %"
    assert finding.epsilon_shown < honest.run.epsilon
    assert finding.one_run_epsilon < honest.run.epsilon


@pytest.mark.threat("T-120", "T-121", "T-122", "T-123")
def test_each_broken_trainer_is_found(broken: Audit) -> None:
    found = {finding.fault: finding for finding in broken.findings}
    assert set(found) == {fault.name for fault in FAULTS}
    assert {name for name, finding in found.items() if finding.is_refuted} == BY_CANARIES
    assert all(found[name].epsilon_shown >= broken.run.epsilon for name in BY_CANARIES)
    assert all(BY_CHECKS[name] <= failed_checks(finding) for name, finding in found.items())


def test_what_was_audited(honest: Audit, heart_spec: JobSpec) -> None:
    run = audited_run(heart_spec, NUM_SITES)
    assert honest.run == run
    assert run.num_steps == heart_spec.num_steps
    assert run.epsilon == pytest.approx(heart_spec.target_epsilon, abs=0.01)
    assert 4 * run.sampling_prob <= 1


# The same in the shipped code: each control is switched off where it is, and nothing is handed to the trainer.


def without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    def release(self: dp_sgd.DpSgdTrainer, weights: NDArray[np.float64], units: NDArray[np.int64]) -> object:
        return self._gradients.clipped_sum(weights, units)

    monkeypatch.setattr(dp_sgd.DpSgdTrainer, "_release", release)


def without_clipping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "clipping_factors", lambda squares, masses, bound: torch.ones_like(squares))


def with_larger_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(source: RandomSource, prob: float, units: int) -> NDArray[np.int64]:
        return np.flatnonzero(source.uniform_integers(units) < int(min(1.0, 4 * prob) * 2**53))

    monkeypatch.setattr(round, "poisson_sample", sample)


def with_half_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = RandomSource.gaussian_integers
    monkeypatch.setattr(noise.RandomSource, "gaussian_integers", lambda self, scale, size: drawn(self, scale / 2, size))


@pytest.mark.threat("T-120", "T-121", "T-122")
@pytest.mark.parametrize("switch_off", [without_noise, without_clipping, with_larger_samples, with_half_the_noise])
def test_a_control_switched_off_in_the_shipped_code_is_found(
    switch_off: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, heart_spec: JobSpec
) -> None:
    switch_off(monkeypatch)
    finding = honest_finding(heart_spec)
    assert finding.is_refuted
    assert failed_checks(finding)


# The same in the source that sites alone use: what is seeded is not touched by it.


def with_a_source_that_draws_four_times_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = SecureRandom.uniform_integers
    monkeypatch.setattr(SecureRandom, "uniform_integers", lambda self, size: drawn(self, size) >> 2)


def with_a_source_that_draws_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SecureRandom, "uniform_integers", lambda self, size: np.zeros(size, dtype=np.int64))


def with_a_source_of_half_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, exact = SecureRandom._normals, SecureRandom.discrete_gaussian
    monkeypatch.setattr(SecureRandom, "_normals", lambda self, scale, size: drawn(self, scale / 2, size))
    monkeypatch.setattr(SecureRandom, "discrete_gaussian", lambda self, sigma, size: exact(self, sigma / 2, size))


@pytest.mark.threat("T-120", "T-122")
@pytest.mark.parametrize(
    ("job", "break_source", "found_by"),
    [
        ("heart_disease", with_a_source_that_draws_four_times_as_often, "own sampling"),
        ("heart_disease", with_a_source_that_draws_everybody, "own sampling"),
        ("heart_disease", with_a_source_of_half_the_noise, "noise scale"),
        ("heart_disease_distributed", with_a_source_of_half_the_noise, "noise scale"),
    ],
)
def test_a_fault_of_the_sites_own_source_is_found(
    job: str,
    break_source: Callable[[pytest.MonkeyPatch], None],
    found_by: str,
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
) -> None:
    break_source(monkeypatch)
    spec = load_document(root / "jobs" / f"{job}.yaml", JobSpec)
    (finding,) = audit_job(spec, NUM_SITES, num_canaries=100, num_runs=1, faults=[HONEST]).findings
    assert failed_checks(finding) == {found_by}
    assert "no violation" not in finding.verdict


@pytest.mark.threat("T-120")
def test_shared_noise_is_audited_as_the_sum_of_the_fewest_shares(root: Path) -> None:
    spec = load_document(root / "jobs" / "heart_disease_distributed.yaml", JobSpec)
    half = next(fault for fault in FAULTS if fault.name == "half noise")
    audit = audit_job(spec, NUM_SITES, num_canaries=CANARIES, num_runs=RUNS, faults=[HONEST, half])
    honest, broken = audit.findings
    assert "the sum of 2 sites' shares" in audit.run.code_path
    assert honest.verdict == "no violation found at 95 %"
    assert broken.is_refuted
    assert failed_checks(broken) >= BY_CHECKS["half noise"]
    alone = audited_run(spec, NUM_SITES + 1)  # three shares of five sites make the same noise
    assert (alone.num_shares, alone.noise_multiplier) == (3, audit.run.noise_multiplier)


def test_audits_that_could_not_see_a_violation_are_refused(heart_spec: JobSpec) -> None:
    with pytest.raises(PolicyViolation, match="take 100 or more"):
        audit_job(heart_spec, NUM_SITES, num_canaries=50)
