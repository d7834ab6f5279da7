"""FLARE's own homomorphic encryption, through the classes that its HE jobs use, at its default parameters.

A site encrypts with `HEModelEncryptor` and serialises with FOBS; the server reads each message, adds with
`WeightedAggregationHelper`, divides, and serialises what goes back. Its TenSEAL contexts come from `HEBuilder`,
which makes them at provisioning; loading them is in no figure.

Runs in a process of its own, `python -m tests.benchmarks.flare_he SHAPES`, so that neither side's memory is in the
other's way. Each line of standard input is one round; the answer is {"client": [seconds], "server": [seconds],
"open": [seconds], "message_bytes": bytes}.
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import tenseal as ts
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper
from nvflare.app_opt.he import decomposers
from nvflare.app_opt.he.homomorphic_encrypt import serialize_nested_dict
from nvflare.app_opt.he.model_decryptor import HEModelDecryptor
from nvflare.app_opt.he.model_encryptor import HEModelEncryptor
from nvflare.fuel.utils import fobs
from nvflare.lighter.impl.he import HEBuilder
from tests.benchmarks.one_core import timed
from tests.benchmarks.protected_models import Model, models

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


def run_round(flare: FlareHe, sites: list[Model]) -> dict[str, object]:
    """Run one round, and check its mean.

    Raises:
        RuntimeError: it is not the mean of the sites' models.
    """
    said = [timed(lambda model=model: flare.protect(model)) for model in sites]
    messages = [message for message, _ in said]
    result, server = timed(lambda: flare.combine(messages))
    opened, spent = timed(lambda: flare.open(result))
    for name, values in opened.items():
        error = np.abs(np.asarray(values) - np.mean([model[name].ravel() for model in sites], axis=0)).max()
        if error > 1e-4:
            raise RuntimeError(f"FLARE's mean of {name} is off by {error}")
    client = [seconds for _, seconds in said]
    return {"client": client, "server": [server], "open": [spent], "message_bytes": len(messages[0])}


def main() -> None:
    """Answer until there are no more questions; TenSEAL's own words go to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    flare, sites = FlareHe(), models(json.loads(sys.argv[1]))
    for _ in sys.stdin:
        print(json.dumps(run_round(flare, sites)), file=answers, flush=True)


if __name__ == "__main__":
    main()
