"""The robust server: what it draws buckets from is not known before all updates are there, and stands in its report."""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from almoner.protection.plain import PlainSite
from almoner.protection.robust_plain import RobustServer, RobustTerms
from almoner.protection.scheme import IntVector, RoundTotal
from almoner.robust.rule import Rule
from almoner.robust.rules import make_rule

SITES = tuple(f"site-{index}" for index in range(6))
VALUES = {site: np.array([10 * index, index**2], dtype=np.int64) for index, site in enumerate(SITES)}
ROUNDS = range(1, 13)


def bucketed(seed: bytes) -> Rule:
    return make_rule("median", 1, ("bucketing",), seed=seed)


def sent(number: int, values: IntVector) -> bytes:
    site = PlainSite(2)
    site.begin(number, (), b"")
    return site.protect(number, values)


def total_of(number: int, rule: Callable[[bytes], Rule] = bucketed) -> RoundTotal:
    """Return what the server makes of the same updates in a round."""
    server = RobustServer(RobustTerms(dict.fromkeys(SITES, 10), 2, 6, 1.0, 0.5, rule))
    conversation = server.round(number, SITES)
    next(conversation)
    with pytest.raises(StopIteration) as end:
        conversation.send({site: sent(number, values) for site, values in VALUES.items()})
    total: RoundTotal = end.value.value
    return total


def known(number: int) -> bytes:
    """Return a seed that everybody knows who has seen the job, as it once was."""
    return hashlib.sha256(f"nonce:{number}".encode()).digest()


def foreseen(number: int) -> bytes:
    """Return the total that a liar computes who knows the seed."""
    return total_of(number, lambda _: bucketed(known(number))).body


@pytest.mark.threat("T-40")
def test_a_liar_that_foresees_public_seeds_does_not_foresee_drawn_ones() -> None:
    public = [total_of(number, lambda _, number=number: bucketed(known(number))).body for number in ROUNDS]
    assert public == [foreseen(number) for number in ROUNDS]
    assert len(set(public)) > 3, "buckets do not matter here"
    assert [total_of(number).body for number in ROUNDS] != public


def test_the_report_has_the_seed_that_the_total_follows_from() -> None:
    seeds = set()
    for number in ROUNDS:
        total = total_of(number)
        assert total.report is not None
        seed = bytes.fromhex(total.report["seed"])
        assert total_of(number, lambda _, seed=seed: bucketed(seed)).body == total.body
        seeds.add(seed)
    assert len(seeds) == len(ROUNDS)
    assert {len(seed) for seed in seeds} == {32}
