"""A mesh that stands is known again by what its members tell of themselves, as far as they are alive."""

from types import SimpleNamespace
from typing import Any

import pytest

from inventory.load import load
from tests.why.seen import MESH, SOLUTION
from vpnmesh.errors import CheckError
from workflows.run import diagnosing
from workflows.run.site import Site


def test_a_member_that_tells_nothing_silences_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the others are asked for is read with it as a peer that is nowhere found."""

    def ask_each(*_: Any, **__: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        told = {"worker1": SimpleNamespace(result={"node-key": "nodekey:1"})}
        return {"worker2": CheckError("task", "the daemon does not answer")}, told

    monkeypatch.setattr(diagnosing, "ask_each", ask_each)
    mesh = diagnosing.standing(Site(*load("lab")), SOLUTION, MESH)
    told = {name: mesh.published_by(name, "node-key") for name in ("worker1", "worker2")}
    assert told == {"worker1": "nodekey:1", "worker2": ""}
