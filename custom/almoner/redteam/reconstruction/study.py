"""Reconstruction against each protection: how many pictures an update tells, beside what the bound allows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from almoner.errors import PolicyViolation
from almoner.privacy.plan import job_events
from almoner.redteam.audit.tradeoff import trade_off
from almoner.redteam.membership.rates import clopper_pearson
from almoner.redteam.reconstruction.analytic import invert_imprint, invert_layer
from almoner.redteam.reconstruction.matching import match_gradient
from almoner.redteam.reconstruction.networks import convolutions, imprinting, perceptron
from almoner.redteam.reconstruction.pictures import MIN_PSNR, MIN_SSIM, Picture, closest, is_breached, psnr, ssim
from almoner.redteam.reconstruction.views import SITES_IN_A_SUM, VIEWS, Protection, View, seen_update
from almoner.schema.job import JobSpec
from almoner.schema.receipt import PrivacyEvent, SampledGaussian
from almoner.training.units import UnitRecords

BATCH_SIZES = (1, 16, 64)
MATERIAL = "public digits in networks made for the attack, with the job's C and σ; not the job's data or model"
SHOWN = 6
"""How many pictures of each attack are kept for the plot."""

MATCHED_BATCH = 1


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What an attack got out of one view.

    Args:
        attack: "inversion", "crafted weights" or "gradient matching".
        batch: pictures in a site's step.
        view: which protections were on.
        psnr: mean over the pictures, dB.
        ssim: mean over the pictures.
        breached: how many were told.
        pictures: how many there were.
        shown: float64[2, k, 28, 28]: some pictures, and what came out.
    """

    attack: str
    batch: int
    view: str
    psnr: float
    ssim: float
    breached: int
    pictures: int
    shown: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bound:
    """What differential privacy says of every such attack (ReRo).

    Args:
        prior: chance that a public picture taken at random already counts as the one attacked: its upper limit at 95 %.
        one_step: largest chance of success from one step that surely has the picture.
        whole_job: largest chance of success from all that the job releases of training.
    """

    prior: float
    one_step: float
    whole_job: float


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to try: batches attacked by inversion, pictures and steps of gradient matching."""

    batches: int = 2
    matched: int = 2
    steps: int = 800


def reconstruct(spec: JobSpec, digits: UnitRecords, seed: int, effort: Effort) -> tuple[tuple[Outcome, ...], Bound]:
    """Attack the updates of one step by inversion, crafted weights and gradient matching, in each view.

    Args:
        spec: whose C and σ are the protection.
        digits: public pictures, float32[n, 28, 28].
        seed: of pictures, first weights and noise.
        effort: how long to try.

    Raises:
        PolicyViolation: the job makes no claim.
    """
    if spec.privacy.mechanism != "dp_sgd":
        raise PolicyViolation(f"job {spec.name}: no site's own noise is claimed → attack a job with mechanism dp_sgd")
    protection = job_protection(spec)
    order = np.random.default_rng([seed, 7]).permutation(len(digits.unit))
    outcomes = []
    for view in VIEWS:
        for batch in BATCH_SIZES:
            outcomes.append(_inversions(digits, order, view, protection, batch, seed, effort, crafted=False))
        outcomes.append(_inversions(digits, order, view, protection, BATCH_SIZES[-1], seed, effort, crafted=True))
        outcomes.append(_matched(digits, order, view, protection, seed, effort))
    return tuple(outcomes), rero_bound(spec, digits, order)


def job_protection(spec: JobSpec) -> Protection:
    """Return the C and σ of a job whose sites add their own noise."""
    return Protection(spec.privacy.max_grad_norm, job_events(spec).noise_multiplier)


def rero_bound(spec: JobSpec, digits: UnitRecords, order: NDArray[np.int64], trials: int = 2000) -> Bound:
    """Bound every attacker that knows all other pictures and draws its guess from public ones.

    Reference: Balle, Cherubin, Hayes, arXiv:2201.04845 (ReRo); Hayes, Mahloujifar, Balle, arXiv:2302.07225: at most the
    blow-up function at the prior's κ, which is 1 - f(κ).
    """
    pictures = digits.features.double().numpy()
    pairs = np.random.default_rng([len(order)]).choice(order, (trials, 2))
    hits = sum(is_breached(pictures[a], pictures[b]) for a, b in pairs if a != b)
    prior = clopper_pearson(hits, trials)[1]
    job = job_events(spec)
    step = SampledGaussian(kind="sampled_gaussian", noise_multiplier=job.noise_multiplier, sampling_prob=1.0, count=1)
    training = tuple(event for part in job.steps if part.key.startswith("train-") for event in part.events)
    return Bound(prior, _most_success((step,), prior), _most_success(training, prior))


def _most_success(events: tuple[PrivacyEvent, ...], prior: float) -> float:
    curve = trade_off(events)
    return 1.0 if curve is None else 1.0 - curve(prior)


def _inversions(
    digits: UnitRecords,
    order: NDArray[np.int64],
    view: View,
    protection: Protection,
    batch: int,
    seed: int,
    effort: Effort,
    *,
    crafted: bool,
) -> Outcome:
    """Invert the first layer of some updates; candidates are matched with the attacked site's pictures."""
    public = digits.features[torch.from_numpy(order[-2000:])].double().numpy()
    pairs: list[tuple[Picture, Picture]] = []
    for number in range(effort.batches):
        model = imprinting(public, seed + number) if crafted else perceptron(seed + number)
        parts = _batches(digits, order, batch, number)
        update = seen_update(model, parts.__getitem__, view, protection, seed + number)
        found = invert_imprint(update) if crafted else invert_layer(update)
        pairs += [(truth, closest(truth, found)) for truth in parts[0].features.double().numpy()]
    return _outcome("crafted weights" if crafted else "inversion", batch, view, pairs)


def _matched(
    digits: UnitRecords, order: NDArray[np.int64], view: View, protection: Protection, seed: int, effort: Effort
) -> Outcome:
    """Match the gradient of some updates of one picture a site."""
    pairs = []
    for number in range(effort.matched):
        model, parts = convolutions(seed + number), _batches(digits, order, MATCHED_BATCH, number)
        update = seen_update(model, parts.__getitem__, view, protection, seed + number)
        label = int(parts[0].targets[0])
        found = match_gradient(model, update, label, steps=effort.steps, seed=seed + number)
        truth = parts[0].features[0].double().numpy()
        pairs.append((truth, closest(truth, found)))
    return _outcome("gradient matching", MATCHED_BATCH, view, pairs)


def _batches(digits: UnitRecords, order: NDArray[np.int64], batch: int, number: int) -> list[UnitRecords]:
    """Return the batches of all sites in one attack; no picture is in two."""
    found = []
    for site in range(SITES_IN_A_SUM):
        start = (number * SITES_IN_A_SUM + site) * batch
        chosen = torch.from_numpy(order[start : start + batch])
        found.append(UnitRecords(digits.features[chosen], digits.targets[chosen], np.arange(len(chosen))))
    return found


def _outcome(attack: str, batch: int, view: View, pairs: list[tuple[Picture, Picture]]) -> Outcome:
    return Outcome(
        attack=attack,
        batch=batch,
        view=view.name,
        psnr=float(np.mean([psnr(*pair) for pair in pairs])),
        ssim=float(np.mean([ssim(*pair) for pair in pairs])),
        breached=sum(is_breached(*pair) for pair in pairs),
        pictures=len(pairs),
        shown=np.stack([np.stack([pair[side] for pair in pairs[:SHOWN]]) for side in (0, 1)]),
    )


def reconstruction_json(protection: Protection, outcomes: tuple[Outcome, ...], bound: Bound) -> Mapping[str, object]:
    """Return all outcomes in types that JSON has."""
    return {
        "material": MATERIAL,
        "max_grad_norm": protection.max_grad_norm,
        "noise_multiplier": protection.noise_multiplier,
        "sites_in_a_sum": SITES_IN_A_SUM,
        "told_if": {"psnr_above": MIN_PSNR, "ssim_above": MIN_SSIM},
        "bound": {"prior": bound.prior, "one_step": bound.one_step, "whole_job": bound.whole_job},
        "outcomes": [
            {
                "attack": outcome.attack,
                "batch": outcome.batch,
                "view": outcome.view,
                "psnr": outcome.psnr,
                "ssim": outcome.ssim,
                "breached": outcome.breached,
                "pictures": outcome.pictures,
            }
            for outcome in outcomes
        ],
    }
