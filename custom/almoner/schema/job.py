"""What a data scientist asks for when a model is to be trained: the JobSpec."""

from typing import Annotated, Literal

from pydantic import Field

from almoner.schema.base import Delta, Document, Epsilon, Model, Name, NeighboringRelation, PlainText, Probability

ReleaseKind = Literal["accuracy"]
TrustModel = Literal["trusted_server", "semi_honest_server", "active_server"]
"""What a protection asks one to believe of the server: that it may see each noised update; that it follows the
protocol, and the operator uses no key that he made; or nothing, up to `num_colluding_sites` sites at its side."""

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

    kind: ReleaseKind
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
