"""The executor: whatever comes, one sealed result; whatever fails, the same empty one."""

from typing import Any

import pytest
from flare_cases import fl_context, head, header
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from almoner.flare.components import job_kinds as job_context_module
from almoner.flare.components.executor import REFUSED, AlmonerExecutor
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.sealed import Sealed, SealedResult, unseal
from almoner.flare.job.wire import PAYLOAD_KEY, ReplyKind, encode_task
from almoner.flare.phases.site_job import State


@pytest.fixture
def fl_ctx(context: JobContext, monkeypatch: pytest.MonkeyPatch) -> FLContext:
    monkeypatch.setitem(job_context_module._CONTEXTS, context.job_id, context)
    return fl_context(context.job_id)


def execute(executor: AlmonerExecutor, name: str, payload: Any, fl_ctx: FLContext) -> Sealed | None:
    task = Shareable()
    task[PAYLOAD_KEY] = payload
    result = executor.execute(name, task, fl_ctx, Signal())
    assert type(result) is SealedResult
    return unseal(result)


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("train", None),
        ("train", b""),
        ("train", b"garbage"),
        ("train", {"weights": 1}),
        ("train", encode_task(header("setup"), b"")),
        ("setup", encode_task(header("train", 1), b"")),
        ("train", encode_task(header("train", 1), b"")),
        ("release", encode_task(header("release", 3), b"")),
        ("model", encode_task(header("model", 3), b"")),
        ("shell", encode_task(header("setup"), b"")),
    ],
)
def test_every_failure_is_the_same_empty_result(
    name: str, payload: Any, context: JobContext, fl_ctx: FLContext
) -> None:
    before = head(context)
    assert execute(AlmonerExecutor(), name, payload, fl_ctx) is REFUSED
    assert head(context) == before


def test_a_job_that_cannot_be_read_is_the_same_empty_result(context: JobContext) -> None:
    setup = encode_task(header("setup"), b"")
    assert execute(AlmonerExecutor(), "setup", setup, FLContext()) is REFUSED


def test_unexpected_errors_are_logged_by_type_alone(
    context: JobContext, fl_ctx: FLContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash() -> None:
        raise ZeroDivisionError("record 17")

    context.workload.before_load = crash  # type: ignore[attr-defined]
    executor = AlmonerExecutor()
    executor._open_job(fl_ctx)._state = State.READY
    assert execute(executor, "train", encode_task(header("train", 1), b""), fl_ctx) is REFUSED
    assert "ZeroDivisionError" in caplog.text
    assert "record 17" not in caplog.text


def test_one_job_goes_through_one_executor(context: JobContext, fl_ctx: FLContext) -> None:
    executor = AlmonerExecutor()
    first = execute(executor, "setup", encode_task(header("setup"), b""), fl_ctx)
    assert first is not None
    assert first.kind is ReplyKind.SETUP
    assert execute(executor, "setup", encode_task(header("setup"), b""), fl_ctx) is REFUSED
    executor._open_job(fl_ctx)._state = State.READY
    update = execute(executor, "train", encode_task(header("train", 1), b""), fl_ctx)
    assert update is not None
    assert (update.kind, update.step) == (ReplyKind.UPDATE, "train-0001")
