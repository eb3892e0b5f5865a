"""What the first screen says, as golden texts of 150 columns; VPNMESH_REGOLD=1 writes them anew, to be reviewed."""

import io
import os
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from tests.report.conftest import MEANS, invented
from vpnmesh.report.answer_costs import ask, budget_min, cost
from vpnmesh.report.answer_words import lead_text, minutes_text, told
from vpnmesh.report.answers import PairAnswer, answers
from vpnmesh.report.page import Kind
from vpnmesh.report.shares import baseline, shares
from vpnmesh.report.tables import Study
from vpnmesh.stats.sequential import PairVerdict
from vpnmesh.study.matrix import SWITCH_S
from workflows.reporting.answering import opening, show

GOLDEN = Path(__file__).parent / "golden"


def on_terminal(study: Study, run: Path | None = None) -> str:
    """What a terminal of 150 columns shows."""
    console = Console(width=150, file=io.StringIO(), color_system=None)
    show(console, opening(study, run))
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def golden(name: str, text: str) -> str:
    """The reviewed text of that name; with VPNMESH_REGOLD set, `text` becomes it."""
    path = GOLDEN / name
    if os.environ.get("VPNMESH_REGOLD"):
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def test_the_papers_first_screen(paper: Study) -> None:
    """14 families of 28 pairs; nobody recorded how long a repetition took, so no minutes are told."""
    assert on_terminal(paper) == golden("first-screen-paper.txt", on_terminal(paper))


def test_the_first_screen_of_a_run_that_can_go_on() -> None:
    """As large as a default run: it fits a screen, and says with which command how many pairs more are decided."""
    text = on_terminal(invented(12, adaptive=True), Path("runs/mine"))
    assert text == golden("first-screen-adaptive.txt", text)
    assert len(text.splitlines()) <= 40
    assert "python -m workflows.full_matrix --resume runs/mine --budget " in text


def test_the_first_screen_of_two_repetitions() -> None:
    """Nothing is ranked, no interval is told; conditions with the same answer share a row; what to ask for is said."""
    text = on_terminal(invented(2))
    assert text == golden("first-screen-two-repetitions.txt", text)
    body = text.partition("decided   the rest")[2].partition("Fastest first.")[0]
    assert ">" not in body
    assert "%)" not in body


def test_scenarios_without_order_stand_in_the_order_of_all_tables() -> None:
    """Not in that of their means, which would look like one."""
    first = told(invented(2)).rows[0]
    assert [words.text for words in first.order if words.kind is Kind.NAME] == list(MEANS)


def test_the_promise_names_pairs_that_are_open_and_minutes_that_cover_them() -> None:
    """A budget is no less than the costliest pair, and no more than all pairs one by one and the switching."""
    found = answers(invented(12, adaptive=True))
    costs = [cost(one) for one in found]
    singly = [pair.minutes_more or 0.0 for one in costs for pair in one.soon]
    assert singly
    assert max(singly) < budget_min(costs) < sum(singly) + 8 * 10 / 60 + 1
    assert all(pair.verdict is PairVerdict.UNDECIDED for one in costs for pair in (*one.soon, *one.later))


def test_a_run_that_is_asked_for_covers_the_open_pairs_and_an_hour_at_most() -> None:
    """A fixed run cannot go on: another one with enough repetitions is asked for, as long as it is worth it."""
    study = invented(8, spread=0.05)
    asked = ask(study, answers(study))
    assert asked is not None
    assert asked.decides > 0
    assert asked.repetitions > 8
    assert asked.minutes is not None
    assert asked.minutes <= 60
    cells = len(asked.tests) * len(asked.conditions) * len(asked.scenarios)
    assert asked.minutes == pytest.approx(
        (asked.repetitions * cells * 3 + 3 * SWITCH_S * len(asked.scenarios)) / 60
    )


def test_nothing_is_asked_for_where_all_is_decided_or_nobody_can_ask(paper: Study) -> None:
    """Published results are nobody's run here; a run without an open pair needs nothing."""
    assert ask(paper, answers(paper)) is None
    study = invented(30, spread=0.001)
    assert all(one.command == "" for one in told(study).further)
    assert all(row.rest == "" for row in told(study).rows)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1.012, 1.0349, "1.2 to 3.5 %"),
        (1.0003, 1.0291, "0.03 to 2.91 %"),
        (1.152, 1.187, "15 to 19 %"),
        (1.31, 1.52, "1.31 to 1.52 times"),
        (28.6, 36.7, "29 to 37 times"),
        (1.0123, 1571.89, "1.01 times or more"),
        (1.2001, 1.2002, "20 %"),
        (None, None, "too few figures for an interval"),
    ],
)
def test_a_lead_is_told_in_percent_or_times(low: float | None, high: float | None, text: str) -> None:
    """Percent up to half as much again, then times; never more digits than the interval is worth."""
    assert lead_text(PairAnswer("a", "b", PairVerdict.DIFFER, 1.2, low, high, 9, None, "")) == text


@pytest.mark.parametrize(
    ("minutes", "text"), [(0.2, "1 min"), (42.4, "42 min"), (130.0, "2 h"), (4000.0, "3 days")]
)
def test_minutes_are_told_as_people_say_them(minutes: float, text: str) -> None:
    """Nobody knows a forecast to the second."""
    assert minutes_text(minutes) == text


def test_shares_turn_the_ratio_round_and_keep_its_interval(paper: Study) -> None:
    """NetBird's direct path undisturbed: 707.45 of 768.99 Mbit/s; its relay under 5 % loss is not native's equal."""
    found = shares(paper)
    assert baseline(paper) == "native-1450"
    netbird = found["tcp", "none", "netbird-direct"]
    assert netbird.share == pytest.approx(707.45 / 768.99)
    assert netbird.low is not None
    assert netbird.high is not None
    assert netbird.low < netbird.share < netbird.high
    assert netbird.decided
    assert not found["tcp", "delay-250ms", "zerotier-relay"].decided
    assert len(found) == 7 * 14


def test_without_a_baseline_there_is_no_share(paper: Study) -> None:
    """A picture of shares needs something to be a share of."""
    vpns = pl.col("scenario").is_in(list(MEANS)[2:])
    tables = {**paper.tables, "throughput": paper.tables["throughput"].filter(vpns)}
    assert shares(replace(paper, tables=tables)) == {}
