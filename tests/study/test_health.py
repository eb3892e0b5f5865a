"""From times to spans and figures: silences, states, and what belongs to which phase."""

from dataclasses import replace

import pytest

from tests.measurements.cases import cases
from vpnmesh.errors import ToolError
from vpnmesh.study.health import AWAY, READY, Event, Health, Lane, Phase, Span, silences, states
from vpnmesh.study.health_raw import (
    CLIENT_FILE,
    ENDED,
    PHASES_FILE,
    SERVER_FILE,
    Clocks,
    Log,
    PhaseLog,
    Probe,
    _path_s,
    health_of,
    log_of,
)

PHASES = (Phase("steady", 0.0, 10.0), Phase("to-relay", 10.0, 30.0))


def health(*spans: Span, events: tuple[Event, ...] = ()) -> Health:
    return Health(PHASES, spans, events, frozenset(Lane), 0.01)


def test_a_silence_is_what_lasts_a_second() -> None:
    """Between answers, before the first, after the last; answers come in any order."""
    assert list(silences([1.5, 0.5, 1.0, 4.0, 4.9], 0.0, 5.0)) == [(1.5, 4.0)]
    assert list(silences([], 0.0, 3.0)) == [(0.0, 3.0)]
    assert list(silences([1.5, 2.0], 0.0, 3.5)) == [(0.0, 1.5), (2.0, 3.5)]


def test_equal_states_are_one_stretch() -> None:
    said = [(0.0, "a"), (1.0, "a"), (2.0, "b"), (5.0, "a")]
    assert list(states(said, 6.0)) == [(0.0, 2.0, "a"), (2.0, 5.0, "b"), (5.0, 6.0, "a")]
    assert list(states([], 6.0)) == []


def test_a_span_counts_in_each_phase_for_its_part() -> None:
    """What reaches into a phase by less than a step of the watchers is the neighbour's."""
    seen = health(Span(Lane.API_NODE, "w", AWAY, 9.9, 15.0), Span(Lane.NODES, "w", READY, 0.0, 30.0))
    assert seen.longest_s(Lane.API_NODE) == pytest.approx(5.1)
    assert seen.longest_s(Lane.API_NODE, PHASES[0]) == 0
    assert seen.longest_s(Lane.API_NODE, PHASES[1]) == pytest.approx(5.0)
    assert seen.longest_s(Lane.NODES) == 0


def test_events_are_counted_by_phase() -> None:
    seen = health(events=(Event(Lane.WATCH, "why", ENDED, 9.0), Event(Lane.WATCH, "why", ENDED, 11.0)))
    assert seen.happened(Lane.WATCH, ENDED) == 2
    assert seen.happened(Lane.WATCH, ENDED, PHASES[1]) == 1


def test_the_servers_clock_is_set_by_the_clients() -> None:
    """An hour ahead or not: the same spans at the same times."""
    case = cases("cluster-health")[0]
    log = log_of(case.raw[PHASES_FILE])
    assert 0 < log.accuracy_s < 1
    log.clocks = [replace(one, server_s=one.server_s + 3600) for one in log.clocks]
    shifted = {**case.raw, SERVER_FILE: _later(case.raw[SERVER_FILE], 3600), PHASES_FILE: log.text}
    there, here = health_of(shifted), health_of(case.raw)
    assert [span.state for span in there.spans] == [span.state for span in here.spans]
    for one, other in zip(there.spans, here.spans, strict=True):
        assert one.from_s == pytest.approx(other.from_s, abs=0.01)


def test_a_clock_that_was_set_meanwhile_is_not_known_well() -> None:
    """The moment that was asked fastest counts; what contradicts it makes the accuracy worse, by as much."""
    calm = Log("w", "m", clocks=[Clocks(0.0, 5.01, 0.02), Clocks(10.0, 15.9, 11.0)])
    assert calm.ahead_s == pytest.approx(5.0)
    assert calm.accuracy_s == pytest.approx(0.01)
    stepped = Log("w", "m", clocks=[*calm.clocks, Clocks(20.0, 28.01, 20.02)])
    assert stepped.accuracy_s == pytest.approx(0.01 + 3.0 - 0.01)


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [("yyyy", 0.0), ("ynyy", 0.0), ("ynny", 3.0), ("nnyy", 2.0), ("yyyn", 0.0), ("yynn", None)],
)
def test_one_lost_ping_is_no_lost_path(answers: str, seconds: float | None) -> None:
    """Two in a row are; a path that does not come back has no time."""
    probes = [Probe("w", float(at), "direct", said == "y") for at, said in enumerate(answers)]
    phase = PhaseLog("relay-restart", 0.0, 0.0, 9.0, "direct", probes=probes)
    assert _path_s(phase) == seconds
    assert _path_s(replace(phase, wanted="relay")) is None


def _later(text: str, seconds: float) -> str:
    lines = [line.partition(" ") for line in text.splitlines()]
    return "".join(f"{float(stamp) + seconds:.3f} {rest}\n" for stamp, _, rest in lines)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (CLIENT_FILE, "1.0 api {\n", "watch-client.txt holds '1.0 api {'"),
        (CLIENT_FILE, "", "the API server never answered in the steady phase"),
        (SERVER_FILE, "", "names no node"),
        (PHASES_FILE, "{}", "is no log of phases"),
        (PHASES_FILE, '{"client": "a", "server": "b"}', "does not begin with the steady phase"),
    ],
)
def test_texts_that_hold_nothing_are_a_reason(name: str, text: str, reason: str) -> None:
    """By the file's name; never a figure of nothing."""
    raw = {**cases("cluster-health")[0].raw, name: text}
    with pytest.raises(ToolError, match=reason):
        health_of(raw)
