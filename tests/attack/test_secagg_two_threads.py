"""Two tasks at once at one site: a contribution in the making must not let a second roll be signed."""

from contextlib import nullcontext, suppress
from threading import Event, Thread

import pytest
from tests.attack.lying_server import LyingServer
from tests.simulator import running

from almoner.errors import ProtocolError
from almoner.secagg import site as site_module
from almoner.secagg.site import SecaggSite
from almoner.secagg.site_states import Contributed

VICTIM, SECONDS = "site-1", 60


class NoLock(nullcontext):
    """Lets everybody in."""

    def acquire(self, blocking: bool = True) -> bool:
        return True

    def release(self) -> None:
        pass


def state_goes_back(patch: pytest.MonkeyPatch) -> None:
    """Have the state set after the contribution was made, as a first draft did."""
    honest = SecaggSite._contribute

    def contribute(self, number, values):
        begun = self._state
        sent = honest(self, number, values)
        self._state = Contributed(begun.ring, begun.holdings)
        return sent

    patch.setattr(SecaggSite, "_contribute", contribute)


def rolls_signed(patch: pytest.MonkeyPatch, locked: bool) -> tuple[bool, list[int]]:
    """Ask the victim for a roll without it in the middle of `protect`, then for one with it.

    Return whether the first was signed before `protect` ended, and the sizes of the rolls that were signed.
    """
    server = LyingServer(running(5))
    side, ring = server.job.sites[VICTIM], server.ring(*server.names)
    for name in server.names[1:]:
        server.have_contributed(name, ring)
    if not locked:
        side._lock = NoLock()
    inside, go_on, done, signed = Event(), Event(), Event(), []
    honest = site_module.make_contribution

    def slow(*arguments):
        inside.set()
        go_on.wait(SECONDS)
        return honest(*arguments)

    def acknowledge(*sites):
        roll = server.roll(ring, *sites)
        with suppress(ProtocolError):
            side.answer("acknowledge", 1, roll.sites, roll.body)
            signed.append(len(roll.sites))
        done.set()

    patch.setattr(site_module, "make_contribution", slow)
    protecting = Thread(target=server.have_contributed, args=(VICTIM, ring))
    protecting.start()
    assert inside.wait(SECONDS)
    free = side._lock.acquire(blocking=False)
    if free:
        side._lock.release()
    second = Thread(target=acknowledge, args=server.names[1:])
    second.start()
    in_the_middle = free and done.wait(SECONDS)
    go_on.set()
    protecting.join(SECONDS)
    second.join(SECONDS)
    acknowledge(*server.names)
    return in_the_middle, signed


@pytest.mark.threat("T-36")
def test_without_a_lock_and_with_a_state_that_goes_back_two_rolls_are_signed(monkeypatch):
    state_goes_back(monkeypatch)
    assert rolls_signed(monkeypatch, locked=False) == (True, [4, 5])


@pytest.mark.threat("T-36")
def test_a_second_task_waits_until_the_contribution_is_made(monkeypatch):
    state_goes_back(monkeypatch)
    assert rolls_signed(monkeypatch, locked=True) == (False, [4])


@pytest.mark.threat("T-36")
def test_the_state_does_not_go_back_even_without_a_lock(monkeypatch):
    assert rolls_signed(monkeypatch, locked=False) == (True, [4])
