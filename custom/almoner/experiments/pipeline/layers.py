"""The layers of the pipeline: what each is, what it protects against, and the job that has it."""

from dataclasses import dataclass
from typing import Any, Literal

from almoner.errors import PolicyViolation
from almoner.protection.groups import MIN_GROUPS
from almoner.schema.aggregation import AggregationSpec, HeAggregation, PlainAggregation, SecaggAggregation
from almoner.schema.job import DpSgdPrivacy, JobSpec, NoPrivacy, TargetPrivacy

LayerName = Literal["plain", "dp", "he", "secagg", "commitments", "groups"]
_LEAST_HONEST = 2
"""Sites of a sum beside the colluding ones."""


@dataclass(frozen=True)
class Layer:
    """One line of the table.

    Args:
        name: short, for scripts.
        title: in words.
        against: what the layer adds, in words.
        threats: numbers in threat_model/threats.yaml that it answers.
    """

    name: LayerName
    title: str
    against: str
    threats: tuple[str, ...]


LAYERS: tuple[Layer, ...] = (
    Layer("plain", "plain", "nothing: no noise, updates in clear", ()),
    Layer("dp", "+ DP", "what model and updates tell of one unit", ("T-04", "T-84", "T-99")),
    Layer("he", "+ HE", "a server that reads single updates", ("T-12", "T-13", "T-35")),
    Layer(
        "secagg",
        "or + secret sharing",
        "the same, also with c sites on the server's side, and with drop-outs",
        ("T-12", "T-35", "T-36", "T-38", "T-47"),
    ),
    Layer(
        "commitments",
        "  + commitments",
        "changed, exchanged or left-out contributions and altered sums, found without a value seen",
        ("T-37", "T-103"),
    ),
    Layer("groups", "    + robust groups", "f sites that send any values", ("T-40", "T-41", "T-44")),
)


@dataclass(frozen=True)
class Variants:
    """One job in the ways that the layers have it; all but its mechanism and its aggregation are alike.

    Args:
        plain: without privacy, in clear.
        dp: with each site's own noise, in clear.
        he, secagg: the same under a protection.
        groups: under secret sharing in groups.
    """

    plain: JobSpec
    dp: JobSpec
    he: JobSpec
    secagg: JobSpec
    groups: JobSpec


def variants_of(spec: JobSpec, num_sites: int) -> Variants:
    """Return a job's variants.

    Groups are the job's own where it has them. Else there are three, one bad site is borne, the rule is the median, and
    means are cut to what a unit's clipped gradient may come to in a round.

    Args:
        spec: the job.
        num_sites: of which it is to run; at least nine.

    Raises:
        PolicyViolation: the job trains without privacy.
    """
    numbers = private_numbers(spec)
    private = spec.model_copy(update={"privacy": DpSgdPrivacy(**(numbers | {"mechanism": "dp_sgd"})), "releases": ()})
    kept = {name: numbers[name] for name in NoPrivacy.model_fields if name != "mechanism"}
    plain = private.model_copy(update={"privacy": NoPrivacy(mechanism="none", **kept)})
    colluding = min(max(1, spec.num_colluding_sites), num_sites // MIN_GROUPS - _LEAST_HONEST)
    clear = PlainAggregation(kind="plain")
    return Variants(
        plain=_under(plain, clear),
        dp=_under(private, clear),
        he=_under(private, HeAggregation(kind="he", num_colluding_sites=colluding)),
        secagg=_under(private, SecaggAggregation(kind="secagg", num_colluding_sites=colluding)),
        groups=_under(private, _groups(spec, colluding)),
    )


def private_numbers(spec: JobSpec) -> dict[str, Any]:
    """Return the numbers of a job's privacy.

    Raises:
        PolicyViolation: the job has none.
    """
    if not isinstance(spec.privacy, TargetPrivacy):
        raise PolicyViolation(f"job {spec.name}: trains without privacy, so there is no layer to add → a private job")
    return spec.privacy.model_dump()


def _under(spec: JobSpec, aggregation: AggregationSpec) -> JobSpec:
    return spec.model_copy(update={"aggregation": aggregation})


def _groups(spec: JobSpec, colluding: int) -> AggregationSpec:
    """Return the job's own groups, or those of the bench."""
    if spec.grouping is not None:
        return spec.aggregation
    return SecaggAggregation(
        kind="secagg",
        num_colluding_sites=colluding,
        groups=MIN_GROUPS,
        rule="median",
        num_byzantine_sites=1,
        l2_clip_norm=spec.privacy.max_grad_norm * spec.training.local_steps,
    )
