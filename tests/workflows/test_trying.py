"""What is tried is taken back in the opposite order, whatever happens in between."""

from types import SimpleNamespace
from typing import Any

import pytest

from inventory.load import load
from tests.why.seen import MESH, SOLUTION
from vpnmesh.errors import CheckError
from vpnmesh.firewall.policy import Policy
from vpnmesh.plan import Command, Plan
from vpnmesh.why.finding import Cause, Change, Effect, Evidence, Finding, Fix
from workflows.run import trying
from workflows.run.hosts import HostsFailedError
from workflows.run.site import Site
from workflows.run.trying import fixes_intent, policy_that_holds, tried

SHOWN = (Evidence("a", "b", "c"),)


def change(node: str, name: str) -> Change:
    """One that is told by its name."""
    return Change(node, (Command(("do", name)),), (Command(("undo", name)),), name)


def finding(fix: Fix | None) -> Finding:
    return Finding(Cause.CPU, Effect.SLOW, "a", "s", "d", SHOWN, fix)


class Bench:
    """A site whose nodes only note what they are told, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, held: str = "allow-all") -> None:
        self.site = Site(None, MESH.testbed)  # type: ignore[arg-type]
        self.held, self.done = held, list[str]()
        self.broken = ""
        monkeypatch.setattr(trying, "run_on", self.run_on)
        monkeypatch.setattr(trying, "firewall_policy", lambda _site, name: self.done.append(f"policy {name}"))
        monkeypatch.setattr(trying, "join", lambda *_: self.done.append("join"))

    def run_on(self, _nr: Any, names: list[str], _task: Any, **parameters: Any) -> dict[str, Any]:
        if isinstance(policy := parameters.get("policy"), Policy):
            diff = "" if policy.name == self.held else "- other"
            return {names[0]: SimpleNamespace(diff=diff)}
        plans: dict[str, Plan] = parameters["plans"]
        said = [
            f"{name} {' '.join(step.argv)}"
            for name in names
            for step in plans[name].steps
            if isinstance(step, Command)
        ]
        if self.broken in said:
            raise HostsFailedError("make_changes", {names[0]: CheckError("task", "broken")})
        self.done += said
        return {}


def test_changes_are_made_once_and_taken_back_in_the_opposite_order(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    first, second = change("worker1", "x"), change("worker1", "y")
    found = [finding(Fix((first, second))), finding(Fix((first,))), finding(None)]
    with tried(bench.site, SOLUTION, MESH, found):
        bench.done.append("look")
    assert bench.done == ["worker1 do x", "worker1 do y", "look", "worker1 undo y", "worker1 undo x"]


def test_the_policy_that_held_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where looking again failed; members that joined stay joined."""
    bench = Bench(monkeypatch, "block-udp")
    found = [finding(Fix(policy="allow-all")), finding(Fix(join=True))]
    with pytest.raises(CheckError), tried(bench.site, SOLUTION, MESH, found):
        raise CheckError("task", "no answer")
    assert bench.done == ["policy allow-all", "join", "policy block-udp"]


@pytest.mark.parametrize("set_up", [True, False])
def test_nodes_undo_the_scenario_that_this_run_has_set_up_beside_the_fixes(
    monkeypatch: pytest.MonkeyPatch, *, set_up: bool
) -> None:
    """Before, during and after a try; a mesh that stood before stays, however the run ends."""
    bench = Bench(monkeypatch)
    promised: list[set[str]] = []

    def promise(plans: dict[str, Plan]) -> None:
        steps = (step for plan in plans.values() for step in plan.steps if isinstance(step, Command))
        promised.append({" ".join(step.argv) for step in steps})

    bench.site = Site(load("lab")[0], MESH.testbed)
    lease: Any = SimpleNamespace(settings={}, promise=promise)
    bench.site.lease = lease
    with tried(bench.site, SOLUTION, MESH, [finding(Fix((change("worker1", "x"),)))], set_up=set_up):
        bench.done.append("look")
    assert bench.done == ["worker1 do x", "look", "worker1 undo x"]
    assert "undo x" in promised[0]
    assert len(promised) == (2 if set_up else 1)
    leaving = [any("tailscale" in argv for argv in argvs) for argvs in promised]
    assert leaving == ([True, True] if set_up else [False])


def test_what_cannot_be_taken_back_is_said_and_the_rest_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps of the same node and of others, and the policy; the node keeps its lease, and undoes by itself."""
    bench = Bench(monkeypatch)
    bench.broken = "worker1 undo y"
    lease: Any = SimpleNamespace(promise=lambda _: None, unclean=set())
    bench.site = Site(load("lab")[0], MESH.testbed, lease=lease)
    changes = (change("worker2", "a"), change("worker1", "x"), change("worker1", "y"))
    with tried(bench.site, SOLUTION, MESH, [finding(Fix(changes, policy="allow-all"))]):
        bench.done.clear()
    assert bench.done == ["worker1 undo x", "worker2 undo a", "policy allow-all"]
    assert bench.site.complaints == [
        "a fix that was tried could not be taken back: make_changes: worker1: task: broken"
    ]
    assert lease.unclean == {"worker1"}


def test_the_policy_that_holds_is_the_one_that_would_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy_that_holds(Bench(monkeypatch, "nat-symmetric").site) == "nat-symmetric"
    assert policy_that_holds(Bench(monkeypatch, "somebody's own").site) == ""


def test_what_a_person_agrees_to_names_every_change() -> None:
    intent = fixes_intent([finding(Fix((change("worker1", "x"),))), finding(Fix(policy="allow-all"))])
    assert intent.name == "trying fixes: worker1: x; firewall: policy allow-all"
    assert len(list(intent.find())) == 2
