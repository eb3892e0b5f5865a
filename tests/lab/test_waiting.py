"""Waiting: as often as needed, never for ever, and the last answer is what counts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.lab.waiting import wait_until


class Clock:
    """A clock that only pauses move on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    monkeypatch.setattr(time, "sleep", made.sleep)
    return made


def test_a_good_answer_is_returned_at_once(clock: Clock) -> None:
    """No pause, not even with no time at all."""
    assert wait_until(lambda: "there", 0) == "there"
    assert clock.pauses == []


def test_it_asks_again_until_the_answer_is_good(clock: Clock) -> None:
    """The answer that was good comes back, after as many pauses as there were others."""
    answers = iter(["", "", "there", "later"])
    assert wait_until(lambda: next(answers), 10, 0.5) == "there"
    assert clock.pauses == [0.5, 0.5]


def test_the_last_answer_comes_back_when_the_time_is_over(clock: Clock) -> None:
    """The last pause is shortened to the deadline, and then it is asked once more."""
    asked: list[int] = []

    def ask() -> int:
        asked.append(len(asked))
        return 0

    assert wait_until(ask, 1.0, 0.4) == 0
    assert [round(pause, 6) for pause in clock.pauses] == [0.4, 0.4, 0.2]
    assert len(asked) == 4


def test_what_is_good_can_be_said(clock: Clock) -> None:
    """Waiting for nothing to be left."""
    left = [["a", "b"], ["b"], []]
    assert wait_until(lambda: left.pop(0), 5, good=lambda found: not found) == []
    assert len(clock.pauses) == 2


def test_an_error_ends_the_waiting(clock: Clock) -> None:
    """Only an answer is worth waiting for; what cannot be asked is raised."""

    def ask() -> bool:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        wait_until(ask, 5)
    assert clock.pauses == []


@given(st.floats(0, 3), st.floats(0.01, 1))
def test_it_never_waits_longer_than_it_may(timeout_s: float, pause_s: float) -> None:
    """Whatever the pauses are."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", clock.monotonic)
        patch.setattr(time, "sleep", clock.sleep)
        assert not wait_until(lambda: False, timeout_s, pause_s)
    assert sum(clock.pauses) == pytest.approx(timeout_s)
