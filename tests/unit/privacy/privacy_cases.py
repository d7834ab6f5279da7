"""What several tests of the privacy package use: events, accounts, reservations."""

import uuid
from typing import Any

from almoner.privacy.ledger import Reservation
from almoner.privacy.plan import PlannedStep
from almoner.schema.policy import Account
from almoner.schema.receipt import DistributedGaussian, PrivacyEvent, PureRelease, SampledGaussian

POPULATION = "cleveland-cardiology"
TREE = "b" * 64


def gaussian(sigma: float = 7.297, q: float = 0.5, count: int = 1) -> SampledGaussian:
    return SampledGaussian(kind="sampled_gaussian", noise_multiplier=sigma, sampling_prob=q, count=count)


def shared(sigma: float = 7.297, q: float = 0.5, count: int = 1) -> DistributedGaussian:
    return DistributedGaussian(
        kind="distributed_gaussian", noise_multiplier=sigma, sampling_prob=q, count=count, assumption="2 of 4"
    )


def pure(epsilon: float = 0.1, count: int = 1) -> PureRelease:
    return PureRelease(kind="pure_release", epsilon=epsilon, count=count)


def account(**changes: Any) -> Account:
    fields = {
        "population": POPULATION,
        "privacy_unit": "patient",
        "neighboring_relation": "add_or_remove_one",
        "epsilon_cap": 3.0,
        "delta": 1e-4,
    }
    return Account.model_validate({**fields, **changes})


def job_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def steps(count: int = 3, event: PrivacyEvent | None = None) -> tuple[PlannedStep, ...]:
    return tuple(PlannedStep(f"train-{i:04d}", (event or gaussian(),)) for i in range(1, count + 1))


def reservation(number: int, planned: tuple[PlannedStep, ...] | None = None, **changes: Any) -> Reservation:
    fields: dict[str, Any] = {
        "job_id": job_id(number),
        "nonce": f"{number:032x}",
        "envelope_digest": "a" * 64,
        "tree_digest": TREE,
        "population": POPULATION,
        "privacy_unit": "patient",
        "neighboring_relation": "add_or_remove_one",
        "steps": steps() if planned is None else planned,
    }
    return Reservation(**{**fields, **changes})
