"""The three filters of a site's privacy scope, in order: budget, protection, egress.

Each takes only what the one before it made, and turns everything else, and every failure of its own, into
the one empty refusal. FLARE's `DXOFilter` passes what it does not know; these let nothing pass.
"""

import hmac
import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import numpy as np
from nvflare.apis.filter import Filter
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from almoner.errors import PolicyViolation
from almoner.flare.components.executor import REFUSED
from almoner.flare.components.job_kinds import job_context
from almoner.flare.evidence.head_statements import introduction_bytes, result_occasion, sign_head
from almoner.flare.evidence.log_messages import LOG_ANSWER_BYTES
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.sealed import Sealed, SealedResult, reply_shareable, unseal
from almoner.flare.job.wire import CHARGED, REFUSAL, VOUCHED, Reply, ReplyKind, attached_bytes, encode_reply
from almoner.privacy.heads import HEAD_BYTES
from almoner.protection.signing import SIGNATURE_BYTES
from almoner.protection.vouchers import body_digest, sign_voucher, voucher_statement

logger = logging.getLogger(__name__)


def _or_refuse(step: Callable[[Sealed, JobContext], Sealed], result: Shareable, fl_ctx: FLContext) -> Sealed:
    """Apply a filter's step to a sealed result; whatever goes wrong becomes the refusal."""
    sealed = unseal(result)
    if sealed is None:
        logger.error("%s: a result that is not sealed was dropped", step.__name__)
        return REFUSED
    if sealed.kind is ReplyKind.REFUSAL:
        return REFUSED
    try:
        return step(sealed, job_context(fl_ctx))
    except Exception as error:  # noqa: BLE001 - one answer to every failure; the type alone is logged
        logger.error("%s: dropped a result: %s", step.__name__, type(error).__name__)
        return REFUSED


def result_digest(sealed: Sealed, key: bytes) -> str:
    """Return what the ledger holds of a result before its protection, which differs each time that it is put on.

    *Guarantee*: to whoever lacks the key, the digest of an update tells nothing about it (HMAC-SHA256). Nobody but the
    site may know an update, and a share of a statistic can be one small integer, which is found by trying all. What
    leaves in the clear has its plain SHA-256.

    Args:
        key: of the job process, the same for every repeat.

    Returns:
        64 hexadecimal digits.
    """
    if sealed.kind is ReplyKind.STATISTICS and isinstance(sealed.body, bytes):
        return sha256(sealed.body).hexdigest()  # as releases are stored, and found again
    body = sealed.body if isinstance(sealed.body, bytes) else np.ascontiguousarray(sealed.body, "<i8").tobytes()
    message = f"{sealed.kind.name}:{sealed.round}:".encode() + body
    if sealed.kind is ReplyKind.UPDATE:
        return hmac.digest(key, message, sha256).hex()
    return sha256(message).hexdigest()


def check_budget(sealed: Sealed, context: JobContext) -> Sealed:
    """Mark a result as committed once the ledger holds its commit and its digest; it is asked anew each time.

    *Guarantee*: of one step, one result leaves, as often as it is asked for; another one is refused. With it goes
    a signed head of the ledger that holds both, so that the ledger cannot be put back to before it unseen.

    Raises:
        PolicyViolation: the result may not leave at all.
        LedgerError: its step was not committed, or released another result.
    """
    if sealed.kind in CHARGED:
        with context.site.ledger() as ledger:
            digest = result_digest(sealed, context.digest_key)
            ledger.release(sealed.of_job or context.job_id, sealed.step, digest)
            context.keep(sealed)
            head = sign_head(ledger, context.site.private_key(), result_occasion(context.job_id))
        return replace(sealed, committed=True, head=head.to_bytes(), voucher=_voucher(sealed, context))
    if sealed.kind is ReplyKind.MODEL and not context.site.policy.release_final_model:
        raise PolicyViolation("the policy does not release the model")
    return replace(sealed, committed=True, voucher=_voucher(sealed, context))


def _voucher(sealed: Sealed, context: JobContext) -> bytes:
    """Return the site's signature over a result of the job; nothing for what is none."""
    if sealed.kind not in VOUCHED or not isinstance(sealed.body, bytes):
        return b""
    kind, digest, said = VOUCHED[sealed.kind], body_digest(sealed.body), (context.envelope_digest, context.job_id)
    statement = voucher_statement(context.site.policy.site, *said, kind, digest, sealed.of_sites)
    return sign_voucher(context.site.private_key(), statement)


def put_on_protection(sealed: Sealed, context: JobContext) -> Sealed:
    """Protect an update as the JobSpec says; other kinds are ready as they are.

    Raises:
        PolicyViolation: the result did not pass the budget filter, or is no vector.
        ProtocolError: the round was not begun, or its update has left with other values.
    """
    if not sealed.committed:
        raise PolicyViolation("a result that did not pass the budget filter")
    if sealed.kind is not ReplyKind.UPDATE:
        return sealed
    if not isinstance(sealed.body, np.ndarray):
        raise PolicyViolation("an update that is no integer vector")
    if context.protection is None:
        raise PolicyViolation("an update in a job without a protection")
    return replace(sealed, body=context.protection.protect(sealed.round, sealed.body))


def expected_body_bytes(kind: ReplyKind, context: JobContext) -> int:
    """Return the one length that a kind of reply has in this job: the egress policy's shape.

    Raises:
        PolicyViolation: a job of this kind sends no such reply.
    """
    shared = {
        ReplyKind.REFUSAL: 0,
        ReplyKind.SETUP: introduction_bytes(len(context.envelope.sites)),
        ReplyKind.HEAD: HEAD_BYTES,
        ReplyKind.COSIGNATURE: SIGNATURE_BYTES,
        ReplyKind.LOG: LOG_ANSWER_BYTES,
    }
    return shared[kind] if kind in shared else context.result_bytes(kind) + sum(attached_bytes(kind))


def let_out(sealed: Sealed, context: JobContext) -> Sealed:
    """Check a result against the egress policy: committed, immutable bytes of the one length, a reply that encodes."""
    if not sealed.committed or {type(sealed.body), type(sealed.head), type(sealed.voucher)} != {bytes}:
        raise PolicyViolation("a result that did not pass the filters before")
    body, attached = bytes(sealed.body) + sealed.head + sealed.voucher, (len(sealed.head), len(sealed.voucher))
    if len(body) != expected_body_bytes(sealed.kind, context) or attached != attached_bytes(sealed.kind):
        raise PolicyViolation(f"{sealed.kind.name} of an unexpected length")
    encode_reply(Reply(kind=sealed.kind, round=sealed.round, body=body))
    return replace(sealed, body=body)


class BudgetFilter(Filter):  # type: ignore[misc]
    """Unseals only what the ledger has committed."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Check a result against the ledger."""
        return SealedResult(_or_refuse(check_budget, shareable, fl_ctx))


class ProtectionFilter(Filter):  # type: ignore[misc]
    """Masks, encrypts or encodes the update."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Put the job's protection on an update."""
        return SealedResult(_or_refuse(put_on_protection, shareable, fl_ctx))


class EgressFilter(Filter):  # type: ignore[misc]
    """Default-deny: emits one immutable `bytes` value of a known kind and length, or the refusal."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Make the plain Shareable that leaves the site."""
        sealed = _or_refuse(let_out, shareable, fl_ctx)
        body = sealed.body
        if sealed.kind is ReplyKind.REFUSAL or not isinstance(body, bytes):
            return reply_shareable(REFUSAL, encode_reply(REFUSAL))
        reply = Reply(kind=sealed.kind, round=sealed.round, body=body)
        return reply_shareable(reply, encode_reply(reply))
