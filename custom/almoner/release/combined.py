"""What a request's numbers over several sites are, and how far the noise of either trust model moves them."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from almoner.privacy.distributed_noise import shared_noise
from almoner.privacy.plans import plan_of
from almoner.privacy.statistics_plan import statistics_parts
from almoner.release.answers import interpret
from almoner.release.laws import NoiseLaw, PartNoise, local_noise
from almoner.release.share import in_units
from almoner.schema.answer import Answer
from almoner.schema.statistics import StatisticsSpec

Cells = NDArray[np.int64]


def added_up(spec: StatisticsSpec, by_site: Mapping[str, Cells]) -> tuple[Answer, ...]:
    """Read the sum of several sites' own noised integers.

    Args:
        by_site: int64[D] of each site, at least one.
    """
    total: Cells = np.stack(list(by_site.values())).sum(axis=0)
    return interpret(spec, total, local_noise(spec, len(by_site)))


def opened(spec: StatisticsSpec, total: Cells, num_sites: int, num_contributors: int) -> tuple[Answer, ...]:
    """Read the total of a distributed request.

    Args:
        total: int64[D], noise included, in the steps that it was added up in.
        num_sites: all sites of the job; what the noise was sized by.
        num_contributors: the sites in the total, each with a share of noise.
    """
    noise = distributed_noise(spec, num_sites, num_contributors)
    return interpret(spec, in_units(spec, total, num_sites), noise)


def distributed_noise(spec: StatisticsSpec, num_sites: int, num_contributors: int) -> tuple[PartNoise, ...]:
    """Return law and event of each part of a distributed total in units.

    Where it was added up in finer steps, rounding to units adds 1/12 to the variance.
    """
    (step,) = plan_of(spec, num_sites).steps
    found = []
    for each, event in zip(shared_noise(spec, num_sites), step.events, strict=True):
        rounding = 1 / 12 / num_contributors if each.steps > 1 else 0.0
        scale = math.sqrt(each.site_sigma**2 + rounding)
        found.append(PartNoise(NoiseLaw("discrete_gaussian", scale, num_contributors), event))
    return tuple(found)


def statistics_lines(spec: StatisticsSpec, num_sites: int) -> tuple[str, ...]:
    """Return what `almoner job plan` prints about the noise: how far it moves a count, for each query."""
    if not num_sites:
        return ()
    distributed = spec.trust.kind == "distributed"
    noise = distributed_noise(spec, num_sites, num_sites) if distributed else local_noise(spec, num_sites)
    counts: dict[str, int] = {}  # the first part of every query is of counts
    for part, each in zip(statistics_parts(spec), noise, strict=True):
        counts.setdefault(spec.queries[part.query].name, each.law.half_width(spec.confidence))
    where = f"over {num_sites} sites, with {spec.confidence:.0%} confidence"
    return tuple(f"{name}: noise moves a count by at most {width} {where}" for name, width in counts.items())
