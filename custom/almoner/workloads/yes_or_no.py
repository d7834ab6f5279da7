"""Workloads that say yes or no to each line of a site's table, by one log odds a record."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.base import Workload, batched_outputs
from almoner.workloads.metrics import auc, average_precision
from almoner.workloads.site_table import Example, finite_number, load_site_table


class YesOrNo(Workload):
    """A workload whose model gives one log odds a record, Tensor[n]; targets are 1 for yes and 0 for no."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the logistic loss of each record."""
        return torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        """Return 1 where the log odds are positive, else 0; where few targets are 1, rank by the outputs instead."""
        return (outputs > 0).to(outputs.dtype)

    def figures(self, model: torch.nn.Module, records: UnitRecords) -> dict[str, float]:
        """Return AUC, average precision and accuracy."""
        scores, yes = batched_outputs(model, records.features).double().numpy(), records.targets.numpy() > 0
        ranks = {"auc": auc(scores, yes), "average_precision": average_precision(scores, yes)}
        return ranks | super().figures(model, records)


def load_answers(
    path: Path,
    columns: tuple[str, ...],
    target: str,
    num_features: int,
    encode: Callable[[dict[str, str]], list[float]],
) -> UnitData:
    """Load a site's table; the answer to a line is yes where the number in its target column is above 0.

    Args:
        path, columns, num_features: see `load_site_table`.
        target: a column; a line that has no number there is left out.
        encode: makes the features of raw text by column name; total.

    Raises:
        DataError: as `load_site_table`.
    """

    def example(values: dict[str, str]) -> Example | None:
        answer = finite_number(values[target])
        return None if answer is None else (encode(values), float(answer > 0))

    return load_site_table(path, columns, num_features, example)
