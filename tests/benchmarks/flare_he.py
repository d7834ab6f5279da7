"""FLARE's own homomorphic encryption, through the classes that its HE jobs use, at its default parameters.

A site encrypts with `HEModelEncryptor` and serialises with FOBS; the server reads each message, adds with
`WeightedAggregationHelper`, divides, and serialises what goes back. Its TenSEAL contexts come from `HEBuilder`,
which makes them at provisioning; loading them is in no figure.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tenseal as ts
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper
from nvflare.app_opt.he import decomposers
from nvflare.app_opt.he.homomorphic_encrypt import serialize_nested_dict
from nvflare.app_opt.he.model_decryptor import HEModelDecryptor
from nvflare.app_opt.he.model_encryptor import HEModelEncryptor
from nvflare.fuel.utils import fobs
from nvflare.lighter.impl.he import HEBuilder

Model = dict[str, npt.NDArray[np.float32]]
LOCAL_STEPS = 10


class FlareHe:
    """All sites and the server of a FLARE job with HE."""

    def __init__(self) -> None:
        logging.getLogger("nvflare").setLevel(logging.ERROR)
        decomposers.register()
        builder = HEBuilder()
        builder.initialize(None, None)
        context = ts.context_from(builder.get_serialized_context(is_client=True))
        self._encryptor, self._decryptor = HEModelEncryptor(weigh_by_local_iter=True), HEModelDecryptor()
        self._encryptor.encrypt_layers, self._encryptor.n_iter = [True], LOCAL_STEPS
        self._encryptor.tenseal_context = self._decryptor.tenseal_context = context

    def protect(self, model: Model) -> bytes:
        """Return a site's message."""
        encrypted, _ = self._encryptor.encryption(dict(model), FLContext())
        return fobs.dumps(encrypted)

    def combine(self, messages: Sequence[bytes]) -> dict[str, bytes]:
        """Return the server's result, serialised as it does before it sends the model out."""
        helper = WeightedAggregationHelper(weigh_by_local_iter=False)
        for number, message in enumerate(messages):
            helper.add(fobs.loads(message), LOCAL_STEPS, f"site-{number}", 0)
        result = helper.get_result()
        serialize_nested_dict(result)
        return result

    def open(self, result: dict[str, bytes]) -> dict[str, Any]:
        """Return the decrypted mean."""
        return self._decryptor.decryption(dict(result), dict.fromkeys(result, True), FLContext())
