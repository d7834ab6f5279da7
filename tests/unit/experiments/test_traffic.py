"""Computed bytes are those that real sites exchange."""

import pytest
from tests.simulator import Simulation

from almoner.experiments.traffic import site_traffic
from almoner.schema.job import JobSpec

DIMENSION, ROUNDS = 60_000, 2


def spec(kind: str) -> JobSpec:
    colluding = {} if kind == "plain" else {"num_colluding_sites": 1}
    return JobSpec.model_validate(
        {
            "schema_version": 1,
            "kind": "training",
            "name": "small",
            "study": "small",
            "purpose": "test",
            "workload": "heart_disease",
            "dataset": "data",
            "rounds": ROUNDS,
            "min_sites": 3,
            "training": {"local_steps": 1, "learning_rate": 1.0},
            "privacy": {
                "unit": "patient",
                "neighboring_relation": "add_or_remove_one",
                "mechanism": "dp_sgd",
                "target_epsilon": 1.0,
                "target_delta": 1e-4,
                "max_grad_norm": 1.0,
                "sampling_prob": 0.5,
            },
            "aggregation": {"kind": kind} | colluding,
            "releases": (),
        }
    )


@pytest.mark.parametrize(
    ("kind", "num_sites", "limit"),
    [("secagg", 4, 32_767), ("secagg", 5, 511), ("secagg", 5, 0), ("he", 4, 32_767), ("plain", 4, 32_767)],
)
def test_what_is_computed_is_what_a_site_sends_and_receives(kind, num_sites, limit):
    job = Simulation.of(kind, num_sites, dimension=DIMENSION, limit=limit)
    job.set_up()
    totals = [len(job.round(number).body) for number in range(1, ROUNDS + 1)]
    last = f"site-{num_sites}"
    sent = sum(len(answers[last]) for answers in job.answers)
    received = sum(len(question.body) for question in job.questions) + sum(totals)
    sites = dict.fromkeys(job.sites, 100)
    traffic = site_traffic(spec(kind), sites, DIMENSION, limit)
    assert (traffic.upload(ROUNDS), traffic.download(ROUNDS)) == (sent, received)


def test_ten_bits_take_a_quarter_less_at_five_sites_and_ciphertexts_gain_nothing():
    sites = dict.fromkeys(("a", "b", "c", "d", "e"), 100)

    def upload(kind: str, limit: int) -> int:
        return site_traffic(spec(kind), sites, 10**6, limit).round_upload

    assert upload("secagg", 511) / upload("secagg", 32_767) == pytest.approx(0.75, abs=0.001)
    assert upload("he", 511) == upload("he", 32_767)
