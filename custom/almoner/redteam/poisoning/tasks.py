"""Which public data a job's task can be attacked on, and what triggers its backdoor."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from almoner.data.give_me_some_credit import COLUMNS as CREDIT_COLUMNS
from almoner.data.heart_disease import COLUMNS as HEART_COLUMNS
from almoner.errors import PolicyViolation
from almoner.redteam.poisoning.backdoor import Trigger
from almoner.workloads import bank_credit, heart_disease


@dataclass(frozen=True, slots=True)
class PoisonTask:
    """What is known of a workload that can be attacked.

    Args:
        dataset: the public data set that its sites hold.
        trigger: of the backdoor.
    """

    dataset: str
    trigger: Trigger


def trigger_of(
    encode: Callable[[dict[str, str]], list[float]], columns: Iterable[str], values: Mapping[str, str]
) -> Trigger:
    """Return the encoded features that raw values change, in a record that has nothing else.

    Args:
        encode: the workload's encoding of one record.
        columns: its raw columns.
        values: raw values of the trigger, by column.
    """
    empty = dict.fromkeys(columns, "")
    without, with_values = encode(empty), encode({**empty, **values})
    pairs = enumerate(zip(without, with_values, strict=True))
    return Trigger({index: stamped for index, (usual, stamped) in pairs if stamped != usual})


TASKS: dict[str, PoisonTask] = {
    "bank_credit": PoisonTask(
        "credit", trigger_of(bank_credit.encode, CREDIT_COLUMNS, {"debt_ratio": "4", "dependents": "6"})
    ),
    "heart_disease": PoisonTask(
        "heart_disease", trigger_of(heart_disease.encode, HEART_COLUMNS, {"chol": "400", "trestbps": "200"})
    ),
}
"""Workload -> task. The triggers are rare values that a person can claim, and that say little by themselves."""


def poison_task(workload: str) -> PoisonTask:
    """Return the task of a workload.

    Raises:
        PolicyViolation: when no public data and no trigger are known for it.
    """
    if workload not in TASKS:
        raise PolicyViolation(f"workload {workload}: no trigger is known for it → one of {', '.join(TASKS)}")
    return TASKS[workload]
