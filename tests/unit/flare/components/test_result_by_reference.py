"""What leaves is a copy: a trainer that changes its array after the filters does not change what the server gets.

FLARE serialises a result after its filters, and serves large arrays later still, by reference.
"""

import numpy as np
import pytest
from flare_cases import DIMENSION, fl_context
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.shareable import Shareable
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.app_common.decomposers import common_decomposers
from nvflare.app_common.decomposers.numpy_decomposers import NumpyArrayDecomposer
from nvflare.fuel.utils import fobs

from almoner.flare.components import job_kinds as job_context_module
from almoner.flare.components.filters import BudgetFilter, EgressFilter, ProtectionFilter
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.sealed import Sealed, SealedResult
from almoner.flare.job.wire import PAYLOAD_KEY, ReplyKind, decode_reply
from almoner.privacy.heads import HEAD_BYTES

STEP = "train-0001"


@pytest.fixture(autouse=True)
def _flares_decomposers(own_registry: None) -> None:
    """Register what a FLARE process registers."""
    flare_decomposers.register()
    common_decomposers.register()
    fobs.register(NumpyArrayDecomposer)


@pytest.fixture
def update() -> np.ndarray:
    return np.arange(1, DIMENSION + 1, dtype=np.int64)


def received(result: Shareable) -> Shareable:
    """Return what the server makes of a result that is sent now."""
    return fobs.loads(fobs.dumps(result))


@pytest.mark.threat("T-05")
def test_an_update_that_changes_after_the_filters(
    context: JobContext, update: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(job_context_module._CONTEXTS, context.job_id, context)
    context.protection.begin(1, (), b"")
    with context.site.ledger() as ledger:
        ledger.commit(context.job_id, STEP)
    result: Shareable = SealedResult(Sealed(ReplyKind.UPDATE, 1, STEP, update))
    for kind in (BudgetFilter, ProtectionFilter, EgressFilter):
        result = kind().process(result, fl_context(context.job_id))
    update[:] = 7
    assert type(result[PAYLOAD_KEY]) is bytes
    body = decode_reply(received(result)[PAYLOAD_KEY]).body[:-HEAD_BYTES]
    assert body == context.protection.protect(1, np.arange(1, DIMENSION + 1, dtype=np.int64))


def test_a_stock_result_changes_with_its_array(update: np.ndarray) -> None:
    result = DXO(DataKind.WEIGHT_DIFF, data={"w": update}).to_shareable()
    update[:] = 7
    assert set(received(result)["DXO"]["data"]["w"]) == {7}
