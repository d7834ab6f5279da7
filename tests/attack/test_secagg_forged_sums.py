"""A server that gives out another sum than that of what sites sent. Each attack works without the tag or its pads."""

import numpy as np
import pytest
from tests.simulator import Simulation, running, snapshot

from almoner.errors import ProtocolError
from almoner.protection.message import HEADER_BYTES
from almoner.protection.scheme import RoundTotal
from almoner.secagg import total as total_module
from almoner.secagg.session import total_header
from almoner.secagg.tag import PRIME, TAG_BYTES, RoundTag, decode_tag, encode_tag

OPENER = "site-2"


def after_a_round(**terms: int) -> tuple[Simulation, RoundTotal]:
    """Return a job whose sites wait for the first total; values are small, so that a doubled sum is in range."""
    job = running(4, **terms)
    job.values = lambda number, site: np.arange(7) * 11 * number + int(site[-1])
    return job, job.round(1)


def parts(job: Simulation, body: bytes) -> tuple[np.ndarray, int, bytes]:
    """Return the words, the tag and the root of a total."""
    session = job.server._session
    payload = body[HEADER_BYTES:]
    words = np.frombuffer(payload[: session.words_bytes], dtype=session.packing.dtype)
    end = session.words_bytes + TAG_BYTES
    return words, decode_tag(payload[session.words_bytes : end], "tag"), payload[end:]


def forged(job: Simulation, count: int, words: np.ndarray, tag: int, root: bytes) -> bytes:
    header = total_header(job.server._session.terms, count).encode()
    return header + words.tobytes() + encode_tag(tag % PRIME) + root


def opened(job: Simulation, total: RoundTotal, body: bytes, contributors: tuple[str, ...] | None = None) -> np.ndarray:
    return snapshot(job.sites[OPENER]).open(1, contributors or total.contributors, body)


def without_tags(patch: pytest.MonkeyPatch) -> None:
    """Turn the check of the tag off."""

    class Anything(int):
        def __ne__(self, other: object) -> bool:
            return False

    patch.setattr(total_module, "decode_tag", lambda data, what: Anything(0))


def refused(job: Simulation, total: RoundTotal, body: bytes) -> bool:
    """Check that a site refuses a total for its tag, and then everything."""
    side = job.sites[OPENER]
    with pytest.raises(ProtocolError, match="tag does not verify"):
        side.open(1, total.contributors, body)
    with pytest.raises(ProtocolError, match="keys are forgotten"):
        side.open(1, total.contributors, total.body)
    return True


@pytest.mark.threat("T-37")
def test_a_change_of_one_entry_by_one(monkeypatch):
    job, total = after_a_round()
    words, tag, root = parts(job, total.body)
    changed = words.copy()
    changed[0] += np.uint64(1)
    body = forged(job, 4, changed, tag, root)
    with monkeypatch.context() as patch:
        without_tags(patch)
        assert (opened(job, total, body) - job.sum_of(1, total.contributors)).tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert refused(job, total, body)


@pytest.mark.threat("T-37")
def test_sum_and_tag_scaled_together(monkeypatch):
    def doubled(job: Simulation, total: RoundTotal) -> bytes:
        words, tag, root = parts(job, total.body)
        packing = job.server._session.packing
        sums = packing.unpack(words, 7, 4)
        offsets = packing.pack(np.zeros(7, dtype=np.int64)) * np.uint64(4)
        twice = packing.pack(2 * sums) + offsets - packing.pack(np.zeros(7, dtype=np.int64))
        return forged(job, 4, twice, 2 * tag, root)

    with monkeypatch.context() as patch:
        patch.setattr(RoundTag, "pad", lambda self, site: 0)
        job, total = after_a_round()
        assert np.array_equal(opened(job, total, doubled(job, total)), 2 * job.sum_of(1, total.contributors))
    job, total = after_a_round()
    assert refused(job, total, doubled(job, total))


@pytest.mark.threat("T-37")
def test_a_zero_sum(monkeypatch):
    def zero(job: Simulation, total: RoundTotal) -> bytes:
        packing = job.server._session.packing
        return forged(job, 4, packing.pack(np.zeros(7, dtype=np.int64)) * np.uint64(4), 0, parts(job, total.body)[2])

    with monkeypatch.context() as patch:
        patch.setattr(RoundTag, "pad", lambda self, site: 0)
        job, total = after_a_round()
        assert not opened(job, total, zero(job, total)).any()
    job, total = after_a_round()
    assert refused(job, total, zero(job, total))


@pytest.mark.threat("T-37")
def test_the_total_of_another_round(monkeypatch):
    """A round's total is handed out again in the next one, under the next one's root."""

    def second_round() -> tuple[Simulation, RoundTotal, bytes]:
        job, first = after_a_round()
        job.open_all(1)
        total = job.round(2)
        words, tag, _ = parts(job, first.body)
        return job, total, forged(job, 4, words, tag, parts(job, total.body)[2])

    job, total, body = second_round()
    with monkeypatch.context() as patch:
        without_tags(patch)
        found = snapshot(job.sites[OPENER]).open(2, total.contributors, body)
        assert np.array_equal(found, job.sum_of(1, total.contributors))
    with pytest.raises(ProtocolError, match="tag does not verify"):
        job.sites[OPENER].open(2, total.contributors, body)


@pytest.mark.threat("T-37")
def test_a_sum_of_fewer_sites_as_that_of_all(monkeypatch):
    """Offsets tell three addends from four; the server adds the missing one."""
    job, total = after_a_round()
    words, tag, root = parts(job, total.body)
    packing = job.server._session.packing
    smaller = words - packing.pack(job.values(1, "site-4")) + packing.pack(np.zeros(7, dtype=np.int64))
    body = forged(job, 4, smaller, tag, root)
    with monkeypatch.context() as patch:
        without_tags(patch)
        assert np.array_equal(opened(job, total, body), job.sum_of(1, ("site-1", "site-2", "site-3")))
    assert refused(job, total, body)


@pytest.mark.threat("T-37")
@pytest.mark.parametrize("contributors", [("site-1", "site-2", "site-3"), ("site-1",), (), ("site-4",) * 4])
def test_misstated_contributors(contributors):
    job, total = after_a_round()
    words, tag, root = parts(job, total.body)
    body = forged(job, max(1, len(contributors)), words, tag, root)
    with pytest.raises(ProtocolError, match="not the contributors that site-2 acknowledged"):
        job.sites[OPENER].open(1, contributors, body)


@pytest.mark.threat("T-37")
def test_another_count_or_root_in_the_total():
    job, total = after_a_round()
    words, tag, root = parts(job, total.body)
    with pytest.raises(ProtocolError, match="number of addends is 3, expected 4"):
        opened(job, total, forged(job, 3, words, tag, root))
    with pytest.raises(ProtocolError, match="the total's root is not that of the contributions"):
        opened(job, total, forged(job, 4, words, tag, bytes(32)))


@pytest.mark.threat("T-37")
def test_a_single_contribution_as_the_sum():
    job, total = after_a_round()
    contribution = next(a for q, a in zip(job.questions, job.answers, strict=True) if q.task == "train")["site-1"]
    _, _, root = parts(job, total.body)
    words = np.frombuffer(contribution[HEADER_BYTES:-72], dtype="<u8")
    for body in (contribution, forged(job, 4, words, 5, root)):
        with pytest.raises(ProtocolError, match=r"open: (total: kind|the total holds no sum)"):
            opened(job, total, body)


@pytest.mark.threat("T-37")
def test_every_bit_of_a_total_counts():
    job, total = after_a_round()
    assert np.array_equal(opened(job, total, total.body), job.sum_of(1, total.contributors))
    rng = np.random.default_rng(1)
    for place in rng.choice(8 * len(total.body), 40, replace=False).tolist():
        body = bytearray(total.body)
        body[place // 8] ^= 1 << place % 8
        with pytest.raises(ProtocolError, match="open: "):
            opened(job, total, bytes(body))


@pytest.mark.threat("T-36")
def test_tags_in_clear_would_tell_one_update_from_another(monkeypatch):
    """A site that colludes gives K_tag to the server, which then checks a guess of a victim's values by its tag."""
    from almoner.secagg import contribution

    def tells(job: Simulation) -> bool:
        job.round(1)
        sent = next(a for q, a in zip(job.questions, job.answers, strict=True) if q.task == "train")["site-1"]
        agreed, session = job.sites["site-4"]._job
        tag = RoundTag(agreed.tag_key, agreed.transcript, 1)
        guess = contribution.tag_values(session, tag, job.values(1, "site-1")) + tag.pad("site-1")
        return guess % PRIME == decode_tag(sent[-72:-64], "tag")

    with monkeypatch.context() as patch:
        patch.setattr(contribution, "mask_tag", lambda tag, masks: tag % PRIME)
        patch.setattr(total_module, "mask_tag", lambda tag, masks: tag % PRIME)
        assert tells(running(4))
    assert not tells(running(4))
