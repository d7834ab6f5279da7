"""The three models of the benchmark `training`, and a step of each: ordinary, Opacus' and the trainer's."""

from collections import deque
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import get_gsm_class
from opacus.optimizers import get_optimizer_class, optimizer, optimizer_fast_gradient_clipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor, nn

from almoner.training.dp_sgd import DpSgdTrainer
from almoner.training.flat import dimension, flatten, pieces
from almoner.training.grid import update_grid
from almoner.training.noise import SecureRandom
from almoner.training.units import UnitRecords

BATCH = 256
CLIP, NOISE, RATE = 1.0, 1.0, 0.1
MODES = ("hooks", "ew", "functorch", "ghost")
Step = Callable[[], object]


def cnn_26k() -> nn.Module:
    """Build the CNN of the DP-SGD literature for MNIST: tanh, 26,010 parameters."""
    first = (nn.Conv2d(1, 16, 8, stride=2, padding=2), nn.Tanh(), nn.MaxPool2d(2, 1))
    second = (nn.Conv2d(16, 32, 4, stride=2), nn.Tanh(), nn.MaxPool2d(2, 1))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(512, 32), nn.Tanh(), nn.Linear(32, 10))


def cnn_gn_422k() -> nn.Module:
    """Build a CNN with GroupNorm and a large linear layer, 421,834 parameters."""
    first = (nn.Conv2d(1, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.Tanh(), nn.MaxPool2d(2))
    second = (nn.Conv2d(32, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.Tanh(), nn.MaxPool2d(2))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(3136, 128), nn.Tanh(), nn.Linear(128, 10))


def mlp_670k() -> nn.Module:
    """Build 784-512-512-10, 669,706 parameters."""
    layers = (nn.Linear(784, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 10))
    return nn.Sequential(nn.Flatten(), *layers)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "cnn_26k": cnn_26k,
    "cnn_gn_422k": cnn_gn_422k,
    "mlp_670k": mlp_670k,
}


def images() -> tuple[Tensor, Tensor]:
    """Return a batch of made images and labels: times do not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, 1, 28, 28, generator=generator), torch.randint(0, 10, (BATCH,), generator=generator)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return one loss a record."""
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def plain_step(model: nn.Module) -> Step:
    """Return a step of SGD without privacy."""
    descent = torch.optim.SGD(model.parameters(), lr=RATE)
    features, targets = images()

    def step() -> None:
        descent.zero_grad()
        nn.functional.cross_entropy(model(features), targets).backward()
        descent.step()

    return step


def opacus_step(model: nn.Module, mode: str) -> Step:
    """Return a step of DP-SGD with Opacus' own module, optimizer and noise, in one of its modes."""
    options = {"max_grad_norm": CLIP} if mode == "ghost" else {}
    if mode == "functorch":
        options["force_functorch"] = True
    module = get_gsm_class(mode)(model.train(), loss_reduction="mean", **options)
    descent = get_optimizer_class("flat", distributed=False, grad_sample_mode=mode)(
        torch.optim.SGD(module.parameters(), lr=RATE),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=BATCH,
    )
    criterion = nn.CrossEntropyLoss()
    if mode == "ghost":
        criterion = DPLossFastGradientClipping(module, descent, criterion)
    features, targets = images()

    def step() -> None:
        descent.zero_grad()
        criterion(module(features), targets).backward()
        descent.step()

    return step


def secure_noise_step(step: Step) -> Step:
    """Return a step of Opacus' with its noise drawn from our source."""
    source = SecureRandom()

    def noise(std: float, reference: Tensor, **_: object) -> Tensor:
        drawn = np.concatenate(list(_noise(source, std * 2.0**26, reference.numel()))).reshape(reference.shape)
        return torch.from_numpy(drawn).to(reference.dtype).mul_(2.0**-26)

    modules = (optimizer, optimizer_fast_gradient_clipping)
    patched = [mock.patch.object(module, "_generate_noise", noise) for module in modules]

    def secured() -> None:
        for module in patched:
            module.start()
        step()
        for module in patched:
            module.stop()

    return secured


def own_step(model: nn.Module) -> Step:
    """Return a round of one step, as a site's job process takes it; all records are in every sample."""
    features, targets = images()
    trainer = DpSgdTrainer(
        model,
        loss,
        UnitRecords(features, targets, np.arange(BATCH)),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        sampling_prob=1.0,
        local_steps=1,
        learning_rate=RATE,
        nominal_records=BATCH,
        grid=update_grid(CLIP, 1.0, NOISE, BATCH, 1),
        rng=SecureRandom(),
    )
    weights = flatten(model)
    return lambda: trainer.run_round(weights)


def noise_step(model: nn.Module) -> Step:
    """Return the noise of such a round alone."""
    source, size = SecureRandom(), dimension(model)
    return lambda: deque(_noise(source, NOISE * 2.0**26, size), maxlen=0)


def _noise(source: SecureRandom, scale: float, size: int) -> Iterator[NDArray[np.int64]]:
    """Draw piece by piece, as the trainer does."""
    return (source.gaussian_integers(scale, len(range(size)[piece])) for piece in pieces(size))
