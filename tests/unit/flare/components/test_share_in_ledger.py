"""What the ledger holds of a share that nobody but its site may know: a digest that cannot be tried out."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from flare_cases import SITES, Pki
from hospital_cases import Hospitals, hospitals, request

from almoner.flare.components import filters
from almoner.flare.components.filters import result_digest
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import CHARGED, ReplyKind
from almoner.flare.statistics.job import ROUND
from almoner.privacy.ledger_entries import Released

ONE_CELL = request(
    trust={"kind": "distributed", "num_colluding_sites": 1},
    columns={},
    queries=[{"name": "patients", "kind": "count", "share": 1.0}],
)
KEY = bytes(range(32))


def plain_digest(sealed: Sealed, key: bytes = b"") -> str:
    """Return the digest without a key: what anybody can compute who guesses the result."""
    body = sealed.body if isinstance(sealed.body, bytes) else np.ascontiguousarray(sealed.body, "<i8").tobytes()
    return sha256(f"{sealed.kind.name}:{sealed.round}:".encode() + body).hexdigest()


def in_ledger(members: Hospitals, site: str) -> str:
    """Return what a reader of the ledger, or of its export, sees of the share."""
    with members.contexts[site].site.ledger() as ledger:
        (found,) = (entry.payload for entry in ledger.entries() if entry.kind == "released")
    return Released.model_validate_json(found).digest


def tried_out(members: Hospitals, site: str, digest: Callable[[Sealed], str]) -> list[int]:
    """Return which shares the reader finds, who tries all small integers."""
    seen = in_ledger(members, site)
    guesses = range(-2_000, 20_000)
    return [
        guess
        for guess in guesses
        if digest(Sealed(ReplyKind.UPDATE, ROUND, "statistics", np.array([guess], np.int64))) == seen
    ]


@pytest.mark.threat("T-75")
def test_a_share_is_not_found_by_trying_all(tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    job, members = hospitals(tmp_path / "on", pki, ONE_CELL)
    job.run(SITES)
    assert members.errors == []
    (share,) = members.sent[SITES[0]].tolist()
    assert -2_000 <= share < 20_000, "the attack would have tried it"
    own, other = members.contexts[SITES[0]].digest_key, members.contexts[SITES[1]].digest_key
    assert tried_out(members, SITES[0], plain_digest) == []
    assert tried_out(members, SITES[0], lambda sealed: result_digest(sealed, other)) == [], "nor by another site"
    assert tried_out(members, SITES[0], lambda sealed: result_digest(sealed, own)) == [share], "the key is what hides"
    assert own.hex() not in str(members.contexts[SITES[0]])

    monkeypatch.setattr(filters, "result_digest", plain_digest)
    job, members = hospitals(tmp_path / "off", pki, ONE_CELL)
    job.run(SITES)
    assert tried_out(members, SITES[0], plain_digest) == members.sent[SITES[0]].tolist()


@pytest.mark.threat("T-75")
def test_the_key_is_no_file_and_no_message(tmp_path: Path, pki: Pki) -> None:
    job, members = hospitals(tmp_path, pki, ONE_CELL)
    job.run(SITES)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    said = [reply.body for reply in members.replies.values()]
    assert len(files) > len(SITES)
    for context in members.contexts.values():
        key = context.digest_key
        assert len(key) == 32
        assert not any(key in content or key.hex().encode() in content for content in (*files, *said))
    assert len({context.digest_key for context in members.contexts.values()}) == len(SITES)


@pytest.mark.parametrize("kind", sorted(CHARGED))
def test_updates_alone_are_keyed_and_repeats_are_the_same(kind: ReplyKind) -> None:
    body = np.array([323], np.int64) if kind is ReplyKind.UPDATE else bytes(8)
    first, again = (Sealed(kind, ROUND, "statistics", body) for _ in range(2))
    assert result_digest(first, KEY) == result_digest(again, KEY)
    assert (result_digest(first, KEY) != result_digest(first, KEY[::-1])) == (kind is ReplyKind.UPDATE)
    assert len(bytes.fromhex(result_digest(first, KEY))) == 32
