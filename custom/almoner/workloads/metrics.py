"""How well a model does on records: accuracy, AUC, average precision. Private figures; a release noises them."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from almoner.training.flat import unflatten
from almoner.training.units import UnitRecords
from almoner.workloads.base import Workload, batched_outputs


def outputs_at(workload: Workload, weights: NDArray[np.float64], records: UnitRecords) -> Tensor:
    """Return a model's outputs on records, Tensor[n, ...].

    Args:
        workload: whose model.
        weights: float64[d].
        records: any number, also none.

    Raises:
        ProtocolError: when the weights do not fit the model.
    """
    model = workload.build_model()
    unflatten(model, weights)
    return batched_outputs(model, records.features)


def figures_at(workload: Workload, weights: NDArray[np.float64], records: UnitRecords) -> dict[str, float]:
    """Return a workload's own figures of quality on records, the main one first; see `Workload.figures`.

    Raises:
        ProtocolError: when the weights do not fit the model.
    """
    model = workload.build_model()
    unflatten(model, weights)
    return workload.figures(model, records)


def correct_labels(workload: Workload, weights: NDArray[np.float64], records: UnitRecords) -> NDArray[np.bool_]:
    """Say of each record whether its label is predicted correctly, bool[n]."""
    labels = workload.predict(outputs_at(workload, weights, records))
    return (labels == records.targets).numpy()


def accuracy(workload: Workload, weights: NDArray[np.float64], records: UnitRecords) -> float:
    """Return the share of correct labels in [0, 1]; NaN where there are no records."""
    correct = correct_labels(workload, weights, records)
    return float(correct.mean()) if len(correct) else float("nan")


def auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve: the chance that a positive scores above a negative.

    Ties count a half (Mann-Whitney U by mean ranks). NaN where one class is missing.

    Args:
        scores: float64[n].
        positive: bool[n].
    """
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if not num_positive or not num_negative:
        return float("nan")
    rank_sum = float(rankdata(scores)[positive].sum())
    return (rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)


def average_precision(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the average precision: Σ (Rₖ − Rₖ₋₁) Pₖ over the distinct scores as thresholds, from high to low.

    Records of one score are taken together. A random order gives the share of positives. NaN without positives.

    Args:
        scores: float64[n].
        positive: bool[n].
    """
    num_positive = int(positive.sum())
    if not num_positive:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last_of_its_score = np.append(np.diff(scores[order]) != 0, True)
    taken, hits = np.flatnonzero(last_of_its_score) + 1, np.cumsum(positive[order])[last_of_its_score]
    return float((np.diff(hits, prepend=0) * (hits / taken)).sum() / num_positive)
