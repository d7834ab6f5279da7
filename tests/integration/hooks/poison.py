"""Stub until wt-poison: a site whose updates are turned round and magnified."""

import os

SETTING = os.environ.get("ALMONER_TEST_POISON", "")


def wrap_local_work(module):
    import numpy as np

    train = module.LocalWork.train
    sites, _, _attack = SETTING.partition(":")

    def poisoned(self, weights):
        update = train(self, weights)
        context = self._context
        if context.site.policy.site not in sites.split(",") or context.envelope.spec.name.endswith("-clean"):
            return update
        return np.clip(-100 * update, -32_767, 32_767)

    module.LocalWork.train = poisoned


WRAPPERS = {"almoner.flare.local_work": wrap_local_work}
