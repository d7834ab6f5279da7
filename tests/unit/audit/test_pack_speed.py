"""A thousand rounds of ten sites: verified in half a minute, signed ledger heads of every round included."""

import time

import pytest
from tests.unit.audit.audit_cases import make_run, parts_of, sealed

from almoner.audit.pack_verify import verify_pack

LIMIT_SECONDS = 30.0


@pytest.mark.slow
def test_a_thousand_rounds_of_ten_sites_verify_in_half_a_minute(tmp_path):
    run = make_run(num_sites=10, num_rounds=1000, round_heads=True)
    data = sealed(run, parts_of(run, tmp_path))
    start = time.perf_counter()
    verdict = verify_pack(data, run.root_pem)
    elapsed = time.perf_counter() - start
    commits = sum(1 for book in verdict.books.values() for _ in book.commits())
    print(f"{len(data) / 1e6:.1f} MB, {commits} commits, verified in {elapsed:.1f} s")
    assert commits == 10 * 1001
    assert elapsed < LIMIT_SECONDS
