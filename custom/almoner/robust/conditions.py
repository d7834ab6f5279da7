"""How many rows each rule needs to withstand f Byzantine ones: the conditions of the papers."""

from almoner.errors import PolicyViolation
from almoner.schema.aggregation import PreAggregationKind, RuleKind

BUCKET_SIZE = 2
"""Rows of a bucket (Karimireddy et al., arXiv:2006.09365, who find that 2 is enough)."""

_CONDITIONS: dict[RuleKind, tuple[int, int, str]] = {
    "krum": (2, 3, "Blanchard et al., NeurIPS 2017"),
    "multi_krum": (2, 3, "Blanchard et al., NeurIPS 2017"),
    "bulyan": (4, 3, "El Mhamdi et al., arXiv:1802.07927"),
    "median": (2, 1, "Yin et al., arXiv:1803.01498"),
    "trimmed_mean": (2, 1, "Yin et al., arXiv:1803.01498"),
    "geometric_median": (2, 1, "Pillutla et al., arXiv:1912.13445"),
    "centered_clipping": (10, 0, "Karimireddy et al., arXiv:2012.10333"),
    "norm_clipped_mean": (2, 1, "an honest majority; Sun et al., arXiv:1911.07963, name no condition"),
}
"""a and b of n ≥ a·f + b, and where that is from."""


def min_rows(kind: RuleKind, num_byzantine: int, pre: tuple[PreAggregationKind, ...] = ()) -> int:
    """Return the fewest rows among which a rule withstands so many Byzantine ones.

    Each Byzantine row may spoil a bucket of its own, so with bucketing the condition must hold for the buckets.
    Nearest-neighbour mixing needs 2f + 1 rows, which every rule needs anyway; clipping needs none.

    Args:
        kind: the rule.
        num_byzantine: f, at least 0.
        pre: pre-aggregations before the rule.
    """
    slope, constant, _ = _CONDITIONS[kind]
    rows = max(1, slope * num_byzantine + constant)
    for _ in range(pre.count("bucketing")):
        rows = BUCKET_SIZE * (rows - 1) + 1
    return rows


def require(kind: RuleKind, num_rows: int, num_byzantine: int, pre: tuple[PreAggregationKind, ...] = ()) -> None:
    """Refuse numbers of rows for which a rule promises nothing.

    Args:
        kind: the rule.
        num_rows: n, the sites or groups that take part.
        num_byzantine: f, how many of them may send anything.
        pre: pre-aggregations before the rule.

    Raises:
        PolicyViolation: n is too small for f, or f is negative.
    """
    if num_byzantine < 0:
        raise PolicyViolation(f"num_byzantine_sites {num_byzantine} → at least 0")
    if num_rows >= (needed := min_rows(kind, num_byzantine, pre)):
        return
    slope, constant, source = _CONDITIONS[kind]
    condition = f"n ≥ {slope}f + {constant}" if constant else f"n ≥ {slope}f"
    buckets = f" over buckets of {BUCKET_SIZE}" if "bucketing" in pre else ""
    raise PolicyViolation(
        f"{kind}{buckets} needs {needed} rows to withstand f={num_byzantine} ({condition}; {source}), there are "
        f"{num_rows} → more sites, a smaller num_byzantine_sites, or another rule"
    )
