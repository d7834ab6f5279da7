"""Secret sharing does what every protection must do."""

from tests.contract.test_protection_scheme import ProtectionContract
from tests.unit.protection.protection_cases import key_pem, root_pem, roster

from almoner.secagg.server import SecaggServer
from almoner.secagg.site import SecaggSite


class TestSecagg(ProtectionContract):
    scheme = "secagg"

    def server(self, terms):
        return SecaggServer(terms, roster())

    def site(self, terms, site):
        return SecaggSite(terms, roster(), root_pem(), site, key_pem(site))
