"""The workloads that a site has installed. Text from a job picks one by name; it never imports code."""

from almoner.errors import PolicyViolation
from almoner.workloads.base import Workload
from almoner.workloads.heart_disease import HeartDisease

WORKLOADS: dict[str, type[Workload]] = {kind.name: kind for kind in (HeartDisease,)}


def workload(name: str) -> Workload:
    """Return the workload of a name.

    Raises:
        PolicyViolation: when it is not installed; the text lists those that are.
    """
    try:
        return WORKLOADS[name]()
    except KeyError:
        raise PolicyViolation(
            f"workload '{name}': not installed → installed are {', '.join(sorted(WORKLOADS))}"
        ) from None


def workload_names() -> frozenset[str]:
    """Return the names of all installed workloads."""
    return frozenset(WORKLOADS)
