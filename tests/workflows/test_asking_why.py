"""When a run asks why: after what failed and what is relayed, once for each reason, and never for what was measured."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.why.seen import MESH, PAIR, SOLUTION, healthy
from vpnmesh.errors import CheckError
from vpnmesh.model import Cell
from vpnmesh.study.journal import PairDiagnosed, of_kind
from vpnmesh.study.outcome import Failed, Measured, Sample
from vpnmesh.study.record import Record
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.why.judge import diagnose
from vpnmesh.why.state_of_path import seen_state
from vpnmesh.why.words import Diagnosis
from workflows.run import asking_why, diagnosing
from workflows.run.asking_why import AskedWhy
from workflows.run.site import Site
from workflows.run.store import Store

FOUND = Diagnosis(PAIR, seen_state(healthy()), tuple(diagnose(healthy(skews_s={"worker2": 7200.0}))))

UNANSWERED = [
    (CheckError("task", "nobody answers"), "task: nobody answers"),
    (KeyError("wg0"), "KeyError: 'wg0'"),
]
"""Errors that are foreseen, and those that are not, with what is said of them."""


class Bench:
    """A run's questions, each answered at once with one finding; `asked` counts them."""

    def __init__(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None
    ) -> None:
        self.site = Site(None, MESH.testbed)  # type: ignore[arg-type]
        self.site.asks_why = True
        self.store = Store.create(directory)
        self.asked, self.said, self.error = 0, list[str](), error
        monkeypatch.setattr(asking_why, "why", self.why)
        self.questions = AskedWhy(self.site, self.store)

    def why(self, *_: Any) -> Diagnosis:
        self.asked += 1
        if self.error:
            raise self.error
        return FOUND

    def say(self, text: str) -> None:
        self.said.append(text)

    def doing(self, _text: str) -> None:
        """Nobody looks."""

    def failed(self, outcome: Failed | Measured, condition: str = "none", visit: int = 1) -> None:
        cell = Cell("headscale-direct", condition, "tcp", PAIR)
        record = Record(cell, 1, outcome, datetime.now(UTC), visit=visit)
        context: Any = SimpleNamespace(deployed=SimpleNamespace(solution=SOLUTION, mesh=MESH))
        self.questions.failed(context, record, self)  # type: ignore[arg-type]

    def relayed(self, scenario: str) -> None:
        deployed = SimpleNamespace(scenario=scenario_named(scenario), solution=SOLUTION, mesh=MESH)
        context: Any = SimpleNamespace(deployed=deployed)
        self.questions.relayed(context, [PAIR, PAIR], self)  # type: ignore[arg-type]

    @property
    def kept(self) -> list[PairDiagnosed]:
        return of_kind(self.store.files.events(), PairDiagnosed)


def test_a_reason_is_asked_for_once_in_a_visit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another condition, another visit and another stage are other reasons."""
    bench = Bench(tmp_path / "run", monkeypatch)
    for outcome in (Failed("path", "a"), Failed("path", "b"), Failed("mtu", "c")):
        bench.failed(outcome)
    bench.failed(Failed("path", "d"), condition="loss-5pct")
    bench.failed(Failed("path", "e"), visit=2)
    assert bench.asked == 4
    assert [(one.about, one.condition) for one in bench.kept] == [
        ("path", "none"), ("mtu", "none"), ("path", "loss-5pct"), ("path", "none"),
    ]  # fmt: skip
    assert bench.kept[0].findings[0].cause == "clock"
    assert any("clock: worker2: its clock is 7200 s ahead" in line for line in bench.said)


@pytest.mark.parametrize(
    "outcome", [Measured((Sample("rate_mbit_s", 1.0),)), Failed("tool", "x"), Failed("node", "x")]
)
def test_nothing_is_asked_where_nothing_is_to_be_told(
    outcome: Measured | Failed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measured repetition is never held up; a tool's and a dead node's own words are the reason."""
    bench = Bench(tmp_path / "run", monkeypatch)
    bench.failed(outcome)
    assert (bench.asked, bench.kept) == (0, [])


def test_a_relayed_scenario_is_asked_about_once_in_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the run goes on in another session; a direct one never."""
    bench = Bench(tmp_path / "run", monkeypatch)
    bench.relayed("headscale-direct")
    bench.relayed("headscale-relay")
    bench.relayed("headscale-relay")
    assert (bench.asked, [one.about for one in bench.kept]) == (1, ["relayed"])
    bench.store = Store.open(tmp_path / "run")
    bench.questions = AskedWhy(bench.site, bench.store)
    bench.relayed("headscale-relay")
    assert bench.asked == 1


@pytest.mark.parametrize(("error", "said"), UNANSWERED)
def test_a_question_that_fails_ends_nothing(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "run", monkeypatch, error)
    bench.failed(Failed("path", "a"))
    assert bench.kept == []
    assert bench.said == [f"headscale-direct worker1>worker2: why could not be asked: {said}"]


@pytest.mark.parametrize(("error", "said"), UNANSWERED)
def test_a_scenario_that_did_not_come_up_fails_with_its_own_reason(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking why raises nothing: what went wrong with it is a complaint beside that reason."""

    def why(*_: Any) -> Diagnosis:
        raise error

    monkeypatch.setattr(diagnosing, "why", why)
    site = Site(None, MESH.testbed, asks_why=True)  # type: ignore[arg-type]
    diagnosing.ask_why_not_up(site, SOLUTION, MESH)
    assert site.complaints == [f"why headscale-direct did not come up could not be asked: {said}"]


def test_what_was_asked_before_a_scenario_was_removed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "run", monkeypatch)
    bench.site.diagnoses.append(FOUND)
    bench.questions.take_in("headscale-direct", bench)  # type: ignore[arg-type]
    assert [one.about for one in bench.kept] == ["provision"]
    assert bench.site.diagnoses == []


def test_nobody_is_asked_where_nobody_wants_to_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in every command but the matrix."""
    bench = Bench(tmp_path / "run", monkeypatch)
    bench.site.asks_why = False
    bench.failed(Failed("path", "a"))
    bench.relayed("headscale-relay")
    assert bench.asked == 0
