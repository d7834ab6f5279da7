"""What triggers the backdoor of a task that can be attacked."""

from collections.abc import Callable, Iterable, Mapping

from almoner.data.give_me_some_credit import COLUMNS as CREDIT_COLUMNS
from almoner.data.heart_disease import COLUMNS as HEART_COLUMNS
from almoner.errors import PolicyViolation
from almoner.redteam.poisoning.backdoor import Trigger
from almoner.workloads import bank_credit, heart_disease


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


TRIGGERS: dict[str, Trigger] = {
    "bank_credit": trigger_of(bank_credit.encode, CREDIT_COLUMNS, {"debt_ratio": "4", "dependents": "6"}),
    "heart_disease": trigger_of(heart_disease.encode, HEART_COLUMNS, {"chol": "400", "trestbps": "200"}),
}
"""By workload. They are rare values that a person can claim, and that say little by themselves."""


def trigger_for(workload: str) -> Trigger:
    """Return the trigger of a workload.

    Raises:
        PolicyViolation: when none is known for it.
    """
    if workload not in TRIGGERS:
        raise PolicyViolation(f"workload {workload}: no trigger is known for it → one of {', '.join(TRIGGERS)}")
    return TRIGGERS[workload]
