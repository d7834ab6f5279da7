import sys

import pytest

from almoner.errors import PolicyViolation
from almoner.workloads.heart_disease import HeartDisease
from almoner.workloads.registry import workload


def test_known_name() -> None:
    assert isinstance(workload("heart_disease"), HeartDisease)


@pytest.mark.parametrize("name", ["heart-disease", "", "this", "almoner.workloads.heart_disease", "os.system"])
def test_unknown_name_lists_the_known_and_imports_nothing(name: str) -> None:
    before = set(sys.modules)
    with pytest.raises(PolicyViolation, match="installed are heart_disease"):
        workload(name)
    assert set(sys.modules) == before
