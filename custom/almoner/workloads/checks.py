"""What a site relies on and a workload's author can test: each of these is one line of a package's tests.

A site's job process makes the first two itself, before it reads data. The others need records.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from almoner.errors import DataError, PolicyViolation
from almoner.training.gradient_passes import pass_kind
from almoner.training.layers import verify_layers
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.base import Workload

ODD_TEXTS = ("", " ", "0", "-1", "nan", "inf", "-inf", "1e999", "9" * 400, "none", "Ω", "'", "\x00")
"""What stands in tables one day."""

_ODD_ID = "~odd"
_TOLERANCE = 1e-4


class Declared(Protocol):
    """What is said of a model: a `WorkloadDeclaration`, or an entry of the registry."""

    @property
    def dimension(self) -> int: ...  # noqa: D102
    @property
    def initial_weights(self) -> str: ...  # noqa: D102


def verify_declaration(workload: Workload, name: str, said: Declared) -> None:
    """Check that a workload is the one declared: name, number of parameters, first weights; twice the same ones.

    Raises:
        PolicyViolation: it is not; the text says what the declaration should be.
    """
    found = (workload.name, workload.dimension, workload.initial_weights)
    if workload.initial_weights != found[2]:
        raise PolicyViolation(f"workload {name}: its first weights are not the same twice → draw them from fixed bytes")
    for what, is_value, should in zip(
        ("name", "dimension", "initial_weights"), (name, said.dimension, said.initial_weights), found, strict=True
    ):
        if is_value != should:
            raise PolicyViolation(f"workload {name}: {what} is declared as {is_value} → {should}, as the code has it")


def verify_trainable(workload: Workload) -> None:
    """Check that each record's gradient is its own, as far as the kinds of layers tell.

    Raises:
        PolicyViolation: a layer mixes records (BatchNorm), has buffers, or has no gradients by record.
    """
    model = workload.build_model()
    verify_layers(model)
    pass_kind(model)


def verify_records_apart(workload: Workload, records: UnitRecords) -> None:
    """Check that a record's output and loss are the same alone and among others.

    Raises:
        PolicyViolation: they are not, so a unit's gradient would have others' records in it.
    """
    model = workload.build_model().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) / 8)
        together = model(records.features)
        losses = workload.loss(together, records.targets)
        alone = torch.cat([model(row[None]) for row in records.features])
        each = torch.cat(
            [
                workload.loss(out[None], target[None]).reshape(-1)
                for out, target in zip(alone, records.targets, strict=True)
            ]
        )
    for what, one, other in (("output", together, alone), ("loss", losses, each)):
        if one.shape != other.shape or not torch.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise PolicyViolation(f"workload {workload.name}: a record's {what} depends on others → one row at a time")


def verify_loader(workload: Workload, table: str, folder: Path) -> None:
    """Check on a table that no value raises an error, and that no line changes what becomes of the others.

    Args:
        table: a header, and at least one good line of each split; comma-separated, an id in the first column.
        folder: where tables may be written.

    Raises:
        DataError: the table does not load to records of both splits.
        PolicyViolation: a line changes the others.
    """
    header, *lines = table.strip("\n").split("\n")
    path = folder / "table.csv"
    good = _load(workload, path, (header, *lines))
    if not len(good.train.targets) or not len(good.test.targets):
        raise DataError(f"workload {workload.name}: the table gives no record of train, or none of test → add some")
    _load(workload, path, (header,))
    for column, name in enumerate(header.split(",")):
        for text in ODD_TEXTS:
            fields = [_ODD_ID, *lines[0].split(",")[1:]]
            fields[column] = text
            found = _load(workload, path, (header, *lines, ",".join(fields)))
            if not (_begins_with(found.train, good.train) and _begins_with(found.test, good.test)):
                raise PolicyViolation(
                    f"workload {workload.name}: a line with {text[:20]!r} as {name} changes others → each by itself"
                )


def _load(workload: Workload, path: Path, lines: Iterable[str]) -> UnitData:
    path.write_text("".join(f"{line}\n" for line in lines))
    return workload.load(path)


def _begins_with(found: UnitRecords, good: UnitRecords) -> bool:
    """Whether the first records are the good ones, grouped as before; how units are numbered does not matter."""
    count = len(good.targets)
    units, before = found.unit[:count], good.unit
    return (
        torch.equal(found.features[:count], good.features)
        and torch.equal(found.targets[:count], good.targets)
        and np.array_equal(units[:, None] == units, before[:, None] == before)
    )
