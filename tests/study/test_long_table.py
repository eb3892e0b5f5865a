"""Every figure of a run is a row, whichever test gave it; and what a measurement's folder says beside its figures."""

from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from tests.measurements.cases import Case, cases
from vpnmesh.errors import InputError, ToolError
from vpnmesh.frames.events import figures_of, further_samples
from vpnmesh.frames.schemas import FIGURE_COLUMNS, FIGURES
from vpnmesh.measurements import MEASUREMENTS, figure_named, measurement_named
from vpnmesh.measurements.observed import loads, relay_share
from vpnmesh.model import Cell, Condition, Pair
from vpnmesh.study.journal import RepetitionEnded, VisitStarted, parse_event
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.outcome import UNAVAILABLE, Failed, Measured, Outcome, Sample
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.record import Record, journal_line

PAIR = Pair("worker1", "worker2")
RATE = Measured((Sample("rate_mbit_s", 12.5), Sample("retransmits", 3)))
PING = Measured((Sample("rtt_ms", 0.5), Sample("lost_pct", 0.0)))


def line(test: str, outcome: Outcome, repetition: int = 1) -> RepetitionEnded:
    """A repetition as the journal has it."""
    cell = Cell("native-1450", "none", test, PAIR)
    event = parse_event(journal_line(Record(cell, repetition, outcome, datetime(2026, 1, 2, tzinfo=UTC))))
    assert isinstance(event, RepetitionEnded)
    return event


def test_figures_with_and_without_a_column_are_rows() -> None:
    """With their units; failures and gaps give none."""
    frame = figures_of(
        [
            line("tcp", RATE),
            line("ping", PING),
            line("udp", Failed("tool", "x")),
            line("idle", Failed(UNAVAILABLE, "y"), 0),
            VisitStarted(),
        ]
    )
    assert frame.schema == pl.Schema(FIGURES)
    assert frame.select("test", "figure", "unit", "value").rows() == [
        ("tcp", "rate_mbit_s", "Mbit/s", 12.5),
        ("tcp", "retransmits", "", 3.0),
        ("ping", "lost_pct", "%", 0.0),
        ("ping", "rtt_ms", "ms", 0.5),
    ]
    assert set(frame["pair"]) == {"worker1>worker2"}
    assert figures_of([]).schema == pl.Schema(FIGURES)


def test_a_later_line_of_a_repetition_counts() -> None:
    """Also where it has fewer figures."""
    frame = figures_of([line("tcp", RATE), line("tcp", Measured((Sample("rate_mbit_s", 7.0),)))])
    assert frame.select("figure", "value").rows() == [("rate_mbit_s", 7.0)]


def test_a_figure_of_an_unknown_test_has_no_unit() -> None:
    """A plug-in that is not installed here: the figure is there all the same."""
    made = line("dns", PING)
    assert set(figures_of([made])["unit"]) == {""}
    assert further_samples([made])["figure"].to_list() == ["rtt_ms"]


def test_every_column_is_a_figure_of_a_test() -> None:
    """The wide table has no figure that nobody declares."""
    declared = {figure.name for one in MEASUREMENTS.values() for figure in one.figures}
    assert set(FIGURE_COLUMNS) <= declared
    assert figure_named("tcp", "rate_mbit_s") == measurement_named("tcp").figures[0]
    assert figure_named("tcp", "rtt_ms") is None


@pytest.fixture(params=["nebula-relay", "nebula-relay-loss-1pct"])
def relayed(request: pytest.FixtureRequest) -> Case:
    """A captured repetition over a relay, counted in the paper's way and since it was steady."""
    (found,) = (one for one in cases("tcp") if one.name == request.param)
    return found


def test_a_relays_share_is_its_counter_over_what_crossed(relayed: Case) -> None:
    """Captured over nebula-relay: all of it, and headers. Without a counter, or a test that counts, there is none."""
    case = relayed
    measured = measurement_named("tcp").parse(case.raw, case.question)
    share = relay_share(case.raw, measured)
    assert share is not None
    assert 0.9 < share < 3
    assert relay_share({}, measured) is None
    assert relay_share(case.raw, replace(measured, carried_bytes=None)) is None
    with pytest.raises(ToolError, match=r"relay-sent\.json lacks 'after_bytes'"):
        relay_share({"relay-sent.json": "{}"}, measured)


def test_the_measuring_program_ends_the_measured_seconds(relayed: Case) -> None:
    """Loads of all nodes that were sampled, the VPN's own among them; iperf3's end is theirs."""
    case = relayed
    found = loads(case.raw, case.question, measurement_named("tcp").program)
    assert list(found) == ["client", "server", "relay"]
    assert 0 < found["relay"].solution_cpu_pct <= found["relay"].cpu_pct
    assert found["client"].samples <= loads(case.raw, case.question)["client"].samples
    assert loads({}, case.question) == {}


def test_a_plan_asks_each_test_for_its_time_and_conditions() -> None:
    """Convergence is planned undisturbed only, and takes its own time."""
    profile = replace(
        PROFILES["quick"],
        scenarios=("native-1450",),
        conditions=(Condition(), Condition(loss_pct=1)),
        tests=("tcp", "convergence"),
        budget_min=None,
    )
    cells = plan_matrix(profile, [PAIR], 1).cells
    found = {(one.cell.test, one.cell.condition): one.seconds for one in cells}
    assert set(found) == {("tcp", "none"), ("tcp", "loss-1pct"), ("convergence", "none")}
    own_s = measurement_named("convergence").seconds(profile.settings, Condition())
    assert found["convergence", "none"] > profile.repetitions_clean * own_s > found["tcp", "none"]


def test_a_plan_of_an_unknown_test_is_refused() -> None:
    """As when a run of a plug-in that is gone is resumed."""
    with pytest.raises(
        InputError, match="unknown test 'dns'; known are: api, api-hey, convergence, idle, tcp, "
    ):
        plan_matrix(replace(PROFILES["quick"], tests=("dns",)), [PAIR], 1)
