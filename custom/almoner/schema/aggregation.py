"""How sites' updates are put together, as a JobSpec names it: the kinds of aggregation and their rules."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from almoner.schema.base import Model

RuleKind = Literal[
    "krum",
    "multi_krum",
    "bulyan",
    "median",
    "trimmed_mean",
    "geometric_median",
    "centered_clipping",
    "norm_clipped_mean",
]
"""Byzantine-robust rules; see `almoner.robust`."""
GroupRuleKind = Literal["median", "trimmed_mean", "krum"]
"""Those whose result is the same to the last bit on every machine, so that each site can compute it itself."""
PreAggregationKind = Literal["nearest_neighbour_mixing", "bucketing", "static_clipping"]
"""What may be done to the rows before the rule, in the order given."""

CLIPPING = ("static_clipping", "centered_clipping", "norm_clipped_mean")
"""The rules and pre-aggregations that need an l2_clip_norm."""

ClipNorm = Annotated[float, Field(ge=1e-6, le=1e6)]
ByzantineSites = Annotated[int, Field(ge=1, le=24)]
"""Sites that may send anything, f: less than half of at most 50."""


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


class RobustAggregation(Model):
    """Sites send their noised updates in clear; the server combines them so that a few bad ones do little.

    Args:
        rule: how the server combines them.
        num_byzantine_sites: sites that may send anything, f. It is about robustness, and protects no update.
        pre: what is done to the updates before the rule, in this order.
        l2_clip_norm: L2 norm to which mean updates are cut, for what clips; not to be given otherwise.
    """

    kind: Literal["robust"]
    rule: RuleKind
    num_byzantine_sites: ByzantineSites
    pre: tuple[PreAggregationKind, ...] = ()
    l2_clip_norm: ClipNorm | None = None

    @model_validator(mode="after")
    def _clips_as_it_says(self) -> "RobustAggregation":
        if len(set(self.pre)) != len(self.pre):
            raise ValueError("pre: a step is named twice")
        clipping = [step for step in (*self.pre, self.rule) if step in CLIPPING]
        if clipping and self.l2_clip_norm is None:
            raise ValueError(f"l2_clip_norm: {clipping[0]} needs it; give the norm that mean updates are cut to")
        if not clipping and self.l2_clip_norm is not None:
            raise ValueError(f"l2_clip_norm: nothing here clips; leave it out, or use one of {', '.join(CLIPPING)}")
        return self


@dataclass(frozen=True)
class Grouping:
    """How the groups of a grouped job are combined; see `SecaggAggregation`."""

    groups: int
    rule: GroupRuleKind
    num_byzantine_sites: int
    l2_clip_norm: float


class SecaggAggregation(Model):
    """Sites send masked updates; masks cancel in the sum, and are rebuilt from shares where sites drop out.

    With `groups`, each group of sites has a sum of its own, and a robust rule combines the groups' means. Either all
    four fields about groups are given, or none.

    Args:
        num_colluding_sites: sites that may give the server all that they know, c: it then learns the sum of at
            least two others, and no less. The larger c is, the more sites a round, or each group, needs.
        groups: into how many groups the study's sites are drawn, once for the study, m.
        rule: how the groups' means are combined; each site computes it itself.
        num_byzantine_sites: sites that may send any values, f. Each spoils its group; f may exceed c.
        l2_clip_norm: L2 norm to which the groups' means are cut.
    """

    kind: Literal["secagg"]
    num_colluding_sites: Annotated[int, Field(ge=1, le=50)]
    groups: Annotated[int, Field(ge=2, le=16)] | None = None
    rule: GroupRuleKind | None = None
    num_byzantine_sites: ByzantineSites | None = None
    l2_clip_norm: ClipNorm | None = None

    @model_validator(mode="after")
    def _groups_are_given_in_full(self) -> "SecaggAggregation":
        names = ("groups", "rule", "num_byzantine_sites", "l2_clip_norm")
        missing = [name for name in names if getattr(self, name) is None]
        if missing and len(missing) < len(names):
            given = [name for name in names if name not in missing]
            raise ValueError(
                f"{', '.join(given)} without {', '.join(missing)}: groups take all of {', '.join(names)}, or none"
            )
        return self

    @property
    def grouping(self) -> Grouping | None:
        """How the groups are combined; None for one sum over all sites."""
        if self.groups is None or self.rule is None or self.num_byzantine_sites is None or self.l2_clip_norm is None:
            return None
        return Grouping(self.groups, self.rule, self.num_byzantine_sites, self.l2_clip_norm)


AggregationSpec = Annotated[
    PlainAggregation | RobustAggregation | HeAggregation | SecaggAggregation, Field(discriminator="kind")
]
