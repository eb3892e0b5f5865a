"""Conditions, pairs and outcomes: names round-trip, nonsense is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.errors import InputError, ToolError
from vpnmesh.model import PAPER_CONDITIONS, Condition, Pair
from vpnmesh.plan import Secret, unified_diff
from vpnmesh.study.outcome import Measured, Sample


def test_the_papers_conditions_have_the_papers_names() -> None:
    """None, three losses, three delays, in the order of every table."""
    names = ["none", "loss-1pct", "loss-5pct", "loss-10pct", "delay-50ms", "delay-250ms", "delay-350ms"]
    assert names == [condition.name for condition in PAPER_CONDITIONS]


@given(st.sampled_from([0, 0.5, 1, 5, 10, 33.3]), st.sampled_from([0, 0.1, 50, 250, 350]))
def test_a_conditions_name_says_all_of_it(loss: float, delay: float) -> None:
    """Parsing a name gives the condition back, combinations included."""
    condition = Condition(loss_pct=loss, delay_ms=delay)
    assert condition == Condition.parse(condition.name)


@pytest.mark.parametrize(
    "name", ["", "loss", "loss-xpct", "delay-50", "none+loss-1pct", "loss-100pct", "delay--1ms"]
)
def test_an_unknown_condition_lists_the_right_ones(name: str) -> None:
    """A wrong name is one sentence."""
    with pytest.raises(InputError):
        Condition.parse(name)


def test_a_pair_is_client_then_server() -> None:
    """`CLIENT>SERVER`, both ways."""
    assert Pair("a", "b") == Pair.parse(str(Pair("a", "b")))
    with pytest.raises(InputError):
        Pair.parse("a-b")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_measurement_is_a_finite_number(value: float) -> None:
    """NaN and infinity never stand for a failure."""
    with pytest.raises(ToolError):
        Measured((Sample("rate_mbit_s", value),))


def test_a_measurement_is_not_empty() -> None:
    """No samples, no measurement."""
    with pytest.raises(ToolError):
        Measured(())


def test_a_secret_shows_only_that_it_changes() -> None:
    """Neither text, nor repr, nor a diff holds the secret."""
    before, after = Secret("hunter2"), Secret("correct horse")
    shown = f"{before} {before!r} {unified_diff('key', before, after)}"
    assert "hunter2" not in shown
    assert "horse" not in shown
    assert unified_diff("key", before, before) == ""
    assert "-" in unified_diff("key", before, after)
