"""A host that takes no login costs few timeouts, however often it is asked; one that answers again is asked at once."""

import pytest

from inventory.silence import LEAST_HOLD_S, LONGEST_HOLD_S, Silence
from vpnmesh.errors import NodeUnreachableError

LOGIN_S = 10.0
"""How long the login of a host takes that says nothing at all."""


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("inventory.silence.time.monotonic", clock)
    return clock


def try_to_log_in(silence: Silence, clock: Clock) -> bool:
    """Ask a host that is dead; whether it was really asked."""
    try:
        silence.refuse()
    except NodeUnreachableError:
        return False
    began = clock.now_s
    clock.now_s += LOGIN_S
    silence.note(began, NodeUnreachableError("relay", "timed out"))
    return True


def test_a_dead_host_is_asked_less_and_less(clock: Clock) -> None:
    """Ten times a second for half an hour: some fifty logins of ten seconds instead of 180."""
    silence, logins = Silence(), 0
    while clock.now_s < 1800:
        logins += try_to_log_in(silence, clock)
        clock.now_s += 0.1
    assert 1800 / (LOGIN_S + LONGEST_HOLD_S) <= logins <= 60


def test_a_host_that_refuses_is_asked_again_soon(clock: Clock) -> None:
    """An SSH server that starts anew is found within two seconds of its return."""
    silence = Silence()
    silence.note(0.0, NodeUnreachableError("relay", "refused"))
    clock.now_s = LEAST_HOLD_S / 2
    with pytest.raises(NodeUnreachableError, match="refused"):
        silence.refuse()
    clock.now_s = LEAST_HOLD_S
    silence.refuse()


def test_a_host_that_answered_is_not_held_back(clock: Clock) -> None:
    """Its next connection that is lost is made anew at once."""
    silence = Silence()
    silence.note(0.0, NodeUnreachableError("relay", "refused"))
    silence.end()
    silence.refuse()
