"""The one place that turns a job's mechanism into a trainer."""

from typing import Unpack

import torch

from almoner.schema.job import Mechanism
from almoner.training.distributed import DistributedTrainer
from almoner.training.dp_sgd import DpSgdTrainer
from almoner.training.gradients import Loss
from almoner.training.plain_sgd import UnsafePlainTrainer
from almoner.training.round import RoundParameters, RoundTrainer
from almoner.training.units import UnitRecords


def make_trainer(
    model: torch.nn.Module,
    loss: Loss,
    data: UnitRecords,
    *,
    mechanism: Mechanism,
    noise_multiplier: float,
    num_shares: int = 0,
    **parameters: Unpack[RoundParameters],
) -> RoundTrainer:
    """Return the trainer of a mechanism; its class states what a round tells about a unit.

    Args:
        model: architecture. Is copied.
        loss: (outputs, targets) -> one loss a record.
        data: the training records.
        mechanism: as in the JobSpec; `none` is for public data alone.
        noise_multiplier: σ over the L2 sensitivity, of all that counts together; not used by `none`.
        num_shares: t - c, the shares that `distributed_dp` counts on; not used by the others.
        parameters: see `RoundParameters`.

    Raises:
        PolicyViolation: when a parameter is out of range, or the model does not allow per-record gradients.
    """
    match mechanism:
        case "dp_sgd":
            return DpSgdTrainer(model, loss, data, noise_multiplier=noise_multiplier, **parameters)
        case "distributed_dp":
            return DistributedTrainer(
                model, loss, data, noise_multiplier=noise_multiplier, num_shares=num_shares, **parameters
            )
        case "none":
            return UnsafePlainTrainer(model, loss, data, **parameters)
