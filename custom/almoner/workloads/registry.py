"""The workloads that a site has installed. Text from a job picks one by name; it never imports code.

A workload's module is imported when the workload is first used: the parent process of a site decides about
jobs by name, and needs no torch for it. What it must know of a model stands here, and a test compares it with
the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from almoner.errors import PolicyViolation
from almoner.workloads.installed import source_digest

if TYPE_CHECKING:
    from almoner.workloads.base import Workload


@dataclass(frozen=True)
class InstalledWorkload:
    """What is known of a workload without importing it.

    Args:
        module: the module and `class_name` the class in it, both ours.
        sources: the files that make its data adapter, its model and its loss; see `workload_digest`.
        dimension: the number of the model's parameters.
        units: what one unit of its `UnitData` may be called; the adapter groups records by just this.
        initial_weights: SHA-256 of the first weights as little-endian float64.
    """

    module: str
    class_name: str
    sources: tuple[str, ...]
    dimension: int
    units: tuple[str, ...]
    initial_weights: str


WORKLOADS = {
    "heart_disease": InstalledWorkload(
        module="almoner.workloads.heart_disease",
        class_name="HeartDisease",
        sources=(
            "workloads/heart_disease.py",
            "workloads/base.py",
            "workloads/site_table.py",
            "data/heart_disease.py",
            "data/records.py",
        ),
        dimension=17,
        units=("patient",),
        initial_weights="b707241545a346265aab1ffb32ff64b55bf8f8dc1b56a46ef33ce3d15db11d33",
    ),
    "bank_credit": InstalledWorkload(
        module="almoner.workloads.bank_credit",
        class_name="BankCredit",
        sources=(
            "workloads/bank_credit.py",
            "workloads/base.py",
            "workloads/site_table.py",
            "data/give_me_some_credit.py",
            "data/records.py",
        ),
        dimension=225,
        units=("account",),
        initial_weights="860fa3ecd7cb319d6a7ad625c3ebd580b1ca4272b1f427d08cb23c1316822408",
    ),
}


@lru_cache(maxsize=64)
def workload_digest(name: str) -> str:
    """Return the digest of an installed workload's sources: its version, which a policy may pin."""
    return source_digest(WORKLOADS[name].sources)


def workload(name: str) -> Workload:
    """Return the workload of a name.

    Raises:
        PolicyViolation: when it is not installed; the text lists those that are.
    """
    if name not in WORKLOADS:
        raise PolicyViolation(f"workload '{name}': not installed → installed are {', '.join(sorted(WORKLOADS))}")
    found: type[Workload] = getattr(import_module(WORKLOADS[name].module), WORKLOADS[name].class_name)
    return found()
