"""What every protection must do, whatever it hides; a new one inherits `ProtectionContract`."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.federation import Federation
from tests.unit.protection.protection_cases import SITES, TERMS, key_pem, root_pem, roster

from almoner.encryption.bfv_server import BfvServer
from almoner.encryption.bfv_site import BfvSite
from almoner.errors import ProtocolError
from almoner.protection.message import HEADER_BYTES
from almoner.protection.plain import PlainServer, PlainSite
from almoner.protection.scheme import VALUE_BOUND, IntVector, ServerProtection, SiteProtection
from almoner.protection.set_up import JobTerms

DIMENSION = 11
ENTRY = st.integers(-VALUE_BOUND, VALUE_BOUND)
ROWS = st.lists(st.lists(ENTRY, min_size=DIMENSION, max_size=DIMENSION), min_size=len(SITES), max_size=len(SITES))

# One property runs for every subclass, which hypothesis would otherwise take for a mistake.
allowed = [HealthCheck.differing_executors, HealthCheck.too_slow]
shared = settings(max_examples=15, deadline=None, suppress_health_check=allowed)


def vector(*entries: int, size: int = DIMENSION) -> IntVector:
    return np.resize(np.array(entries, dtype=np.int64), size)


class ProtectionContract:
    """Subclasses give the two sides of a protection."""

    scheme = "he"

    def server(self, terms: JobTerms) -> ServerProtection:
        raise NotImplementedError

    def site(self, terms: JobTerms, site: str) -> SiteProtection:
        raise NotImplementedError

    def federation(self, dimension: int = DIMENSION) -> Federation:
        terms = replace(TERMS, scheme=self.scheme, dimension=dimension)
        return Federation(self.server(terms), {site: self.site(terms, site) for site in SITES})

    @lru_cache(maxsize=1)  # noqa: B019 - one federation a class, for properties
    def lasting(self) -> Federation:
        return self.federation()

    @given(ROWS)
    @shared
    def test_any_vectors_sum_exactly(self, rows):
        vectors = [np.array(row, dtype=np.int64) for row in rows]
        total = self.lasting().add(vectors)
        assert total.dtype == np.int64
        assert total.tolist() == np.sum(vectors, axis=0).tolist()

    @pytest.mark.parametrize("dimension", [1, 2, 8185, 8186, 8187, 8188, 65_530, 70_001])
    def test_any_dimension_sums_exactly(self, dimension):
        rng = np.random.default_rng(dimension)
        vectors = [rng.integers(-VALUE_BOUND, VALUE_BOUND + 1, dimension) for _ in SITES]
        assert np.array_equal(self.federation(dimension).add(vectors), np.sum(vectors, axis=0))

    @pytest.mark.parametrize("entry", [VALUE_BOUND, -VALUE_BOUND])
    def test_extremes_are_exact_and_larger_values_saturate(self, entry):
        beyond = 2**62 if entry > 0 else -(2**63)
        vectors = [vector(entry), vector(beyond), vector(entry, beyond)] + [vector(2 * entry)] * 2
        assert self.federation().add(vectors).tolist() == [5 * entry] * DIMENSION

    def test_input_is_not_modified(self):
        values = vector(1, 2**40, -(2**40))
        before = values.copy()
        values.flags.writeable = False
        self.federation().add([values] * len(SITES))
        assert np.array_equal(values, before)

    def test_lengths_depend_on_public_numbers_alone(self):
        federation = self.federation()
        noise = np.random.default_rng(1).integers(-VALUE_BOUND, VALUE_BOUND, DIMENSION)
        for _ in range(2):
            total = federation.round(dict(zip(SITES, [vector(0), vector(2**60), noise, vector(7), noise], strict=True)))
            assert {len(message) for message in federation.messages.values()} == {
                federation.sites["ada"].answer_bytes("train")
            }
            assert len(total.body) == federation.sites["ada"].total_bytes(total.contributors)
            federation.open(total)

    def test_a_site_that_drops_out_is_not_in_the_sum(self):
        federation = self.federation()
        there = ("ada", "bob", "dan", "eve")
        total = federation.round({site: vector(place) for place, site in enumerate(SITES)}, there)
        assert total.contributors == there
        assert federation.sites["dan"].open(1, there, total.body).tolist() == [0 + 1 + 3 + 4] * DIMENSION

    def test_the_same_values_again_are_the_same_bytes_and_others_are_refused(self):
        federation = self.federation()
        federation.round(dict.fromkeys(SITES, vector(1, 2)))
        site, said = federation.sites["ada"], federation.messages["ada"]
        assert site.protect(1, vector(1, 2)) == said
        with pytest.raises(ProtocolError, match="round 1"):
            site.protect(1, vector(1, 3))
        with pytest.raises(ProtocolError):
            site.protect(1, vector(1, 2))

    @pytest.mark.parametrize(
        "values",
        [
            np.zeros(DIMENSION, dtype=np.float64),
            np.zeros(DIMENSION, dtype=np.uint64),
            np.zeros(DIMENSION + 1, dtype=np.int64),
            np.zeros((1, DIMENSION), dtype=np.int64),
            [0] * DIMENSION,
        ],
    )
    def test_refuses_wrong_type_or_shape(self, values):
        with pytest.raises(ProtocolError, match="protect: the values"):
            self.federation().round(dict.fromkeys(SITES, values))

    def test_refuses_values_for_a_round_that_was_not_begun(self):
        for number in (0, 1, 2):
            with pytest.raises(ProtocolError):
                self.federation().sites["ada"].protect(number, vector(1))

    @pytest.mark.parametrize("change", ["cut", "padded", "header", "empty"])
    def test_refuses_a_total_of_another_form_and_is_out(self, change):
        federation = self.federation()
        total = federation.round(dict.fromkeys(SITES, vector(1)))
        body = {
            "cut": total.body[:-1],
            "padded": total.body + b"\0",
            "header": bytes([total.body[0] ^ 1]) + total.body[1:],
            "empty": b"",
        }[change]
        site = federation.sites["bob"]
        with pytest.raises(ProtocolError, match="total") as caught:
            site.open(1, total.contributors, body)
        assert "\n" not in str(caught.value)
        with pytest.raises(ProtocolError):
            site.open(1, total.contributors, total.body)

    def test_refuses_another_number_of_contributors(self):
        federation = self.federation()
        total = federation.round(dict.fromkeys(SITES, vector(1)))
        with pytest.raises(ProtocolError):
            federation.sites["bob"].open(1, SITES[:4], total.body)

    def test_a_malformed_message_is_left_out_and_its_site_named(self):
        federation = self.federation()
        spoilt = lambda said: bytes(HEADER_BYTES) + said[HEADER_BYTES:]  # noqa: E731
        ask = federation.ask
        federation.ask = lambda site, question: (
            spoilt(ask(site, question)) if (site, question.task) == ("cyd", "train") else ask(site, question)
        )
        total = federation.round(dict.fromkeys(SITES, vector(1)))
        assert (total.contributors, total.named) == (("ada", "bob", "dan", "eve"), ("cyd",))
        assert federation.sites["ada"].open(1, total.contributors, total.body).tolist() == [4] * DIMENSION

    def test_after_close_nothing_works(self):
        federation = self.federation()
        total = federation.round(dict.fromkeys(SITES, vector(1)))
        site = federation.sites["ada"]
        site.close()
        for act in (
            lambda: site.open(1, total.contributors, total.body),
            lambda: site.protect(1, vector(1)),
            lambda: site.begin(2, (), b""),
            lambda: site.answer("keys", 0, (), b""),
        ):
            with pytest.raises(ProtocolError):
                act()


class TestPlain(ProtectionContract):
    def server(self, terms):
        return PlainServer(terms.dimension, terms.min_sites)

    def site(self, terms, site):
        return PlainSite(terms.dimension)


class TestBfv(ProtectionContract):
    def server(self, terms):
        return BfvServer(terms, roster())

    def site(self, terms, site):
        return BfvSite(terms, roster(), root_pem(), site, key_pem(site))
