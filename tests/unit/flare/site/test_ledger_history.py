"""A reader reads each entry once, and reads anew what is not the chain that it knows."""

import shutil
from pathlib import Path

import pytest
from flare_cases import JOB_ID

from almoner.flare.job.job_context import JobContext
from almoner.flare.site.ledger_history import HistoryReader
from almoner.privacy.ledger import Entry, Ledger


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """How many entries were asked for, each time."""
    limits: list[int | None] = []
    real = Ledger.entries

    def entries(self: Ledger, limit: int | None = None) -> tuple[Entry, ...]:
        if limit != 1:  # the head is one entry
            limits.append(limit)
        return real(self, limit)

    monkeypatch.setattr(Ledger, "entries", entries)
    return limits


def test_only_what_is_new_is_read(context: JobContext, asked: list[int | None]) -> None:
    reader = HistoryReader()
    with context.site.ledger() as ledger:
        assert [job.committed for job in reader.read(ledger).jobs] == [0]
        ledger.commit(JOB_ID, "train-0001")
        ledger.record("remark", {"remark": "x"})
        assert [job.committed for job in reader.read(ledger).jobs] == [1]
        assert reader.read(ledger).jobs == HistoryReader().read(ledger).jobs
    assert asked == [None, 3, None]


def test_a_ledger_that_was_replaced_is_read_anew(context: JobContext, tmp_path: Path) -> None:
    reader = HistoryReader()
    with context.site.ledger() as ledger:
        kept = tmp_path / "kept.sqlite"
        shutil.copy(ledger.path, kept)
        ledger.commit(JOB_ID, "train-0001")
        assert reader.read(ledger).jobs[0].committed == 1
    kept.chmod(0o600)
    with Ledger.open(kept) as older:
        assert reader.read(older).jobs[0].committed == 0
        older.record("remark", {"remark": "another chain"})
        older.record("remark", {"remark": "as long as the first"})
        assert reader.read(older).jobs[0].committed == 0
