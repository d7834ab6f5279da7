"""Membership inference against a job: its own model, and one that learns few units by heart, private and not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from almoner.errors import PolicyViolation
from almoner.experiments.public import PublicSite, pool
from almoner.experiments.simulate import TrainingPlan
from almoner.experiments.whole_job import simulate_job
from almoner.privacy.calibration import TICKS, calibrate_noise, training_event
from almoner.privacy.plan import job_events
from almoner.redteam.audit.tradeoff import TradeOff, trade_off
from almoner.redteam.membership.rates import FALSE_POSITIVE_RATES, Worth, worth_of
from almoner.redteam.membership.scores import MIN_SHADOWS, confidences, lira_scores, rmia_scores
from almoner.redteam.membership.shadows import (
    Shadows,
    Train,
    balanced_draw,
    by_plan,
    num_units,
    train_shadows,
    units_of,
)
from almoner.schema.job import JobSpec
from almoner.schema.receipt import PrivacyEvent
from almoner.training.units import UnitData
from almoner.workloads.base import Workload

ATTACKS = ("lira", "rmia")
FEW_UNITS = 24
"""Candidates of one small training set, of which half are in it: few enough to be learnt by heart."""

FEW_STEPS = 60
FEW_RATE = 1.0
MAX_GROUPS = 8
"""How many such sets there are; the units of each are its own."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training, and what the attacks are worth against it.

    Args:
        name: of the arm.
        epsilon: what the models claim for one unit, None for nothing.
        bound: the trade-off function of that claim.
        models: how many were trained for each set of units.
        worth: by attack.
    """

    name: str
    epsilon: float | None
    bound: TradeOff | None
    models: int
    worth: Mapping[str, Worth]


def infer_membership(
    spec: JobSpec,
    workload: Workload,
    sites: Mapping[str, PublicSite],
    *,
    models: int,
    seed: int,
    say: Callable[[str], None],
) -> tuple[Arm, ...]:
    """Attack four kinds of models by LiRA and RMIA.

    The job's own, as its federation trains them, each site on a random half of its units; the same without privacy; and
    models trained on few units for long, without privacy and with the ε of the job. The third is what shows that the
    attacks work.

    Args:
        spec: a training job with noise of each site's own.
        workload: its task.
        sites: public data by site.
        models: how many are trained of each kind and set of units; each is the target once.
        seed: of all randomness.
        say: is told before each kind.

    Raises:
        PolicyViolation: there are too few models, or the job makes no claim.
        DataError: a site has too few units.
    """
    if spec.privacy.mechanism != "dp_sgd" or spec.target_epsilon is None:
        raise PolicyViolation(f"job {spec.name}: no site's own noise is claimed → attack a job with mechanism dp_sgd")
    if models <= MIN_SHADOWS:
        raise PolicyViolation(f"membership: {models} models → take {MIN_SHADOWS + 1} or more")
    plan, (few, noise, of_few) = TrainingPlan.of(spec), _few(spec, spec.target_epsilon)
    claimed = tuple(event for step in job_events(spec).steps if step.key.startswith("train-") for event in step.events)
    groups = few_units(sites, seed)

    def arm(
        name: str, sets: tuple[Mapping[str, PublicSite], ...], train: Train, events: tuple[PrivacyEvent, ...]
    ) -> Arm:
        say(f"membership: {name}")
        found = [
            train_shadows(workload, part, train, balanced_draw(models, num_units(part), seed + 1), seed + at)
            for at, part in enumerate(sets)
        ]
        bound = trade_off(events) if events else None
        return Arm(name, spec.target_epsilon if events else None, bound, models, _worth(found))

    return (
        arm("the job", (sites,), lambda own, rng: simulate_job(spec, own, rng=rng, seed=seed), claimed),
        arm("the job without privacy", (sites,), by_plan(workload, replace(plan, mechanism="none"), 0.0), ()),
        arm("few units without privacy", groups, by_plan(workload, replace(few, mechanism="none"), 0.0), ()),
        arm("few units with the job's ε", groups, by_plan(workload, few, noise), of_few),
    )


def _few(spec: JobSpec, epsilon: float) -> tuple[TrainingPlan, float, tuple[PrivacyEvent, ...]]:
    """Return a plan by which few units are learnt by heart, the noise that an ε asks of it, and its events."""
    plan = replace(
        TrainingPlan.of(spec),
        rounds=1,
        local_steps=FEW_STEPS,
        sampling_prob=1.0,
        learning_rate=FEW_RATE,
        proximal=0.0,
        server_momentum=0.0,
        update_bits=32,
    )
    noise = calibrate_noise(epsilon, spec.target_delta, 1.0, FEW_STEPS)
    return plan, noise, (training_event(round(noise * TICKS), 1.0, FEW_STEPS),)


def few_units(sites: Mapping[str, PublicSite], seed: int) -> tuple[dict[str, PublicSite], ...]:
    """Return small disjoint sets of the training units of all sites, each as a site of its own.

    Args:
        sites: by name.
        seed: of who is in which.
    """
    pooled = pool(sites)
    order = np.random.default_rng([seed, 6]).permutation(pooled.data.train.num_units)
    config = pooled.config.model_copy(update={"nominal_records": FEW_UNITS})
    found = []
    for start in range(0, min(len(order) // FEW_UNITS, MAX_GROUPS) * FEW_UNITS, FEW_UNITS):
        chosen = np.zeros(len(order), dtype=np.bool_)
        chosen[order[start : start + FEW_UNITS]] = True
        data = UnitData(units_of(pooled.data.train, chosen), pooled.data.test)
        found.append({"few": PublicSite(config, data)})
    return tuple(found)


def _worth(parts: list[Shadows]) -> dict[str, Worth]:
    """Measure both attacks over the units of all sets."""
    included = np.hstack([part.included for part in parts])
    scores = {
        "lira": np.hstack([lira_scores(confidences(part.losses), part.included) for part in parts]),
        "rmia": np.hstack([rmia_scores(part.losses, part.included, part.population) for part in parts]),
    }
    return {attack: worth_of(score, included) for attack, score in scores.items()}


def membership_json(arms: tuple[Arm, ...]) -> list[dict[str, object]]:
    """Return all arms in types that JSON has."""
    return [
        {
            "arm": arm.name,
            "epsilon": arm.epsilon,
            "models": arm.models,
            "distinct_units": arm.worth[ATTACKS[0]].num_units,
            "bound": None if arm.bound is None else _bound_json(arm.bound),
            "attacks": {attack: _worth_json(worth) for attack, worth in arm.worth.items()},
        }
        for arm in arms
    ]


def most_auc(bound: TradeOff) -> float:
    """Return the largest area under a ROC curve that the bound allows."""
    found: NDArray[np.float64] = bound.most_found(bound.false_alarms)
    return float(np.trapezoid(found, bound.false_alarms))


def _bound_json(bound: TradeOff) -> dict[str, object]:
    rates = np.array(FALSE_POSITIVE_RATES)
    found = dict(zip(map(str, FALSE_POSITIVE_RATES), map(float, bound.most_found(rates)), strict=True))
    return {"auc": most_auc(bound), "true_positive_rate_at": found}


def _worth_json(worth: Worth) -> dict[str, object]:
    rates = {
        str(rate.false_positive_rate): {
            "true_positive_rate": rate.true_positive_rate,
            "interval": [rate.low, rate.high],
        }
        for rate in worth.rates
    }
    not_measured = [rate for rate in FALSE_POSITIVE_RATES if str(rate) not in rates]
    return {"auc": worth.auc, "at_false_positive_rate": rates, "too_few_non_members_for": not_measured}
