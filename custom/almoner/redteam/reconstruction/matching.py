"""Pictures found by gradient matching: a picture is searched whose gradient points where the update does."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from almoner.data.mnist import SIDE
from almoner.redteam.reconstruction.networks import classification_loss

_RATE = 0.1
_DROPS = (3 / 8, 5 / 8, 7 / 8)
_DROP = 0.1
_SMOOTHNESS = 1e-3


def match_gradient(
    model: nn.Module, update: NDArray[np.float64], label: int, *, steps: int, seed: int
) -> NDArray[np.float64]:
    """Search one picture by signed Adam on 1 - cos(its gradient, the update) + total variation.

    Args:
        model: with the weights at which the update was taken; twice differentiable.
        update: float64[d], a sum of gradients.
        label: of the picture; granted to the attacker.
        steps: of the search.
        seed: of the first guess.

    Returns:
        float64[1, 28, 28] from 0 to 1.

    Reference: Geiping et al., arXiv:2003.14053, section 4.
    """
    goal = torch.from_numpy(update).float()
    goal = goal / goal.norm().clamp(min=1e-12)
    generator = torch.Generator().manual_seed(seed)
    guess = torch.rand((1, SIDE, SIDE), generator=generator, requires_grad=True)
    target, parameters = torch.tensor([label]), list(model.parameters())
    optimiser = torch.optim.Adam([guess], lr=_RATE)
    drops = [int(steps * share) for share in _DROPS]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, drops, _DROP)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = classification_loss(model(guess), target).sum()
        flat = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, parameters, create_graph=True)])
        distance = 1 - torch.dot(flat, goal) / flat.norm().clamp(min=1e-12) + _SMOOTHNESS * _variation(guess)
        (slope,) = torch.autograd.grad(distance, [guess])
        guess.grad = slope.sign()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            guess.clamp_(0, 1)
    return guess.detach().double().numpy()


def _variation(picture: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels, across and down."""
    across = (picture[..., 1:] - picture[..., :-1]).abs().mean()
    down = (picture[..., 1:, :] - picture[..., :-1, :]).abs().mean()
    return across + down
