"""Test-only: FLARE's mock authoriser, which has one token and accepts all, with tokens that can be wrong.

ALMONER_TEST_FORGED=<folder>: who has a file of its name in it ("hungary", "server") shows a forged token as long as the
file is there, and nobody accepts such a token.
"""

import os

FOLDER = os.environ.get("ALMONER_TEST_FORGED", "")


def wrap_mock(module):
    genuine = module.MockAuthorizer.generate

    def generate(self):
        own_name = os.path.basename(os.environ["ALMONER_HOME"])
        return "forged" if os.path.exists(os.path.join(FOLDER, own_name)) else genuine(self)

    module.MockAuthorizer.generate = generate
    module.MockAuthorizer.verify = lambda self, token: token == genuine(self)


WRAPPERS = {"nvflare.app_opt.confidential_computing.mock_authorizer": wrap_mock}
