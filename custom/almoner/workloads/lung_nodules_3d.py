"""Whether a lung nodule is malignant, by its shape alone: a small network of MONAI's on masks of 24³ voxels.

A unit is a patient, with all records that radiologists made of his nodules. Nothing is fitted to data before training:
a voxel is 0 or 1. The network has no normalisation: that of a nearly empty mask would take out the nodule's size, which
tells most.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets import Regressor
from numpy.typing import NDArray
from torch import Tensor, nn

from almoner.data.lung_nodules import PACKED_BYTES, SIDE
from almoner.schema.images import ImageFolder
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.base import batched_outputs
from almoner.workloads.first_weights import draw_first_weights
from almoner.workloads.image_folders import load_image_folder
from almoner.workloads.image_workload import ImageWorkload
from almoner.workloads.metrics import auc
from almoner.workloads.site_arrays import Forms, parts_of, read_arrays

_FORMS: Forms = {"masks": ("u1", (PACKED_BYTES,)), "labels": ("u1", ()), "is_test": ("b1", ()), "ids": ("U", ())}
_AXES = "SPL"
"""Slices upwards, rows to the back, columns to the patient's left, as the outlines have it."""
_WEIGHTS_OF = b"almoner/lung_nodules_3d/first weights/1"


class NoduleModel(nn.Module):
    """MONAI's `Regressor`, three convolutions and a linear layer, on bits."""

    def __init__(self) -> None:
        super().__init__()
        self.regressor = Regressor(
            in_shape=(1, SIDE, SIDE, SIDE),
            out_shape=(1,),
            channels=(4, 8, 16),
            strides=(2, 2, 2),
            num_res_units=0,
            act="TANH",
            norm=None,
        )

    def forward(self, masks: Tensor) -> Tensor:
        """Return the log odds of malignancy, Tensor[n].

        Args:
            masks: uint8[n, 24, 24, 24], 0 or 1.
        """
        outputs: Tensor = self.regressor(masks[:, None].float())
        return outputs[:, 0]


class LungNodules3d(ImageWorkload):
    """Malignancy of a nodule in a radiologist's eyes, 4 or 5 against 1 or 2, out of its outline."""

    name = "lung_nodules_3d"

    def build_model(self) -> nn.Module:
        """Build the network; its first weights are those of `draw_first_weights`."""
        model = NoduleModel()
        draw_first_weights(model, _WEIGHTS_OF)
        return model

    def load(self, path: Path) -> UnitData:
        """Load a site's `nodules.npz`; records with one id are one patient. A record with another label is left out."""
        arrays = read_arrays(path, _FORMS)
        train, test = (_unit_records(arrays, part) for part in parts_of(arrays))
        return UnitData(train=train, test=test)

    def load_images(self, path: Path, images: ImageFolder) -> UnitData:
        """Load a folder of masks, with label 1 for malignant; a voxel is nodule where more than half of it is.

        Declare `spacing_mm: 2.0` and a window of 0 to 1 for them, as the masks of `load` have it.
        """
        found = load_image_folder(path, images, shape=(SIDE,) * 3, num_classes=2, axes=_AXES)
        return UnitData(train=_as_bits(found.train), test=_as_bits(found.test))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy of each record."""
        return nn.functional.binary_cross_entropy_with_logits(outputs, targets.float(), reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        """Return 1 for malignant, 0 for benign."""
        return (outputs > 0).long()

    def figures(self, model: nn.Module, records: UnitRecords) -> dict[str, float]:
        """Return AUC and accuracy over records."""
        outputs = batched_outputs(model, records.features)
        accuracy = float((self.predict(outputs) == records.targets).double().mean())
        return {"auc": auc(outputs.double().numpy(), records.targets.numpy() == 1), "accuracy": accuracy}


def _unit_records(arrays: dict[str, NDArray[Any]], part: NDArray[np.bool_]) -> UnitRecords:
    """Collect the records of one part."""
    chosen = part & (arrays["labels"] < 2)
    masks = np.unpackbits(arrays["masks"][chosen], axis=1).reshape(-1, SIDE, SIDE, SIDE)
    _, unit = np.unique(arrays["ids"][chosen], return_inverse=True)
    labels = torch.from_numpy(arrays["labels"][chosen].astype(np.int64))
    return UnitRecords(torch.from_numpy(masks), labels, unit.astype(np.int64))


def _as_bits(records: UnitRecords) -> UnitRecords:
    """Make masks of images from 0 to 1."""
    return replace(records, features=(records.features > 0.5).to(torch.uint8))
