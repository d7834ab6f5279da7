"""Whether a slice of brain MRI shows a tumour: a small network of MONAI's on fixed wavelet features.

A unit is a group of near-duplicate images (`data/near_duplicates.py`). There are a few hundred, so what can be learned
under noise is little: the first layers are wavelets, which are fixed and cost no privacy. MONAI's transforms bring an
image to their size; each image's maps are normalised by themselves; then come a convolution with instance normalisation
and a bounded unit, another convolution, and a linear layer. Nothing is fitted to data before training.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets import Classifier
from monai.transforms import Compose, EnsureChannelFirst, Resize
from numpy.typing import NDArray
from torch import Tensor, nn

from almoner.data.brain_mri import SIDE
from almoner.schema.images import ImageFolder
from almoner.training.units import UnitData, UnitRecords
from almoner.workloads.first_weights import draw_first_weights
from almoner.workloads.image_folders import load_image_folder
from almoner.workloads.image_workload import ImageWorkload
from almoner.workloads.scattering import MAP_SIDE, NUM_MAPS, scatter
from almoner.workloads.scattering import SIDE as SMALL_SIDE
from almoner.workloads.site_arrays import Forms, parts_of, read_arrays

NUM_GROUPS = 27
"""Groups of three maps; each gets mean 0 and variance near 1 in every image."""

_FORMS: Forms = {"images": ("u1", (SIDE, SIDE)), "labels": ("u1", ()), "is_test": ("b1", ()), "ids": ("U", ())}
_WHITE = 255.0
_LABELS = 2
_WEIGHTS_OF = b"almoner/brain_mri/first weights/1"


class BrainMri(ImageWorkload):
    """Tumour or none, by a network of 6,817 weights; a unit is a group of near-duplicate images."""

    name = "brain_mri"

    def build_model(self) -> nn.Module:
        """Build MONAI's `Classifier` with one output, the log odds of a tumour; see `draw_first_weights`."""
        model: nn.Module = Classifier(
            in_shape=(NUM_MAPS, MAP_SIDE, MAP_SIDE),
            classes=1,
            channels=(8, 8),
            strides=(1, 1),
            num_res_units=0,
            act="tanh",
            norm=("instance", {"affine": False}),
        )
        draw_first_weights(model, _WEIGHTS_OF)
        return model

    def load(self, path: Path) -> UnitData:
        """Load a site's `brain.npz`; images with one id are one unit, and one with another label is left out."""
        arrays = read_arrays(path, _FORMS)
        train, test = (_unit_records(arrays, part) for part in parts_of(arrays))
        return UnitData(train=train, test=test)

    def load_images(self, path: Path, images: ImageFolder) -> UnitData:
        """Load a folder of slices; of a volume its middle one. Near-duplicates must have one unit id."""
        data = load_image_folder(path, images, shape=(SIDE, SIDE), num_classes=_LABELS)
        return UnitData(*(replace(part, features=features_of(part.features)) for part in (data.train, data.test)))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy of each image."""
        return nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.float(), reduction="none")

    def predict(self, outputs: Tensor) -> Tensor:
        """Return 1 for a tumour, 0 for none."""
        return (outputs[:, 0] > 0).long()


def features_of(images: Tensor) -> Tensor:
    """Return the maps of images, float32[n, 81, 7, 7]; each is a function of its image alone.

    Args:
        images: float32[n, 64, 64], from 0 to 1.
    """
    prepare = _transforms()
    small = [prepare(image)[0].as_tensor() for image in images]
    together = torch.stack(small) if small else torch.zeros(0, SMALL_SIDE, SMALL_SIDE)
    return nn.functional.group_norm(scatter(together), NUM_GROUPS)


@lru_cache(maxsize=1)
def _transforms() -> Compose:
    """Return what is done to an image, float32[64, 64]; nothing in it is random."""
    return Compose([EnsureChannelFirst(channel_dim="no_channel"), Resize((SMALL_SIDE, SMALL_SIDE), mode="area")])


def _unit_records(arrays: dict[str, NDArray[Any]], part: NDArray[np.bool_]) -> UnitRecords:
    """Collect the images of one part."""
    chosen = part & (arrays["labels"] < _LABELS)
    features = features_of(torch.from_numpy(arrays["images"][chosen]).float() / _WHITE)
    _, unit = np.unique(arrays["ids"][chosen], return_inverse=True)
    return UnitRecords(features, torch.from_numpy(arrays["labels"][chosen].astype(np.int64)), unit.astype(np.int64))
