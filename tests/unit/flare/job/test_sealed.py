"""A result that no filter opened cannot be sent: FLARE's serialiser refuses it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from nvflare.apis.shareable import Shareable
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.app_common.decomposers import common_decomposers
from nvflare.fuel.utils import fobs
from nvflare.fuel.utils.fobs.fobs import auto_register_data_classes

from almoner.flare.components.executor import REFUSED
from almoner.flare.job.sealed import Sealed, SealedResult, reply_shareable, unseal
from almoner.flare.job.wire import PAYLOAD_KEY, REFUSAL, Reply, ReplyKind, encode_reply

SECRET = b"an update that was not noised"


@pytest.fixture(autouse=True)
def _flares_decomposers(own_registry: None) -> None:
    """Register what a FLARE process registers."""
    flare_decomposers.register()
    common_decomposers.register()


SEALED = [
    Sealed(ReplyKind.UPDATE, 1, "train-0001", np.arange(5)),
    Sealed(ReplyKind.RELEASE, 1, "accuracy", SECRET),
    Sealed(ReplyKind.SETUP, 0, "", SECRET, committed=True),
    REFUSED,
]


@pytest.mark.threat("T-05")
@pytest.mark.parametrize("sealed", SEALED)
@pytest.mark.parametrize("automatic", [True, False])
def test_a_sealed_result_cannot_be_serialised(sealed: Sealed, automatic: bool) -> None:
    auto_register_data_classes(automatic)
    try:
        for _ in range(2):  # nor at a second try, after FLARE has registered what it could
            with pytest.raises(RuntimeError, match=r"serializ"):
                fobs.dumps(SealedResult(sealed))
            with pytest.raises(RuntimeError, match=r"serializ"):
                fobs.dumps({"result": [SealedResult(sealed)]})
            with pytest.raises(RuntimeError, match=r"serializ"):
                fobs.dumps(sealed)
    finally:
        auto_register_data_classes(True)


def test_without_slots_flare_would_send_it_in_clear() -> None:
    @dataclass(frozen=True)
    class Open:
        body: bytes

    result = Shareable()
    result["almoner_sealed"] = Open(SECRET)
    assert SECRET in fobs.dumps(result)
    assert not hasattr(SEALED[0], "__dict__")


@pytest.mark.parametrize("sealed", SEALED)
def test_its_text_does_not_hold_the_body(sealed: Sealed) -> None:
    text = f"{sealed} {SealedResult(sealed)!r}"
    assert "body" not in text
    assert SECRET.decode() not in text


def test_what_leaves_can_be_serialised() -> None:
    reply = Reply(kind=ReplyKind.RELEASE, round=3, body=b"0123456789abcdef")
    sent = fobs.loads(fobs.dumps(reply_shareable(reply, encode_reply(reply))))
    assert type(sent) is Shareable
    assert sent[PAYLOAD_KEY] == encode_reply(reply)
    assert set(sent) == {PAYLOAD_KEY, "__headers__"}


def test_sealed_content_comes_out_of_its_own_shareable() -> None:
    for sealed in SEALED:
        assert unseal(SealedResult(sealed)) is sealed


def forged(**content: Any) -> SealedResult:
    result = SealedResult(SEALED[1])
    result.update(content)
    return result


class Lookalike(SealedResult):
    """A subclass that might do anything."""


def stripped() -> SealedResult:
    result = SealedResult(SEALED[1])
    del result["almoner_sealed"]
    return result


def plain(content: object) -> Shareable:
    result = Shareable()
    result["almoner_sealed"] = content
    return result


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        SEALED[1],
        Shareable(),
        plain(SEALED[1]),
        Lookalike(SEALED[1]),
        stripped(),
        forged(extra=1),
        forged(almoner=b""),
        forged(almoner_sealed=None),
        forged(almoner_sealed=vars(type("Other", (), {"kind": ReplyKind.SETUP}))),
        forged(almoner_sealed=Sealed("UPDATE", 1, "train-0001", SECRET)),  # type: ignore[arg-type]
        forged(almoner_sealed=Sealed(2, 1, "train-0001", SECRET)),  # type: ignore[arg-type]
    ],
)
def test_nothing_else_is_a_sealed_result(result: object) -> None:
    assert unseal(result) is None


def test_the_refusal_is_empty() -> None:
    assert REFUSED.body == REFUSAL.body == b""
    assert REFUSED.kind is REFUSAL.kind is ReplyKind.REFUSAL
