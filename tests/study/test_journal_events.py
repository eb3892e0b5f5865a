"""A journal's lines are typed events: what is written is read back, and what is cut or garbled is never guessed at."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import ENDS, RESULTS, SCHEMA_VERSION
from vpnmesh.model import Cell, Pair
from vpnmesh.study.journal import (
    JournalEvent,
    RepetitionEnded,
    RunInterrupted,
    ScenarioUp,
    SessionStarted,
    TeardownProblem,
    VisitStarted,
    of_kind,
    parse_event,
    parse_journal,
)
from vpnmesh.study.outcome import UNAVAILABLE, Failed, Measured, Outcome, Sample
from vpnmesh.study.record import Record, finished, frame_of, journal_line, last_sequence
from vpnmesh.tools.load import NodeLoad

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(categories=["Ll", "Nd"], max_codepoint=127), min_size=1, max_size=8)
figures = st.floats(0, 1e9, allow_nan=False)
rates = st.floats(0, 1e9, allow_nan=False, exclude_min=True)
counts = st.integers(0, 10_000)
values: st.SearchStrategy[Any] = st.none() | st.booleans() | counts | figures | texts | st.lists(texts)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(
        lambda rate, rtt: Measured((Sample("rate_mbit_s", rate), Sample("rtt_ms", rtt))), rates, figures
    ),
    st.builds(Failed, st.sampled_from(["path", "tool", "node", UNAVAILABLE]), texts),
)
TESTS = ("tcp", "udp", "ping", "idle", "convergence")
records = st.builds(
    Record,
    cell=st.builds(
        Cell,
        names,
        names,
        st.sampled_from(TESTS),
        st.builds(Pair, names, names),
    ),
    repetition=counts,
    outcome=outcomes,
    started_at=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - given below
    elapsed_s=figures,
    visit=counts,
    sequence=counts,
    data_plane=texts,
    rtt_ms_before=st.none() | figures,
    near_cap=st.none() | st.booleans(),
    engine=texts,
    loads=st.just({})
    | st.just(dict.fromkeys(ENDS, NodeLoad(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10))),
)
others: st.SearchStrategy[JournalEvent] = st.one_of(
    st.builds(SessionStarted, number=counts),
    st.builds(VisitStarted, visit=counts, scenario=texts),
    st.builds(
        ScenarioUp,
        scenario=texts,
        data_plane=texts,
        peers=st.dictionaries(names, st.dictionaries(names, texts, max_size=2), max_size=2),
        relay_share=figures,
        setup_steps=counts,
        setup_s=figures,
        setup_seconds=st.dictionaries(names, figures, max_size=3),
    ),
    st.builds(TeardownProblem, scenario=texts, problem=texts),
    st.builds(RunInterrupted, signal=counts),
)
lines = st.one_of(
    records.map(journal_line),
    others.map(lambda event: event.stamped(datetime(2026, 1, 2, tzinfo=UTC)).line()),
)
journals = st.lists(
    st.builds(lambda line, more: {**more, **line}, lines, st.dictionaries(names, values, max_size=2)),
    max_size=6,
)


def written(journal: list[dict[str, object]]) -> bytes:
    """The file of a journal."""
    return "".join(json.dumps(line) + "\n" for line in journal).encode()


def read_or_refused(content: bytes) -> list[JournalEvent] | None:
    """The events, or None where the journal is refused in one sentence that names the file."""
    try:
        return parse_journal(content, "run/journal.jsonl")
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert said.startswith("run/journal.jsonl")
    assert "this is no run of this version" in said
    return None


@given(journals)
def test_events_come_back_from_the_journal_as_they_were(journal: list[dict[str, object]]) -> None:
    """Every kind, in order, with keys that nobody here knows; and written again they are the same lines."""
    events = parse_journal(written(journal))
    assert [event.line() for event in events] == journal
    assert parse_journal(written([event.line() for event in events])) == events


@given(st.lists(records, max_size=4))
def test_what_the_journal_knows_of_attempts_is_what_the_records_say(made: list[Record]) -> None:
    """Rows, finished attempts and the last number, from records and from their lines alike."""
    events = parse_journal(written([journal_line(record) for record in made]))
    assert frame_of(events).to_dicts() == [record.row() for record in made]
    assert finished(events) == {
        one.key for one in made if not (isinstance(one.outcome, Failed) and one.outcome.stage == UNAVAILABLE)
    }
    assert last_sequence(events) == max((one.sequence for one in made), default=0)
    assert [one.key for one in of_kind(events, RepetitionEnded)] == [one.key for one in made]


@given(journals, st.data())
def test_a_journal_that_was_cut_is_read_up_to_its_last_whole_line(
    journal: list[dict[str, object]], data: st.DataObject
) -> None:
    """Cut after any byte: what a kill or a power cut leaves is read, and half a line is no event."""
    content = written(journal)
    kept = content[: data.draw(st.integers(0, len(content)))]
    assert parse_journal(kept) == parse_journal(content)[: kept.count(b"\n")]


@settings(max_examples=200)
@given(journals.filter(bool), st.data())
def test_a_journal_that_was_garbled_is_read_or_refused_in_one_sentence(
    journal: list[dict[str, object]], data: st.DataObject
) -> None:
    """Any bytes over any place: never a traceback, and never other lines than those that are whole."""
    content = written(journal)
    start = data.draw(st.integers(0, len(content) - 1))
    garbled = content[:start] + data.draw(st.binary(max_size=8)) + content[start + data.draw(counts) :]
    events = read_or_refused(garbled)
    assert events is None or len(events) == garbled.count(b"\n")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"scenario": None}, "scenario"),
        ({"test": "../sctp"}, "test"),
        ({"pair": "worker1"}, "pair"),
        ({"pair": 7}, "pair"),
        ({"repetition": "many"}, "repetition"),
        ({"repetition": True}, "repetition"),
        ({"outcome": "perhaps"}, "outcome"),
        ({"visit": 1.5}, "visit"),
        ({"started_at": "noon"}, "started_at"),
        ({"started_at": "2026-01-02T03:04:05"}, "started_at"),
        ({"rate_mbit_s": "fast"}, "rate_mbit_s"),
        ({"rate_mbit_s": float("nan")}, "rate_mbit_s"),
        ({"client_cpu_pct": True}, "client_cpu_pct"),
        ({"near_cap": 1}, "near_cap"),
        ({"engine": 3}, "engine"),
        ({"samples": {"rtt_ms": float("inf")}}, "samples: rtt_ms"),
        ({"type": "seance"}, "type"),
        ({"schema_version": SCHEMA_VERSION + 1}, "schema_version"),
    ],
)
def test_a_wrong_line_is_named_by_file_line_and_key(change: dict[str, object], key: str) -> None:
    """One sentence with the place, and what to make of it."""
    cell = Cell("native-1450", "none", "tcp", Pair("worker1", "worker2"))
    good = journal_line(
        Record(cell, 1, Measured((Sample("rate_mbit_s", 1.0),)), datetime(2026, 1, 2, tzinfo=UTC))
    )
    content = written([good, {**good, **change}, good])
    with pytest.raises(InputError) as caught:
        parse_journal(content, "run/journal.jsonl")
    assert str(caught.value).startswith(f"run/journal.jsonl: {key}: line 2: ")
    assert str(caught.value).endswith("; this is no run of this version")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"[1]", "journal.jsonl: line 1: is no JSON object"),
        (b"{}", "type: line 1: is missing"),
        (b"{nonsense}", "line 1: no JSON: "),
        (b"", "line 1: no JSON: "),
        (b"\xff", "line 1: no JSON: "),
        (b"[" * 100_000, "line 1: no JSON: "),
    ],
)
def test_what_is_no_line_of_a_journal_is_refused(line: bytes, said: str) -> None:
    """A file of something else, or with a blank line in it."""
    with pytest.raises(InputError) as caught:
        parse_journal(line + b"\n")
    assert said in str(caught.value)


def test_every_column_can_be_read() -> None:
    """Each has a field of its own or a type that it is held against."""
    row: dict[str, Any] = journal_line(
        Record(
            Cell("s", "none", "udp", Pair("a", "b")),
            1,
            Failed("tool", "no"),
            datetime(2026, 1, 2, tzinfo=UTC),
        )
    )
    for name in RESULTS:
        with pytest.raises(InputError, match=name):
            parse_event({**row, name: ["neither text nor number"]})


def test_figures_of_the_set_up_that_are_none_are_left_out() -> None:
    """They carry no result: an odd value is no figure, and no reason to refuse the run."""
    odd = {
        "type": "standing",
        "setup_steps": True,
        "setup_s": "long",
        "setup_seconds": {"ready": None, "pods": 1},
    }
    event = parse_event(odd)
    assert isinstance(event, ScenarioUp)
    assert (event.setup_steps, event.setup_s, event.setup_seconds) == (None, None, {"pods": 1.0})
