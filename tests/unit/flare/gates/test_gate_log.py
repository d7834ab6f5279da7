"""Refusals in the log: every one up to a bound, then a count; whoever floods a site does not fill its disk."""

import logging

import pytest

from almoner.flare.gates.gate_log import LINES_A_MINUTE, RefusalLog


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_flood_is_counted_not_written(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = RefusalLog(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(10_000):
            log.write(["admin", "sys.shell"])
    assert caplog.messages == ["gate: refused admin:sys.shell"] * LINES_A_MINUTE
    caplog.clear()
    clock.now = 60.0
    log.write(["admin", "sys.shell"])
    left_out = f"gate: refused {10_000 - LINES_A_MINUTE} more messages that were not logged one by one"
    assert caplog.messages == [left_out, "gate: refused admin:sys.shell"]
    caplog.clear()
    clock.now = 600.0
    log.write(["x"])
    assert caplog.messages == ["gate: refused x"]


def test_a_strangers_names_are_one_bounded_printable_line(caplog: pytest.LogCaptureFixture) -> None:
    RefusalLog().write(["a\nforged line", "", "\x1b[2J", "x" * 1000])
    assert caplog.messages == [f"gate: refused a?forged line:?[2J:{'x' * 80}"]
