"""What a step of a job cost: DP events as data, and the receipt that carries them."""

from typing import Annotated, Literal

from pydantic import Field

from almoner.schema.base import Model, Name, NeighboringRelation, PlainText, Probability


class SampledGaussian(Model):
    """`count` Poisson-subsampled Gaussian steps: noise of standard deviation σ times the L2 sensitivity."""

    kind: Literal["sampled_gaussian"]
    noise_multiplier: Annotated[float, Field(gt=0, le=1_000_000)]
    sampling_prob: Probability
    count: Annotated[int, Field(ge=1, le=10_000_000)]


class DistributedGaussian(Model):
    """`count` Poisson-subsampled steps whose noise is a sum of discrete Gaussians, one share a site.

    Only its Rényi divergence at integer orders counts, see `privacy/distributed_training.py`; it has no PLD.

    Args:
        noise_multiplier: of the shares that the guarantee counts on, together, over the L2 sensitivity.
        assumption: what that rests on: how many sites keep their shares.
    """

    kind: Literal["distributed_gaussian"]
    noise_multiplier: Annotated[float, Field(gt=0, le=1_000_000)]
    sampling_prob: Probability
    count: Annotated[int, Field(ge=1, le=10_000_000)]
    assumption: PlainText


class PublicData(Model):
    """`count` steps on data that its site registered as public: nothing is protected, and nothing charged."""

    kind: Literal["public_data"]
    count: Annotated[int, Field(ge=1, le=10_000_000)]


class PureRelease(Model):
    """`count` pure ε-DP releases, charged by the randomised-response Rényi curve (its worst case)."""

    kind: Literal["pure_release"]
    epsilon: Annotated[float, Field(gt=0, le=100)]
    count: Annotated[int, Field(ge=1, le=10_000_000)]


class ZcdpRelease(Model):
    """`count` releases that are ρ-zCDP: discrete Gaussian noise, or a sum of it over sites.

    Args:
        assumption: what the ρ rests on beside the mechanism, such as how many sites collude; "" for nothing.
    """

    kind: Literal["zcdp_release"]
    rho: Annotated[float, Field(gt=0, le=1_000_000)]
    count: Annotated[int, Field(ge=1, le=10_000_000)]
    assumption: PlainText | Literal[""] = ""


PrivacyEvent = Annotated[
    SampledGaussian | DistributedGaussian | PublicData | PureRelease | ZcdpRelease, Field(discriminator="kind")
]


class PrivacyReceipt(Model):
    """One unit of work that touched data, with the events that it cost.

    Args:
        site: whose account was charged.
        job_id: FLARE's id of the job.
        step: "train-<round>" or the kind of a release; with job_id it is the charge's key.
        events: what the step releases, all of it.
    """

    site: Name
    job_id: str
    step: Name
    privacy_unit: Name
    neighboring_relation: NeighboringRelation
    events: Annotated[tuple[PrivacyEvent, ...], Field(min_length=1)]
