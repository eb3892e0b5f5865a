"""What a person reads during a run and at its end, word for word."""

import io
from datetime import UTC, datetime

import polars as pl
import pytest
from rich.console import Console

from vpnmesh.model import Cell, Pair
from vpnmesh.study.journal import parse_event
from vpnmesh.study.matrix import plan_matrix
from vpnmesh.study.outcome import UNAVAILABLE, Failed, Measured, Outcome, Sample
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.record import Record, frame_of, journal_line
from vpnmesh.study.visits import Job
from workflows.run.progress import PLAIN_WIDTH, RunProgress, result_tables

PAIR = Pair("worker1", "worker2")
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def measured(rate: float) -> Outcome:
    return Measured((Sample("rate_mbit_s", rate),))


def records(scenario: str, condition: str, test: str, *outcomes: Outcome) -> list[Record]:
    cell = Cell(scenario, condition, test, PAIR)
    return [Record(cell, n, outcome, WHEN) for n, outcome in enumerate(outcomes, start=1)]


def frame(*groups: list[Record]) -> pl.DataFrame:
    return frame_of([parse_event(journal_line(record)) for group in groups for record in group])


def printed(*things: object) -> str:
    """As in a file: no colours, the plain width, no space at line ends."""
    console = Console(file=io.StringIO(), width=PLAIN_WIDTH, color_system=None, force_terminal=False)
    for thing in things:
        console.print(thing)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


TABLE = """\
TCP pod to pod, Mbit/s: mean ± sd, measured of attempted
┏━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━┓
┃ scenario        ┃        none ┃ loss-5pct ┃ delay-50ms ┃
┡━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━┩
│ native-1450     │  15.0 ± 7.1 │      10.0 │     failed │
│                 │         2/3 │       1/1 │        0/2 │
│ headscale-relay │ unavailable │           │            │
│ nebula-relay    │   3.0 ± 0.0 │           │            │
│                 │         2/2 │           │            │
└─────────────────┴─────────────┴───────────┴────────────┘"""


def test_the_table_of_a_protocol() -> None:
    """Scenarios and conditions in the study's order, n beside each mean; a failure has no number, a gap no cell."""
    results = frame(
        records("nebula-relay", "none", "tcp", measured(3), measured(3)),
        records("native-1450", "delay-50ms", "tcp", Failed("path", "x"), Failed("tool", "y")),
        records("native-1450", "none", "tcp", measured(10), Failed("path", "x"), measured(20)),
        records("native-1450", "loss-5pct", "tcp", measured(10)),
        records("headscale-relay", "none", "tcp", Failed(UNAVAILABLE, "unavailable: no binary")),
    )
    assert printed(*result_tables(results)) == TABLE


def test_one_table_a_protocol_and_none_for_others() -> None:
    """tcp, then udp; idle and ping have no throughput."""
    results = frame(
        records("native-1450", "none", "idle", Measured((Sample("cpu_pct", 1),))),
        records("native-1450", "none", "udp", measured(1)),
        records("native-1450", "none", "tcp", measured(1)),
    )
    titles = [str(table.title) for table in result_tables(results)]
    assert [title[:3] for title in titles] == ["TCP", "UDP"]
    assert list(result_tables(frame())) == []


@pytest.mark.parametrize(
    ("outcomes", "wanted"),
    [
        ((measured(10), measured(20)), "native-1450       loss-5pct     tcp       15.0 Mbit/s  2/2"),
        (
            (measured(10), Failed("path", "another way")),
            "native-1450       loss-5pct     tcp       10.0 Mbit/s  1/2  FAILED path: another way",
        ),
        (
            (Failed("node", "worker1: no SSH"), Failed("tool", "x")),
            "native-1450       loss-5pct     tcp          -         0/2  FAILED node: worker1: no SSH",
        ),
        (
            (Failed("tool", "[red]brackets[/] stay"),),
            "native-1450       loss-5pct     tcp          -         0/1  FAILED tool: [red]brackets[/] stay",
        ),
    ],
)
def test_the_line_of_a_finished_job(outcomes: tuple[Outcome, ...], wanted: str) -> None:
    """Mean of what was measured, counts, and the first failure's stage and reason, brackets and all."""
    console = Console(file=io.StringIO(), width=PLAIN_WIDTH, color_system=None)
    plan = plan_matrix(PROFILES["quick"], [PAIR], 1)
    made = records("native-1450", "loss-5pct", "tcp", *outcomes)
    with RunProgress(console, plan, 0) as progress:
        for record in made:
            progress.advance(record)
        progress.finished(Job(made[0].cell, tuple(range(1, len(made) + 1))), made)
    assert isinstance(console.file, io.StringIO)
    assert wanted == console.file.getvalue().rstrip("\n")
    assert progress.failures == sum(isinstance(one, Failed) for one in outcomes)


@pytest.mark.parametrize(
    ("test", "sample", "wanted"),
    [
        ("ping", Sample("rtt_ms", 0.25), "ping       0.2 ms      1/1"),
        ("idle", Sample("cpu_pct", 3.0), "idle       3.0 % CPU   1/1"),
        ("convergence", Sample("join_s", 2.5), "convergence       2.5 s join  1/1"),
    ],
)
def test_other_tests_show_what_they_measure(test: str, sample: Sample, wanted: str) -> None:
    """A round trip, a load and a time to join are no rates."""
    console = Console(file=io.StringIO(), width=PLAIN_WIDTH, color_system=None)
    made = records("native-1450", "none", test, Measured((sample,)))
    with RunProgress(console, plan_matrix(PROFILES["quick"], [PAIR], 1), 0) as progress:
        progress.finished(Job(made[0].cell, (1,)), made)
    assert isinstance(console.file, io.StringIO)
    assert f"native-1450       none          {wanted}\n" == console.file.getvalue()
