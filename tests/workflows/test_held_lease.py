"""What a run makes of its nodes' answers: all or nothing, lost or held, and what a node owes; nodes are values here."""

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

import tasks
from tasks.connection import LEASE_KEY
from vpnmesh.errors import CheckError, NodeUnreachableError, VpnmeshError
from vpnmesh.host.lease import Lease, LeaseAnswer, LeaseHolder, LeaseState
from vpnmesh.plan import Command, Plan
from workflows.run import held_lease
from workflows.run.held_lease import HeldLease, TestbedHeldError

MINE, NONE = LeaseAnswer(LeaseState.MINE), LeaseAnswer(LeaseState.NONE)
FIRST, SECOND = (Lease(f"run-{n}", f"root@{n}", "today", f"token-{n}", seconds=60) for n in (1, 2))
A, B = (Plan((Command((name,)),)) for name in ("a", "b"))


@dataclass
class Nodes:
    """What some nodes hold; `silent` ones do not answer. Does what the tasks do."""

    held: dict[str, Lease] = field(default_factory=dict)
    undo: dict[str, Plan] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def claim_lease(self, name: str, lease: Lease, *, again: bool = False) -> LeaseAnswer:
        there = self.held.get(name)
        if there and not (again and there.run == lease.run):
            return LeaseAnswer(
                LeaseState.OTHER, LeaseHolder(there.run, there.controller, there.since, silent_s=3)
            )
        self.held[name] = lease
        return MINE

    def renew_lease(self, name: str, lease: Lease, undo: Mapping[str, Plan] | None = None) -> LeaseAnswer:
        there = self.held.get(name)
        if there != lease:
            return self.claim_lease(name, lease) if there else NONE
        if undo is not None:
            self.undo[name] = undo[name]
        return MINE

    def release_lease(self, name: str, lease: Lease) -> LeaseAnswer:
        if self.held.get(name) == lease:
            del self.held[name]
        return NONE

    def run_on(
        self, nr: object, names: Iterable[str], task: Callable[..., Any], **words: Any
    ) -> dict[str, Any]:
        failed, found = self.ask_each(nr, names, task, **words)
        if failed:
            raise next(iter(failed.values()))
        return found

    def ask_each(
        self, _nr: object, names: Iterable[str], task: Callable[..., Any], **words: Any
    ) -> tuple[dict[str, VpnmeshError], dict[str, Any]]:
        chosen = list(names)
        self.asked += [task.__name__] * bool(chosen)
        failed: dict[str, VpnmeshError] = {
            name: NodeUnreachableError(name, "gone") for name in chosen if name in self.silent
        }
        answer = getattr(self, task.__name__)
        return failed, {
            name: SimpleNamespace(result=answer(name, **words)) for name in chosen if name not in failed
        }


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """Three nodes that nobody holds."""
    there = Nodes()
    monkeypatch.setattr(held_lease, "run_on", there.run_on)
    monkeypatch.setattr(held_lease, "ask_each", there.ask_each)
    assert {"claim_lease", "renew_lease", "release_lease"} <= set(dir(tasks))
    return there


def hold(lease: Lease) -> HeldLease:
    """A run's hold on them."""
    hosts = {name: SimpleNamespace(data={}) for name in ("one", "two", "three")}
    nr: Any = SimpleNamespace(inventory=SimpleNamespace(hosts=hosts))
    return HeldLease(nr, tuple(hosts), lease)


def fences(held: HeldLease) -> set[object]:
    """Under which leases changes are made."""
    return {host.data[LEASE_KEY] for host in held.nr.inventory.hosts.values()}


def test_a_testbed_is_claimed_whole_or_not_at_all(nodes: Nodes) -> None:
    """The second is refused by name, and what it had got until then is given back."""
    nodes.held["two"] = SECOND
    held = hold(FIRST)
    with pytest.raises(
        TestbedHeldError, match="two: is held by run run-2 of root@2, since today; it was heard"
    ):
        held.claim()
    assert nodes.held == {"two": SECOND}
    assert fences(held) == {None}
    nodes.held.clear()
    held.claim()
    assert set(nodes.held) == {"one", "two", "three"}
    assert fences(held) == {"token-1"}


def test_a_node_that_does_not_answer_gives_all_others_back(nodes: Nodes) -> None:
    """Whoever cannot have them all has none."""
    nodes.silent = {"two"}
    with pytest.raises(NodeUnreachableError):
        hold(FIRST).claim()
    assert nodes.held == {}


def test_nothing_is_asked_while_time_tells(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short time after a renewal no node can have undone anything; after the lease's whole time they are asked."""
    clock = [1000.0]
    monkeypatch.setattr(held_lease, "now_s", lambda: clock[0])
    held = hold(FIRST)
    held.claim()
    nodes.asked.clear()
    clock[0] += 9
    held.keep()
    clock[0] += 50
    held.prove()
    assert nodes.asked == []
    clock[0] += 2
    held.prove()
    assert nodes.asked == ["renew_lease"]
    clock[0] += 11
    held.keep()
    assert len(nodes.asked) == 2


def test_a_node_that_is_silent_makes_no_lease_younger(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no loss by itself, but what it did meanwhile must be asked of it."""
    clock = [1000.0]
    monkeypatch.setattr(held_lease, "now_s", lambda: clock[0])
    held = hold(FIRST)
    held.claim()
    clock[0] += 61
    nodes.silent = {"two"}
    held.renew()
    assert held.age_s == 61
    nodes.silent = set()
    del nodes.held["two"]
    with pytest.raises(CheckError, match="two: it has undone by itself") as caught:
        held.prove()
    assert caught.value.stage == "lease"


def test_what_was_lost_is_taken_again_unless_another_has_it(nodes: Nodes) -> None:
    """Every later step says so until then; a run that came in between is left alone."""
    held = hold(FIRST)
    held.claim()
    del nodes.held["two"]
    with pytest.raises(CheckError, match="undone by itself"):
        held.renew()
    with pytest.raises(CheckError, match="undone by itself"):
        held.keep()
    held.regain()
    held.keep()
    nodes.held["three"] = SECOND
    with pytest.raises(CheckError, match=r"three: .* held by run run-2"):
        held.renew()
    with pytest.raises(TestbedHeldError, match="run-2"):
        held.regain()
    assert nodes.held["three"] == SECOND


def test_an_unclean_node_keeps_what_it_was_to_undo(nodes: Nodes) -> None:
    """Beside what comes after; and it is not given back, so that it does undo it."""
    held = hold(FIRST)
    held.claim()
    every = dict.fromkeys(held.nodes, A)
    held.promise(every)
    held.unclean = {"two"}
    held.promise(dict.fromkeys(held.nodes, B))
    assert nodes.undo == {"one": B, "two": A + B, "three": B}
    held.release()
    assert held.left == {"two": "not all could be removed"}
    assert nodes.held == {"two": FIRST}


def test_only_its_own_machine_knows_that_a_controller_is_gone() -> None:
    """Of one that runs, and of one elsewhere, nobody can say that it has ended."""
    mine = held_lease.lease_of("run-1").controller
    with subprocess.Popen(("true",)) as process:
        process.wait()
    gone = mine.replace(str(os.getpid()), str(process.pid))
    elsewhere = gone.replace(f"@{os.uname().nodename} ", "@far ")
    told = [held_lease.ended_here(LeaseHolder("run-1", one, "today", 1)) for one in (mine, gone, elsewhere)]
    assert told == [False, True, False]


def test_a_promise_needs_every_node(nodes: Nodes) -> None:
    """What a node could not be told to undo must not be made there."""
    held = hold(FIRST)
    held.claim()
    nodes.silent = {"two"}
    with pytest.raises(NodeUnreachableError):
        held.promise(dict.fromkeys(held.nodes, A))
