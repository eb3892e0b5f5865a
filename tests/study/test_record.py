"""A record, its journal line and its row of the results table are the same attempt."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import ENDS, RESULTS, SCHEMA_VERSION, check_results
from vpnmesh.frames.summary import summarize
from vpnmesh.model import Cell, Pair
from vpnmesh.study.journal import JournalEvent, parse_event
from vpnmesh.study.outcome import UNAVAILABLE, Failed, Measured, Outcome, Sample
from vpnmesh.study.record import Record, finished, frame_of, journal_line
from vpnmesh.tools.load import NodeLoad

CELL = Cell("native-1450", "loss-1pct", "udp", Pair("worker1", "worker2"))
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
LOAD = NodeLoad(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10)
FULL = Record(
    CELL,
    3,
    Measured((Sample("rate_mbit_s", 12.5), Sample("sent_mbit_s", 13.0), Sample("lost_pct", 4.0))),
    WHEN,
    elapsed_s=2.5,
    visit=2,
    sequence=7,
    data_plane="userspace",
    rtt_ms_before=0.25,
    rtt_ms_after=0.5,
    relay_share=0.001,
    near_cap=False,
    impairment_late_ms=0.05,
    placement="underlay:client:auto",
    engine="netem",
    loads=dict.fromkeys(ENDS, LOAD),
    raw="raw/there",
    at_once=2,
    adopted=False,
)


def events(*lines: object) -> list[JournalEvent]:
    """What a journal of these lines holds."""
    return [parse_event(line) for line in lines]


floats = st.floats(0, 1e6, allow_nan=False)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(lambda rate: Measured((Sample("rate_mbit_s", rate),)), floats.filter(bool)),
    st.builds(Failed, st.sampled_from(["path", "tool", "node"]), st.text()),
)


def test_a_full_record_fills_its_columns() -> None:
    """Figures, loads of all ends and the machine's stand under their names; retransmits are TCP's."""
    row = FULL.row()
    assert list(RESULTS) == list(row)
    assert {name for name, value in row.items() if value is None} == {"stage", "reason", "retransmits"}
    assert (row["rate_mbit_s"], row["client_cpu_pct"], row["relay_ram_mb"]) == (12.5, 1.0, 4.0)
    assert (row["placement"], row["engine"]) == ("underlay:client:auto", "netem")
    assert (row["machine_cpu_pct"], row["machine_softirq_pct"]) == (7.0, 8.0)


@given(outcomes, st.integers(1, 100), st.none() | floats)
def test_a_journal_line_gives_the_row_back(outcome: Outcome, repetition: int, rtt: float | None) -> None:
    """Through JSON and into the table, nothing changes and nothing is made up."""
    record = replace(FULL, outcome=outcome, repetition=repetition, rtt_ms_before=rtt)
    line = json.loads(json.dumps(journal_line(record)))
    frame = check_results(frame_of(events(line)), "here")
    assert record.row() == frame.row(0, named=True)
    assert line["schema_version"] == SCHEMA_VERSION
    assert None not in line.values()


def test_a_failure_has_no_figure() -> None:
    """Stage and reason stand instead; the rate is null, never 0."""
    row = replace(FULL, outcome=Failed("path", "went another way")).row()
    assert (row["outcome"], row["stage"], row["reason"]) == ("failed", "path", "went another way")
    assert {row[name] for name in ("rate_mbit_s", "sent_mbit_s", "lost_pct", "retransmits")} == {None}


def test_times_are_kept_in_utc() -> None:
    """A stamp of another zone is the same moment in the table."""
    east = WHEN.astimezone(timezone(timedelta(hours=5)))
    assert frame_of(events(journal_line(replace(FULL, started_at=east))))["started_at"][0] == WHEN


def test_only_repetitions_are_rows() -> None:
    """Visits and interruptions in the journal are no attempts."""
    lines = events({"type": "visit"}, journal_line(FULL), {"type": "interrupted"})
    assert frame_of(lines).height == 1
    assert frame_of([]).schema == pl.Schema(RESULTS)
    assert {FULL.key} == finished(lines)


def test_unavailable_is_no_attempt() -> None:
    """A cell that could not be tried here is tried again on a resume."""
    line = journal_line(replace(FULL, repetition=0, outcome=Failed(UNAVAILABLE, "unavailable: no binary")))
    assert finished(events(line)) == frozenset()


@pytest.mark.parametrize("key", ["scenario", "pair", "test", "repetition"])
def test_a_line_that_lacks_its_key_is_no_run_of_ours(key: str) -> None:
    """Which column is missing, in one sentence."""
    line = {name: value for name, value in journal_line(FULL).items() if name != key}
    with pytest.raises(InputError, match=key):
        finished(events(line))


@pytest.mark.parametrize(("key", "value"), [("test", "../sctp"), ("repetition", "many"), ("pair", "worker1")])
def test_a_line_with_nonsense_is_no_run_of_ours(key: str, value: str) -> None:
    """A journal that somebody edited is refused, not guessed at."""
    with pytest.raises(InputError):
        finished(events({**journal_line(FULL), key: value}))


def summary_of(*outcomes: Outcome) -> dict[str, object]:
    """The summary of one cell's attempts."""
    records = [replace(FULL, outcome=one, repetition=n) for n, one in enumerate(outcomes, start=1)]
    return summarize(frame_of(events(*map(journal_line, records)))).row(0, named=True)


def measured(rate: float) -> Outcome:
    return Measured((Sample("rate_mbit_s", rate),))


def test_mean_and_deviation_are_of_what_was_measured() -> None:
    """A failure lowers n, never the mean; its reason is shown."""
    row = summary_of(measured(10), Failed("path", "first"), measured(20), Failed("tool", "second"))
    assert (row["attempted"], row["measured"], row["mean_mbit_s"], row["reason"]) == (4, 2, 15.0, "first")
    assert row["sd_mbit_s"] == pytest.approx(50**0.5)


def test_one_measurement_has_no_deviation() -> None:
    """Null, not 0."""
    row = summary_of(measured(10))
    assert (row["attempted"], row["measured"], row["mean_mbit_s"], row["sd_mbit_s"]) == (1, 1, 10.0, None)


def test_nothing_measured_has_no_mean() -> None:
    """Two failures are two attempts and no figure."""
    row = summary_of(Failed("path", "x"), Failed("path", "y"))
    assert (row["attempted"], row["measured"], row["mean_mbit_s"], row["sd_mbit_s"]) == (2, 0, None, None)


def test_what_was_unavailable_was_not_attempted() -> None:
    """The row is there, with no attempt; later attempts beside it count alone."""
    gone = Failed(UNAVAILABLE, "unavailable: no binary")
    row = summary_of(gone)
    assert (row["attempted"], row["measured"], row["reason"]) == (0, 0, "unavailable: no binary")
    assert summary_of(gone, measured(10))["attempted"] == 1


def test_every_cell_has_its_own_row() -> None:
    """Scenario, condition and test are kept apart, in the order they came."""
    others = [
        replace(CELL, test="tcp"),
        replace(CELL, condition="none"),
        replace(CELL, scenario="native-1230"),
    ]
    lines = [journal_line(replace(FULL, cell=cell)) for cell in (CELL, *others, CELL)]
    frame = summarize(frame_of(events(*lines)))
    assert frame["attempted"].to_list() == [2, 1, 1, 1]
    assert frame["test"].to_list() == ["udp", "tcp", "udp", "udp"]
