"""What every protection scheme must do; a new scheme inherits `ProtectionSchemeContract`."""

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from almoner.encryption.bfv import BfvScheme
from almoner.encryption.bfv_key import BfvKey
from almoner.encryption.plain import PlainScheme
from almoner.encryption.scheme import ProtectionScheme
from almoner.errors import ProtocolError
from almoner.protection.message import HEADER_BYTES
from almoner.protection.scheme import MAX_ADDENDS, MAX_DIMENSION, VALUE_BOUND, IntVector

KEY = BfvKey.generate()
DIMENSION = 11
ENTRY = st.integers(-VALUE_BOUND, VALUE_BOUND)


# One property runs for every subclass, which hypothesis would otherwise take for a mistake.
shared = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.differing_executors])


def vector(*entries: int) -> IntVector:
    return np.resize(np.array(entries, dtype=np.int64), DIMENSION)


class ProtectionSchemeContract:
    """Subclasses give the two sides of a scheme."""

    def server(self, dimension: int) -> ProtectionScheme:
        raise NotImplementedError

    def site(self, dimension: int) -> ProtectionScheme:
        raise NotImplementedError

    def add(self, vectors: list[IntVector]) -> IntVector:
        site, server = self.site(vectors[0].size), self.server(vectors[0].size)
        return site.open(server.combine([site.protect(values) for values in vectors]), len(vectors))

    @given(st.lists(st.lists(ENTRY, min_size=DIMENSION, max_size=DIMENSION), min_size=1, max_size=8))
    @shared
    def test_any_vectors_sum_exactly(self, rows):
        vectors = [np.array(row, dtype=np.int64) for row in rows]
        total = self.add(vectors)
        assert total.dtype == np.int64
        assert total.tolist() == np.sum(vectors, axis=0).tolist()

    @pytest.mark.parametrize("dimension", [1, 4095, 4097, 8191, 8192, 8193, 20_000])
    def test_any_dimension_round_trips(self, dimension):
        values = np.random.default_rng(dimension).integers(-VALUE_BOUND, VALUE_BOUND + 1, dimension)
        assert np.array_equal(self.add([values]), values)
        assert np.array_equal(self.add([values, -values[::-1]]), values - values[::-1])

    @pytest.mark.parametrize("entry", [VALUE_BOUND, -VALUE_BOUND])
    def test_most_addends_at_the_extremes_are_exact(self, entry):
        site, server = self.site(DIMENSION), self.server(DIMENSION)
        total = server.combine([site.protect(vector(entry)) for _ in range(MAX_ADDENDS)])
        assert site.open(total, MAX_ADDENDS).tolist() == [MAX_ADDENDS * entry] * DIMENSION

    def test_order_does_not_matter(self):
        site, server = self.site(DIMENSION), self.server(DIMENSION)
        messages = [site.protect(vector(i, -3 * i, 1000)) for i in range(5)]
        first, second = server.combine(messages), server.combine(messages[::-1])
        assert site.open(first, 5).tolist() == site.open(second, 5).tolist()

    def test_larger_values_saturate(self):
        big = vector(VALUE_BOUND + 1, -VALUE_BOUND - 1, 2**62, -(2**63), 2**63 - 1, 0)
        assert self.add([big]).tolist() == np.clip(big, -VALUE_BOUND, VALUE_BOUND).tolist()

    def test_length_depends_on_the_dimension_alone(self):
        site, server = self.site(DIMENSION), self.server(DIMENSION)
        noise = np.random.default_rng(1).integers(-VALUE_BOUND, VALUE_BOUND, DIMENSION)
        inputs = [vector(0), vector(VALUE_BOUND), vector(2**60), noise] + [vector(7)] * 30
        messages = [site.protect(values) for values in inputs]
        assert {len(message) for message in messages} == {site.message_bytes}
        assert {len(server.combine(messages[:n])) for n in range(1, 6)} == {server.total_bytes}

    def test_input_is_not_modified(self):
        values = vector(1, 2**40, -(2**40))
        before = values.copy()
        values.flags.writeable = False
        self.site(DIMENSION).protect(values)
        assert np.array_equal(values, before)

    @pytest.mark.parametrize(
        "values",
        [
            np.zeros(DIMENSION, dtype=np.float64),
            np.zeros(DIMENSION, dtype=np.int32),
            np.zeros(DIMENSION + 1, dtype=np.int64),
            np.zeros((1, DIMENSION), dtype=np.int64),
            [0] * DIMENSION,
        ],
    )
    def test_refuses_wrong_type_or_shape(self, values):
        with pytest.raises(ProtocolError, match="protect: the values"):
            self.site(DIMENSION).protect(values)

    @pytest.mark.parametrize("dimension", [0, -1, 1.0, MAX_DIMENSION + 1, None])
    def test_refuses_wrong_dimension_at_construction(self, dimension):
        with pytest.raises(ProtocolError, match="dimension"):
            self.server(dimension)

    def test_refuses_messages_of_another_dimension(self):
        other = self.site(DIMENSION + 1).protect(np.zeros(DIMENSION + 1, dtype=np.int64))
        good = self.site(DIMENSION).protect(vector(0))
        with pytest.raises(ProtocolError, match=r"message 2 of 2: dimension is 12, expected 11"):
            self.server(DIMENSION).combine([good, other])
        with pytest.raises(ProtocolError, match="open: total: dimension"):
            self.site(DIMENSION).open(self.server(DIMENSION + 1).combine([other]), 1)

    def test_refuses_an_addend_for_a_total_and_a_total_for_an_addend(self):
        site, server = self.site(DIMENSION), self.server(DIMENSION)
        message = site.protect(vector(1))
        with pytest.raises(ProtocolError, match="kind"):
            site.open(message, 1)
        with pytest.raises(ProtocolError, match="kind"):
            server.combine([message, server.combine([message])])

    @pytest.mark.parametrize("claimed", [1, 3, 0, -1, MAX_ADDENDS + 1, 2.0, None])
    def test_refuses_another_number_of_addends(self, claimed):
        site = self.site(DIMENSION)
        total = self.server(DIMENSION).combine([site.protect(vector(1))] * 2)
        with pytest.raises(ProtocolError, match="addends"):
            site.open(total, claimed)

    @pytest.mark.parametrize("count", [0, MAX_ADDENDS + 1])
    def test_refuses_too_few_or_too_many_messages(self, count):
        message = self.site(DIMENSION).protect(vector(1))
        with pytest.raises(ProtocolError, match=f"{count} addends, expected 1 to {MAX_ADDENDS}"):
            self.server(DIMENSION).combine([message] * count)

    @given(st.binary(max_size=200))
    @shared
    def test_refuses_garbage(self, garbage):
        with pytest.raises(ProtocolError, match="combine: message 1 of 1"):
            self.server(DIMENSION).combine([garbage])
        with pytest.raises(ProtocolError, match="open: total"):
            self.site(DIMENSION).open(garbage, 1)

    @pytest.mark.parametrize("garbage", [None, "text", bytearray(40), 7])
    def test_refuses_what_is_not_bytes(self, garbage):
        with pytest.raises(ProtocolError, match="not bytes"):
            self.server(DIMENSION).combine([garbage])

    def test_refuses_any_change_to_the_header_or_length(self):
        site, server = self.site(DIMENSION), self.server(DIMENSION)
        message = site.protect(vector(3))
        total = server.combine([message])
        for position in range(HEADER_BYTES):
            with pytest.raises(ProtocolError):
                server.combine([flipped(message, position)])
            with pytest.raises(ProtocolError):
                site.open(flipped(total, position), 1)
        for cut in (message[:-1], message + b"\0", message[:HEADER_BYTES]):
            with pytest.raises(ProtocolError, match="cut or padded"):
                server.combine([cut])

    @given(st.integers(min_value=0), st.binary(min_size=1, max_size=64))
    @shared
    def test_damage_to_the_payload_raises_nothing_but_protocol_errors(self, where, patch):
        site, server = self.site(DIMENSION), self.server(DIMENSION)
        message = site.protect(vector(3))
        for data, read in (
            (message, lambda damaged: server.combine([damaged])),
            (server.combine([message]), lambda damaged: site.open(damaged, 1)),
        ):
            start = HEADER_BYTES + where % (len(data) - HEADER_BYTES)
            damaged = (data[:start] + patch + data[start + len(patch) :])[: len(data)]
            with contextlib.suppress(ProtocolError):
                read(damaged)


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


class TestPlainScheme(ProtectionSchemeContract):
    def server(self, dimension):
        return PlainScheme(dimension)

    def site(self, dimension):
        return PlainScheme(dimension)


class TestBfvScheme(ProtectionSchemeContract):
    def server(self, dimension):
        return BfvScheme.for_server(dimension)

    def site(self, dimension):
        return BfvScheme.for_site(dimension, KEY)


def test_schemes_refuse_each_others_messages():
    plain, bfv = PlainScheme(DIMENSION), BfvScheme.for_site(DIMENSION, KEY)
    for one, other in ((plain, bfv), (bfv, plain)):
        message = one.protect(vector(1))
        with pytest.raises(ProtocolError, match="message 2 of 2: scheme"):
            other.combine([other.protect(vector(1)), message])
        with pytest.raises(ProtocolError, match="open: total: scheme"):
            other.open(one.combine([message]), 1)
