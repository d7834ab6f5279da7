"""The workloads that a site has installed. Text from a job picks one by name; it never imports code.

A workload's module is imported when the workload is first used: the parent process of a site decides about
jobs by name, and needs no torch for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from almoner.errors import PolicyViolation

if TYPE_CHECKING:
    from almoner.workloads.base import Workload

WORKLOADS: dict[str, tuple[str, str]] = {"heart_disease": ("almoner.workloads.heart_disease", "HeartDisease")}
"""Name → module and class, both ours."""


def workload_names() -> frozenset[str]:
    """Return the names of all installed workloads."""
    return frozenset(WORKLOADS)


def workload(name: str) -> Workload:
    """Return the workload of a name.

    Raises:
        PolicyViolation: when it is not installed; the text lists those that are.
    """
    if name not in WORKLOADS:
        raise PolicyViolation(f"workload '{name}': not installed → installed are {', '.join(sorted(WORKLOADS))}")
    module, kind = WORKLOADS[name]
    found: type[Workload] = getattr(import_module(module), kind)
    return found()
