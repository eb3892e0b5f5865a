"""A test that finds, while it asks, that it cannot be made here: a row with the reason, neither tried nor failed."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vpnmesh.errors import UnavailableError
from vpnmesh.model import Cell, Pair
from vpnmesh.study.outcome import UNAVAILABLE, Failed
from workflows.run import measure as module
from workflows.run.measure import Attempt, Findings, measure
from workflows.run.store import Store


def test_it_is_an_unavailable_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As cluster-health is where pods are namespaces: the way out is in the reason; tried again by a later session."""

    def steps(*_: object) -> Iterator[Findings]:
        yield Findings()
        raise UnavailableError("no cluster stands here: --cluster kubernetes raises one over every scenario")

    monkeypatch.setattr(module, "_steps", steps)
    store = Store.create(tmp_path / "run")
    context: Any = SimpleNamespace(
        store=store,
        deployed=SimpleNamespace(data_plane="none"),
        site=SimpleNamespace(lease=None),
        profile=SimpleNamespace(placement="underlay"),
    )
    impaired: Any = SimpleNamespace(engine=SimpleNamespace(name="netem"))
    cell = Cell("native-1450", "none", "cluster-health", Pair("worker1", "k8s-master"))
    record, checked = measure(context, Attempt(cell, 1, 1, 1), impaired)
    assert isinstance(record.outcome, Failed)
    assert record.outcome.stage == UNAVAILABLE
    assert "--cluster kubernetes" in record.outcome.reason
    assert checked is None
    store.append(record)
    assert store.finished == frozenset()
