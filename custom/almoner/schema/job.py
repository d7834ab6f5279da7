"""What a data scientist asks for when a model is to be trained: the JobSpec."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from almoner.schema.aggregation import (
    AggregationSpec,
    Grouping,
    PlainAggregation,
    RobustAggregation,
    SecaggAggregation,
)
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
    "robust": "trusted_server",
    "he": "semi_honest_server",
    "secagg": "semi_honest_server",
}
"""Kind of aggregation → what it asks one to believe, where an operator made the sites' keys."""

MAX_ROUNDS = 10_000
MIN_TARGET_EPSILON = 0.01
MIN_TARGET_DELTA = 1e-10
"""Below these the accountants cannot calibrate noise."""


class TrainingSpec(Model):
    """How a site trains. Nothing here can change what the privacy parameters claim.

    Args:
        server_momentum: share of the last step that every site adds to the next; 0 for none.
        proximal: μ, how strongly local steps are drawn back to the round's first weights (FedProx); 0 for none.
        update_bits: bits of one integer of an update, with sign.
    """

    local_steps: Annotated[int, Field(ge=1, le=1000)]
    learning_rate: Annotated[float, Field(gt=0, le=1000)]
    server_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    proximal: Annotated[float, Field(ge=0, le=1000)] = 0.0
    update_bits: Annotated[int, Field(ge=4, le=16)] = 16

    @model_validator(mode="after")
    def _pull_is_no_push(self) -> "TrainingSpec":
        if self.learning_rate * self.proximal > 1:
            raise ValueError("proximal: above 1 / learning_rate it throws weights past where they started; lower it")
        return self

    @property
    def update_limit(self) -> int:
        """The largest integer of an update."""
        return (1 << (self.update_bits - 1)) - 1


class TrainingPrivacy(Model):
    """What all mechanisms state. No field has a default.

    Args:
        unit: what one neighbour is (patient, account, drive).
        max_grad_norm: L2 bound on one unit's gradient; without privacy, on the mean gradient of a step.
        sampling_prob: probability with which a unit is in a step (Poisson).
    """

    unit: Name
    neighboring_relation: NeighboringRelation
    max_grad_norm: Annotated[float, Field(gt=0, le=1000)]
    sampling_prob: Probability


class TargetPrivacy(TrainingPrivacy):
    """What mechanisms with a guarantee state besides.

    Args:
        target_epsilon: ε of the whole training run at one site, at `target_delta`.
    """

    target_epsilon: Annotated[Epsilon, Field(ge=MIN_TARGET_EPSILON)]
    target_delta: Annotated[Delta, Field(ge=MIN_TARGET_DELTA)]


class DpSgdPrivacy(TargetPrivacy):
    """Each site's update carries all the noise that its ε needs."""

    mechanism: Literal["dp_sgd"]


class DistributedDpPrivacy(TargetPrivacy):
    """Each site adds a share of the noise, inside secure aggregation; only the noised total opens."""

    mechanism: Literal["distributed_dp"]


class NoPrivacy(TrainingPrivacy):
    """No noise, no ε: for data that its sites registered as public."""

    mechanism: Literal["none"]


PrivacySpec = Annotated[DpSgdPrivacy | DistributedDpPrivacy | NoPrivacy, Field(discriminator="mechanism")]
Mechanism = Literal["dp_sgd", "distributed_dp", "none"]


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

    @model_validator(mode="after")
    def _mechanism_has_what_it_needs(self) -> "JobSpec":
        if self.privacy.mechanism == "none" and self.releases:
            raise ValueError("releases: a job without privacy charges none; leave them out")
        if self.privacy.mechanism == "distributed_dp":
            self._check_distributed()
        return self

    def _check_distributed(self) -> None:
        """Refuse what distributed noise is not proven for: only one noised sum of integers may open."""
        if self.aggregation.kind != "secagg" or self.aggregation.grouping is not None:
            raise ValueError("privacy.mechanism: distributed_dp needs aggregation.kind secagg, without groups")
        training = self.training
        if (training.local_steps, training.proximal, training.update_bits) != (1, 0, 16):
            raise ValueError("privacy.mechanism: distributed_dp takes one local step, and no proximal or update_bits")

    @property
    def privacy_unit(self) -> str:
        """What one neighbour is."""
        return self.privacy.unit

    @property
    def neighboring_relation(self) -> NeighboringRelation:
        """Which data sets are neighbours."""
        return self.privacy.neighboring_relation

    @property
    def target_delta(self) -> float:
        """δ of every ε that the job states; the least that is accounted where it states none."""
        return self.privacy.target_delta if isinstance(self.privacy, TargetPrivacy) else MIN_TARGET_DELTA

    @property
    def target_epsilon(self) -> float | None:
        """ε of training, None for training without privacy."""
        return self.privacy.target_epsilon if isinstance(self.privacy, TargetPrivacy) else None

    @property
    def num_steps(self) -> int:
        """Noisy steps that one site takes in the whole job."""
        return self.rounds * self.training.local_steps

    @property
    def num_colluding_sites(self) -> int:
        """Sites that the protection withstands at the server's side, c; 0 where it sees every update anyway."""
        if isinstance(self.aggregation, PlainAggregation | RobustAggregation):
            return 0
        return self.aggregation.num_colluding_sites

    @property
    def grouping(self) -> Grouping | None:
        """How the groups of a grouped job are combined; None for every other job."""
        return self.aggregation.grouping if isinstance(self.aggregation, SecaggAggregation) else None

    @property
    def num_byzantine_sites(self) -> int:
        """Sites that may send anything without ruining the model, f; 0 where a single one can."""
        if isinstance(self.aggregation, RobustAggregation):
            return self.aggregation.num_byzantine_sites
        return self.grouping.num_byzantine_sites if self.grouping else 0

    def trust_model(self, keys_at_site: bool = False) -> TrustModel:
        """Return what the job's protection asks its sites to believe about the server.

        With groups it must follow the protocol whoever made the keys: a site takes the other groups' sums on its word.

        Args:
            keys_at_site: whether every site made its own key, as its roster says.
        """
        kind = self.aggregation.kind
        active = kind == "secagg" and keys_at_site and self.grouping is None
        return "active_server" if active else TRUST_MODELS[kind]
