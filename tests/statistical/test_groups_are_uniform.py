"""The draw of groups favours no site and no pair: seeded; a correct draw fails each test with probability 1e-6."""

import itertools

import numpy as np
from scipy.stats import chi2, chisquare
from tests.simulator import names_of

from almoner.protection.draw import DrawTerms, assign

SITES, DRAWS = names_of(9), 4000
TERMS = DrawTerms("credit", SITES, ("0" * 64,) * 9, (3, 3, 3), 1)
FALSE_ALARM = 1e-6


def test_places_and_pairs() -> None:
    rng = np.random.default_rng(20261122)
    place, together = np.zeros((9, 3)), np.zeros((9, 9))
    for _ in range(DRAWS):
        secrets = {site: rng.bytes(32) for site in SITES}
        groups = assign(TERMS, secrets, secrets)
        where = [next(k for k, group in enumerate(groups) if site in group) for site in SITES]
        place[range(9), where] += 1
        for one, other in itertools.combinations(range(9), 2):
            together[one, other] += where[one] == where[other]
    assert all(chisquare(row).pvalue > FALSE_ALARM / 9 for row in place)
    pairs = together[np.triu_indices(9, 1)]
    expected = DRAWS * 2 / 8
    statistic = ((pairs - expected) ** 2 / (expected * (1 - 2 / 8))).sum()
    assert statistic < 2 * chi2.isf(FALSE_ALARM, len(pairs))  # pairs of one draw are not independent
