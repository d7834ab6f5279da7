"""What sampling and clipping record by record would claim, and what it would give a patient with eight records.

A patient's records are then drawn one by one, and each pulls by C. The worst case is that all pull the same way: a
step's sum moves by C times a binomial number, of which the library has the exact privacy loss distribution.
"""

from pathlib import Path

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as library
from scipy.stats import binom

from almoner.privacy.calibration import calibrate_noise
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec

GRID = 1e-2


def patients_epsilon(noise_multiplier: float, job: JobSpec, num_records: int) -> float:
    """Return ε of a patient with so many records, each sampled and clipped by itself; rounded up."""
    moves = np.arange(num_records + 1)
    chances = binom.pmf(moves, num_records, job.privacy.sampling_prob)
    one_step = library.from_mixture_gaussian_mechanism(
        noise_multiplier, moves.astype(float).tolist(), chances.tolist(), value_discretization_interval=GRID
    )
    return float(one_step.self_compose(job.rounds).get_epsilon_for_delta(job.privacy.target_delta))


@pytest.mark.threat("T-108")
def test_a_claim_of_one_and_a_half_by_records_is_nineteen_for_a_patient_of_eight(root: Path) -> None:
    job = load_document(root / "jobs" / "lung_nodules_3d.yaml", JobSpec)
    sigma = calibrate_noise(1.5, job.privacy.target_delta, job.privacy.sampling_prob, job.rounds)
    assert patients_epsilon(sigma, job, 1) == pytest.approx(1.5, abs=0.05), "what is claimed, by the same computation"
    assert patients_epsilon(sigma, job, 4) == pytest.approx(7.7, abs=0.2)
    assert patients_epsilon(sigma, job, 8) == pytest.approx(19, abs=0.5)
