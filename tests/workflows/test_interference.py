"""Pairs are measured at once only where a pair's figures among others are those it has alone; else fewer, or one."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vpnmesh.model import Cell, Condition, Pair, Testbed
from vpnmesh.study.journal import PairsAtOnce, of_kind
from vpnmesh.study.outcome import Failed, Measured, Sample
from vpnmesh.study.record import Record
from vpnmesh.study.scenarios import scenario_named
from vpnmesh.study.visits import Job
from workflows.run import interference
from workflows.run.interference import Interference
from workflows.run.measure import Attempt
from workflows.run.store import Store

PAIRS = [Pair(f"a{number}", f"b{number}") for number in range(4)]
JOBS = [Job(Cell("native-1450", "none", "tcp", pair), (1,)) for pair in PAIRS]


@pytest.fixture
def asked(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, Store, str]]:
    """Asks how many are made at once, where a pair's rate is a function of how many are measured."""

    def ask(
        rate: Callable[[int], float | None], condition: Condition | None = None, test: str = "tcp"
    ) -> tuple[int, Store, str]:
        jobs = [replace(job, cell=replace(job.cell, test=test)) for job in JOBS]

        def measured(_context: object, attempt: Attempt, *_: object) -> tuple[Record, None]:
            figure = rate(attempt.at_once)
            outcome = Failed("tool", "gone") if figure is None else Measured((Sample("rate_mbit_s", figure),))
            return Record(attempt.cell, attempt.repetition, outcome, datetime.now(UTC)), None

        monkeypatch.setattr(interference, "measure", measured)
        nodes = tuple(replace(node, cores=4) for node in bed.nodes)
        extra = tuple(replace(bed.workers[0], name=f"more{n}", cores=4) for n in range(5))
        store = Store.create(tmp_path / "run")
        context: Any = SimpleNamespace(
            site=SimpleNamespace(testbed=replace(bed, nodes=nodes + extra)),
            deployed=SimpleNamespace(scenario=scenario_named("native-1450")),
            store=store,
        )
        said: list[str] = []
        held: Any = {
            pair: SimpleNamespace(impairment=SimpleNamespace(condition=condition or Condition()))
            for pair in PAIRS
        }
        known = Interference()
        progress: Any = SimpleNamespace(say=said.append)
        count = known.at_once(context, jobs, held, progress)
        assert count == known.at_once(context, jobs, held, progress)
        return count, store, " ".join(said)

    return ask


def test_pairs_that_do_not_disturb_each_other_are_made_at_once(asked: Any) -> None:
    """All four, noted with the figures, and asked once."""
    count, store, said = asked(lambda _: 900.0)
    (event,) = of_kind(store.events, PairsAtOnce)
    assert (count, event.at_once, event.allowed) == (4, 4, 4)
    assert (event.alone, event.among) == ([900.0] * 3, [900.0] * 3)
    assert "4 pairs at a time" in said


def test_half_as_many_are_tried_where_they_do(asked: Any) -> None:
    """Four share what two do not need."""
    count, store, said = asked(lambda at_once: min(900.0, 2000.0 / at_once))
    assert count == 2
    assert "4 pairs disturb each other: among others it is -44.4%" in said
    assert of_kind(store.events, PairsAtOnce)[0].among == [900.0] * 3


@pytest.mark.parametrize(
    "rate", [lambda at_once: 900.0 / at_once, lambda at_once: None if at_once > 1 else 900.0]
)
def test_one_is_left_where_any_two_disturb_each_other(
    asked: Any, rate: Callable[[int], float | None]
) -> None:
    """Also where the others' load makes the measurement fail."""
    count, _, said = asked(rate)
    assert count == 1
    assert "one pair at a time, since 2 pairs disturb each other" in said


def test_what_changes_the_mesh_is_made_pair_by_pair(asked: Any) -> None:
    """Blocking UDP for one pair blocks it for all: no interference would be seen where everybody suffers it."""
    count, store, _ = asked(lambda _: 900.0, test="convergence")
    assert (count, list(store.events)) == (1, [])


def test_impaired_pairs_are_made_one_by_one(asked: Any) -> None:
    """An impairment is of one pair; nothing is asked of the nodes."""
    count, store, said = asked(lambda _: 900.0, Condition(loss_pct=1))
    assert (count, list(store.events), said) == (1, [], "")
