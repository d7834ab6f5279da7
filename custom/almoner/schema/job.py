"""What a data scientist asks for: the JobSpec, and the envelope in which it is submitted once."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from almoner.schema.base import (
    Delta,
    Document,
    Epsilon,
    Model,
    Name,
    NeighboringRelation,
    PlainText,
    Probability,
    TrustModel,
)

ReleaseKind = Literal["accuracy", "size"]

TRUST_MODELS: dict[str, TrustModel] = {
    "plain": "trusted_server",
    "he": "semi_honest_server",
    "secagg": "semi_honest_server",
}
"""Kind of aggregation → what it asks one to believe, where an operator made the sites' keys."""

MAX_ROUNDS = 10_000
MIN_TARGET_EPSILON = 0.01
MIN_TARGET_DELTA = 1e-10
"""Below these the accountants cannot calibrate noise."""


class TrainingSpec(Model):
    """How a site trains. Nothing here can change what the privacy parameters claim."""

    local_steps: Annotated[int, Field(ge=1, le=1000)]
    learning_rate: Annotated[float, Field(gt=0, le=1000)]


class PrivacySpec(Model):
    """What is protected, and how strongly. No field has a default.

    Args:
        unit: what one neighbour is (patient, account, drive).
        target_epsilon: ε of the whole training run at one site, at `target_delta`.
        max_grad_norm: L2 bound on one unit's gradient.
        sampling_prob: probability with which a unit is in a step (Poisson).
    """

    unit: Name
    neighboring_relation: NeighboringRelation
    mechanism: Literal["dp_sgd"]
    target_epsilon: Annotated[Epsilon, Field(ge=MIN_TARGET_EPSILON)]
    target_delta: Annotated[Delta, Field(ge=MIN_TARGET_DELTA)]
    max_grad_norm: Annotated[float, Field(gt=0, le=1000)]
    sampling_prob: Probability


class PlainAggregation(Model):
    """Sites send their noised updates in clear; the server sees each."""

    kind: Literal["plain"]


class HeAggregation(Model):
    """Sites send BFV ciphertexts; the server adds what it cannot read.

    Args:
        num_colluding_sites: sites assumed to collude, c. All sites of a job share the key, so a server
            with one colluding site reads single (still noised) updates; the field states what is assumed.
    """

    kind: Literal["he"]
    num_colluding_sites: Annotated[int, Field(ge=1, le=50)]


class SecaggAggregation(Model):
    """Sites send masked updates; masks cancel in the sum, and are rebuilt from shares where sites drop out.

    Args:
        num_colluding_sites: sites that may give the server all that they know, c: it then learns the sum of at
            least two others, and no less. The larger c is, the more sites a round needs.
    """

    kind: Literal["secagg"]
    num_colluding_sites: Annotated[int, Field(ge=1, le=50)]


AggregationSpec = Annotated[PlainAggregation | HeAggregation | SecaggAggregation, Field(discriminator="kind")]


class AccuracyRelease(Model):
    """Each site's noised (correct, wrong) histogram on its test records, once, at the end of the job."""

    kind: Literal["accuracy"]
    epsilon: Epsilon


class JobSpec(Document):
    """One training job: everything that a site needs to decide about it and to run it."""

    kind: Literal["training"]
    name: Name
    study: Name
    purpose: PlainText
    workload: Name
    dataset: Name
    rounds: Annotated[int, Field(ge=0, le=MAX_ROUNDS)]
    min_sites: Annotated[int, Field(ge=1, le=50)]
    training: TrainingSpec
    privacy: PrivacySpec
    aggregation: AggregationSpec
    releases: Annotated[tuple[AccuracyRelease, ...], Field(max_length=1)]

    @property
    def num_steps(self) -> int:
        """Noisy steps that one site takes in the whole job."""
        return self.rounds * self.training.local_steps

    @property
    def num_colluding_sites(self) -> int:
        """Sites that the protection withstands at the server's side; 0 where it sees every update anyway."""
        return 0 if isinstance(self.aggregation, PlainAggregation) else self.aggregation.num_colluding_sites

    def trust_model(self, keys_at_site: bool = False) -> TrustModel:
        """Return what the job's protection asks its sites to believe about the server.

        Args:
            keys_at_site: whether every site made its own key, as its roster says.
        """
        kind = self.aggregation.kind
        return "active_server" if kind == "secagg" and keys_at_site else TRUST_MODELS[kind]


class JobEnvelope(Document):
    """A JobSpec made ready for exactly one submission.

    Args:
        spec: the job.
        sites: the sites that the job is for, in roster order.
        nonce: 128 random bits in hexadecimal; a site accepts a nonce once.
        expires_unix_seconds: no site accepts the envelope after this time.
        almoner_version: the release that rendered the folder; sites compare it with their own.
    """

    spec: JobSpec
    sites: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)]
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    expires_unix_seconds: Annotated[int, Field(gt=0, lt=2**53)]
    almoner_version: PlainText

    @model_validator(mode="after")
    def _sites_are_distinct_and_enough(self) -> "JobEnvelope":
        if len(set(self.sites)) != len(self.sites):
            raise ValueError("sites: a site is named twice")
        if len(self.sites) < self.spec.min_sites:
            raise ValueError(f"sites: {len(self.sites)} named, but the job wants min_sites={self.spec.min_sites}")
        return self
