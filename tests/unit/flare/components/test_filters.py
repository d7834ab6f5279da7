"""The filter chain: one refusal for everything that is not exactly right, and nothing uncommitted leaves."""

import logging
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flare_cases import DIMENSION, SITES, Driver, Pki, fl_context, head, make_context
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.fuel.utils import fobs

from almoner.audit.run_verify import release_digest
from almoner.errors import PolicyViolation, ProtocolError
from almoner.flare.components import job_kinds as job_context_module
from almoner.flare.components.executor import REFUSED
from almoner.flare.components.filters import (
    BudgetFilter,
    EgressFilter,
    ProtectionFilter,
    expected_body_bytes,
    result_digest,
)
from almoner.flare.evidence.head_statements import introduction_bytes
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.sealed import Sealed, SealedResult, unseal
from almoner.flare.job.wire import PAYLOAD_KEY, REFUSAL, REPLY_TO, ReplyKind, decode_reply, encode_reply
from almoner.privacy.heads import HEAD_BYTES
from almoner.privacy.ledger import Ledger
from almoner.protection.plain import PlainSite, message_bytes

SETUP_BYTES = introduction_bytes(len(SITES))
UPDATE = np.arange(DIMENSION, dtype=np.int64)
STEP = "train-0001"
FILTERS = (BudgetFilter, ProtectionFilter, EgressFilter)


@pytest.fixture
def known(context: JobContext, monkeypatch: pytest.MonkeyPatch) -> Callable[[JobContext], FLContext]:
    """Make a context that of its job, as reading it from the deployed folder would; return FLARE's context."""

    def register(own: JobContext) -> FLContext:
        monkeypatch.setitem(job_context_module._CONTEXTS, own.job_id, own)
        return fl_context(own.job_id)

    return register


@pytest.fixture
def fl_ctx(context: JobContext, known: Callable[[JobContext], FLContext]) -> FLContext:
    return known(context)


def run(result: Any, fl_ctx: FLContext, chain: tuple[type[Filter], ...] = FILTERS) -> Shareable:
    for kind in chain:
        result = kind().process(result, fl_ctx)
    return result


def is_the_refusal(sent: Shareable) -> bool:
    """Say whether a result is byte for byte the one refusal, return code and headers included."""
    refusal = Shareable()
    refusal[PAYLOAD_KEY] = encode_reply(REFUSAL)
    return sent.get_return_code() == ReturnCode.OK and fobs.dumps(sent) == fobs.dumps(refusal)


def commit(context: JobContext, step: str = STEP) -> None:
    """Begin round 1 and commit a step, as SiteJob does."""
    context.protection.begin(1, (), b"")
    with context.site.ledger() as ledger:
        ledger.commit(context.job_id, step)


def update(**changes: Any) -> Sealed:
    return replace(Sealed(ReplyKind.UPDATE, 1, STEP, UPDATE), **changes)


def shareable(**content: Any) -> Shareable:
    made = Shareable()
    made.update(content)
    return made


def with_key(name: str) -> SealedResult:
    made = SealedResult(update())
    made[name] = "something"
    return made


class Hostile:
    """A value that fails whatever is done with it."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("a secret of the data")

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        raise RuntimeError("a secret of the data")


NEVER_PASS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "plain shareable": lambda: shareable(weights=[1.0, 2.0]),
    "our key, not from us": lambda: shareable(**{PAYLOAD_KEY: b"ALM1 raw data"}),
    "DXO": lambda: DXO(DataKind.WEIGHTS, data={"w": np.ones(3)}).to_shareable(),
    "FLARE's error reply": lambda: make_reply(ReturnCode.EXECUTION_EXCEPTION),
    "unsafe job": lambda: make_reply(ReturnCode.UNSAFE_JOB),
    "extra key": lambda: with_key("metrics"),
    "key of the payload": lambda: with_key(PAYLOAD_KEY),
    "uncommitted update": lambda: SealedResult(update()),
    "uncommitted release": lambda: SealedResult(Sealed(ReplyKind.RELEASE, 3, "accuracy", b"\0" * 16)),
    "no step": lambda: SealedResult(update(step="")),
    "unknown step": lambda: SealedResult(update(step="train-9999")),
    "step is no text": lambda: SealedResult(update(step=Hostile())),
    "kind is a number": lambda: SealedResult(update(kind=2)),
    "kind is text": lambda: SealedResult(update(kind="UPDATE")),
    "kind is hostile": lambda: SealedResult(update(kind=Hostile())),
    "refusal with an array": lambda: SealedResult(Sealed(ReplyKind.REFUSAL, 0, "", np.arange(9))),
    "refusal with text": lambda: SealedResult(Sealed(ReplyKind.REFUSAL, 0, "", b"the reason is a record")),
    "refusal with a round": lambda: SealedResult(Sealed(ReplyKind.REFUSAL, 77, "", b"")),
    "keys of a job without keys": lambda: SealedResult(Sealed(ReplyKind.KEYS, 0, "", b"")),
    "shares of a job without shares": lambda: SealedResult(Sealed(ReplyKind.SHARES, 1, "", b"\1" * 33)),
    "short consent": lambda: SealedResult(Sealed(ReplyKind.SETUP, 0, "", b"\1")),
    "long consent": lambda: SealedResult(Sealed(ReplyKind.SETUP, 0, "", b"\1" * (SETUP_BYTES + 1))),
    "consent that is an array": lambda: SealedResult(Sealed(ReplyKind.SETUP, 0, "", np.zeros(SETUP_BYTES, np.uint8))),
    "consent that is a bytearray": lambda: SealedResult(Sealed(ReplyKind.SETUP, 0, "", bytearray(SETUP_BYTES))),
    "consent that is hostile": lambda: SealedResult(Sealed(ReplyKind.SETUP, 0, "", Hostile())),
    "negative round": lambda: SealedResult(Sealed(ReplyKind.SETUP, -1, "", b"\1" * SETUP_BYTES)),
    "huge round": lambda: SealedResult(Sealed(ReplyKind.SETUP, 2**31, "", b"\1" * SETUP_BYTES)),
    "round is a float": lambda: SealedResult(Sealed(ReplyKind.SETUP, 0.5, "", b"\1" * SETUP_BYTES)),
    "model of a wrong length": lambda: SealedResult(Sealed(ReplyKind.MODEL, 3, "", b"\0" * (8 * DIMENSION + 8))),
}


@pytest.mark.threat("T-05", "T-06")
@pytest.mark.parametrize("name", NEVER_PASS)
@pytest.mark.parametrize("chain", [FILTERS, FILTERS[1:], FILTERS[2:]], ids=["all", "no budget", "egress alone"])
def test_always_the_one_refusal(name: str, chain: tuple[type[Filter], ...], fl_ctx: FLContext) -> None:
    assert is_the_refusal(run(NEVER_PASS[name](), fl_ctx, chain))


@pytest.mark.parametrize("name", NEVER_PASS)
@pytest.mark.parametrize("kind", FILTERS)
def test_no_filter_raises_and_each_gives_what_the_next_takes(name: str, kind: type[Filter], fl_ctx: FLContext) -> None:
    result = kind().process(NEVER_PASS[name](), fl_ctx)
    assert type(result) is (Shareable if kind is EgressFilter else SealedResult)


@pytest.mark.parametrize("name", NEVER_PASS)
def test_what_is_logged_does_not_depend_on_data(name: str, fl_ctx: FLContext, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        run(NEVER_PASS[name](), fl_ctx)
    assert "secret" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


def test_results_of_filters_out_of_order_do_not_pass(context: JobContext, fl_ctx: FLContext) -> None:
    commit(context)
    assert not is_the_refusal(run(SealedResult(update()), fl_ctx))
    for chain in ((BudgetFilter, EgressFilter), (ProtectionFilter, BudgetFilter, EgressFilter)):
        assert is_the_refusal(run(SealedResult(update()), fl_ctx, chain)), chain
    backwards = run(SealedResult(update()), fl_ctx, FILTERS[::-1])
    assert unseal(backwards) == REFUSED  # and as it is sealed, it cannot be sent either


class TestBudget:
    def test_an_update_passes_after_its_commit_and_not_before(self, context: JobContext, fl_ctx: FLContext) -> None:
        assert is_the_refusal(run(SealedResult(update()), fl_ctx))
        commit(context)
        sent = run(SealedResult(update()), fl_ctx)
        reply = decode_reply(sent[PAYLOAD_KEY])
        assert (reply.kind, reply.round) == (ReplyKind.UPDATE, 1)
        assert reply.body[:-HEAD_BYTES] == context.protection.protect(1, UPDATE)
        assert set(sent) == {PAYLOAD_KEY, "__headers__"}

    def test_a_commit_of_another_step_does_not_count(self, context: JobContext, fl_ctx: FLContext) -> None:
        commit(context)
        assert is_the_refusal(run(SealedResult(update(round=2, step="train-0002")), fl_ctx))

    def test_a_commit_of_another_job_does_not_count(
        self, context: JobContext, pki: Pki, tmp_path: Path, known: Callable[[JobContext], FLContext]
    ) -> None:
        commit(context)
        other = replace(make_context(tmp_path / "other", pki, job_id=str(uuid.uuid4())), site=context.site)
        assert is_the_refusal(run(SealedResult(update()), known(other)))

    def test_a_release_passes_after_its_commit(self, context: JobContext, fl_ctx: FLContext) -> None:
        release = SealedResult(Sealed(ReplyKind.RELEASE, 3, "accuracy", b"\7" * 16))
        commit(context, "accuracy")
        assert decode_reply(run(release, fl_ctx)[PAYLOAD_KEY]).body[:16] == b"\7" * 16

    def test_the_ledger_is_asked_each_time(self, context: JobContext, fl_ctx: FLContext) -> None:
        commit(context)
        assert not is_the_refusal(run(SealedResult(update()), fl_ctx))
        context.site.folder.joinpath("ledger", "ledger.sqlite").unlink()
        assert is_the_refusal(run(SealedResult(update()), fl_ctx))

    def test_of_one_step_one_result_leaves_as_often_as_it_is_asked_for(
        self, context: JobContext, fl_ctx: FLContext
    ) -> None:
        commit(context)
        before = head(context)[0]
        for _ in range(3):
            assert not is_the_refusal(run(SealedResult(update()), fl_ctx))
        assert head(context)[0] == before + 1, "the digest of the result, once"
        others = [
            replace(update(), body=UPDATE + 1),
            replace(update(), round=2),
            Sealed(ReplyKind.RELEASE, 1, STEP, b"\7" * 16),
        ]
        for other in others:
            assert is_the_refusal(run(SealedResult(other), fl_ctx))
        assert not is_the_refusal(run(SealedResult(update()), fl_ctx))
        assert head(context)[0] == before + 1

    def test_what_was_not_committed_is_not_written_down(self, context: JobContext, fl_ctx: FLContext) -> None:
        before = head(context)
        run(SealedResult(update()), fl_ctx)
        assert head(context) == before

    def test_the_attack_succeeds_without_this_filter_if_the_flag_is_forged(
        self, context: JobContext, fl_ctx: FLContext
    ) -> None:
        context.protection.begin(1, (), b"")
        forged = update(committed=True, head=bytes(HEAD_BYTES))
        sent = run(SealedResult(forged), fl_ctx, FILTERS[1:])
        assert decode_reply(sent[PAYLOAD_KEY]).kind is ReplyKind.UPDATE  # control off: uncommitted data has left
        assert is_the_refusal(run(SealedResult(update()), fl_ctx, FILTERS[1:]))  # unless the flag is not forged
        assert is_the_refusal(run(SealedResult(forged), fl_ctx))  # control on: the flag does not help

    def test_a_model_leaves_only_if_the_policy_releases_it(
        self, context: JobContext, pki: Pki, tmp_path: Path, known: Callable[[JobContext], FLContext]
    ) -> None:
        model = SealedResult(Sealed(ReplyKind.MODEL, 3, "", np.ones(DIMENSION).tobytes()))
        assert not is_the_refusal(run(model, known(context)))
        closed = make_context(tmp_path / "closed", pki, release_final_model=False)
        assert is_the_refusal(run(model, known(closed)))


class Broken(PlainSite):
    """A protection that fails, as a missing key or a full memory would make it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(DIMENSION)
        self.error = error

    def protect(self, number: int, values: Any) -> bytes:
        raise self.error


class Wrong(PlainSite):
    """A protection that gives back what it should not."""

    def __init__(self, value: Any) -> None:
        super().__init__(DIMENSION)
        self.value = value

    def protect(self, number: int, values: Any) -> Any:
        return self.value


@pytest.mark.parametrize(
    "protection",
    [
        Broken(RuntimeError("record 17")),
        Broken(MemoryError()),
        Broken(ZeroDivisionError()),
        Broken(ReferenceError()),
        Wrong(UPDATE),
        Wrong(None),
        Wrong(b""),
        Wrong(b"\0" * 10_000),
        Wrong("text"),
        Wrong(bytearray(message_bytes(DIMENSION))),
    ],
)
def test_failures_of_the_protection_are_the_refusal(
    protection: PlainSite,
    context: JobContext,
    known: Callable[[JobContext], FLContext],
    caplog: pytest.LogCaptureFixture,
) -> None:
    commit(context)
    assert is_the_refusal(run(SealedResult(update()), known(replace(context, protection=protection))))
    assert "record 17" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"\0" * message_bytes(DIMENSION),
        UPDATE.astype(np.float64),
        UPDATE.astype(np.int32),
        np.zeros(DIMENSION + 1, np.int64),
        np.zeros((1, DIMENSION), np.int64),
        [0, 1, 2],
        None,
    ],
)
def test_committed_updates_of_a_wrong_form_do_not_leave(body: Any, context: JobContext, fl_ctx: FLContext) -> None:
    commit(context)
    assert is_the_refusal(run(SealedResult(update(body=body)), fl_ctx))


def test_a_job_that_this_process_does_not_know(caplog: pytest.LogCaptureFixture) -> None:
    assert is_the_refusal(run(SealedResult(update()), fl_context("unknown")))
    assert is_the_refusal(run(SealedResult(update()), FLContext()))


def test_every_kind_of_reply_has_one_length(context: JobContext) -> None:
    silent = [REPLY_TO[task] for task in REPLY_TO if task != "train"]
    for kind in silent:  # without keys nothing of the kind leaves
        with pytest.raises(ProtocolError):
            expected_body_bytes(kind, context)
    others = {kind for kind in ReplyKind if kind >= ReplyKind.STATISTICS}
    for kind in others:
        with pytest.raises(PolicyViolation, match=f"sends no {kind.name}"):
            expected_body_bytes(kind, context)
    assert {kind: expected_body_bytes(kind, context) for kind in set(ReplyKind) - {*silent, *others}} == {
        ReplyKind.REFUSAL: 0,
        ReplyKind.SETUP: 257 + 4 * 328 + 8 + 32 + 256,
        ReplyKind.HEAD: 8 + 32 + 32 + 256,
        ReplyKind.COSIGNATURE: 256,
        ReplyKind.LOG: 8 + 256,
        ReplyKind.UPDATE: message_bytes(DIMENSION) + 328,
        ReplyKind.RELEASE: 16 + 328 + 256,
        ReplyKind.MODEL: 8 * DIMENSION + 256,
    }


def test_all_of_an_honest_job_passes(context: JobContext, fl_ctx: FLContext) -> None:
    driver = Driver(context)
    steps = (
        driver.introduce,
        driver.prove,
        driver.cosign,
        lambda: driver.train(1),
        lambda: driver.train(2),
        driver.release,
    )
    kinds = [decode_reply(run(SealedResult(step()), fl_ctx)[PAYLOAD_KEY]).kind for step in steps]
    assert kinds == [
        ReplyKind.SETUP,
        ReplyKind.HEAD,
        ReplyKind.COSIGNATURE,
        ReplyKind.UPDATE,
        ReplyKind.UPDATE,
        ReplyKind.RELEASE,
    ]


def test_filters_leave_the_executors_refusal_alone(fl_ctx: FLContext) -> None:
    assert unseal(BudgetFilter().process(SealedResult(REFUSED), fl_ctx)) == REFUSED
    assert is_the_refusal(run(SealedResult(REFUSED), fl_ctx))


def test_the_ledgers_class_is_the_real_one(context: JobContext) -> None:
    with context.site.ledger() as ledger:
        assert type(ledger) is Ledger


def test_released_numbers_have_the_digest_by_which_packs_are_verified() -> None:
    numbers = Sealed(ReplyKind.RELEASE, 21, "accuracy", b"\7" * 16)
    assert result_digest(numbers, b"key") == release_digest(numbers.body.hex(), 20)
