"""The proof by packets on a slow machine: silence is tried again, longer; what passed once has passed."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nornir.core import Nornir
from nornir.core.inventory import Host
from nornir.core.task import Task

from tasks.firewall.policy import PATIENT_S, WAIT_S, probe_reach
from vpnmesh.firewall.policy import Protocol
from vpnmesh.model import Testbed
from vpnmesh.plan import Completed
from workflows.run import firewall

Answer = Callable[[str, tuple[str, Protocol, int], float], bool]


class Nodes:
    """Nodes that answer as they are told to; `asked` are the probes by how long they waited."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[float, str, tuple[str, Protocol, int]]] = []

    def run_on(
        self,
        nr: Nornir,
        names: Iterable[str],
        task: object,
        *,
        targets: Mapping[str, Any],
        wait_s: float = 1.0,
    ) -> dict[str, Any]:
        del nr, task
        self.asked += [(wait_s, name, one) for name in names for one in targets[name]]
        return {
            name: SimpleNamespace(result={one: self.answer(name, one, wait_s) for one in targets[name]})
            for name in names
        }


def wrong(
    bed: Testbed, monkeypatch: pytest.MonkeyPatch, policy: str, answer: Answer
) -> tuple[list[str], Nodes]:
    """The lines of the proof that do not hold, and the nodes that were asked."""
    nodes = Nodes(answer)
    monkeypatch.setattr("workflows.run.firewall.run_on", nodes.run_on)
    lines = firewall.prove(cast("Nornir", None), bed, policy)
    return [str(line) for line in lines if not line.holds], nodes


def test_a_slow_machine_is_no_broken_policy(bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing answers within a second, all within ten: allow-all holds, and each pair was asked twice."""
    lines, nodes = wrong(bed, monkeypatch, "allow-all", lambda _node, _to, wait_s: wait_s >= PATIENT_S)
    assert lines == []
    waits = [wait_s for wait_s, _, _ in nodes.asked]
    assert waits.count(WAIT_S) == waits.count(PATIENT_S) == len(waits) / 2


def test_a_machine_that_is_fast_enough_is_asked_once(bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the policy says is seen at once: no second probe."""
    lines, nodes = wrong(bed, monkeypatch, "block-udp", lambda _node, to, _wait_s: to[1] is Protocol.TCP)
    assert lines == []
    assert {wait_s for wait_s, _, _ in nodes.asked} == {WAIT_S}


def test_what_stays_silent_counts(bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair that never answers is a failure under a policy that lets it pass."""
    relay = str(bed.relay.underlay)
    lines, _ = wrong(bed, monkeypatch, "allow-all", lambda _node, to, _wait_s: to[0] != relay)
    assert lines
    assert all("to relay does not pass" in line for line in lines)


def test_a_leak_is_never_hidden(bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blocked pair counts as passing where it passed the first time, and where only the longer probe shows it."""

    def at_first(node: str, to: tuple[str, Protocol, int], wait_s: float) -> bool:
        leak = node == "worker1" and to[0] == str(bed.relay.underlay)
        return to[1] is Protocol.TCP or (leak and wait_s == WAIT_S)

    def late(node: str, to: tuple[str, Protocol, int], wait_s: float) -> bool:
        leak = node == "worker1" and to[0] == str(bed.relay.underlay)
        return wait_s >= PATIENT_S and (to[1] is Protocol.TCP or leak)

    for answer in (at_first, late):
        lines, _ = wrong(bed, monkeypatch, "block-udp", answer)
        assert lines
        assert all(line.startswith("UDP ") and "from worker1 to relay passes" in line for line in lines)


class SlowShell:
    """A Shell on this machine where every bash of a probe takes a second and a half to start."""

    def __init__(self, folder: Path) -> None:
        slow = folder / "bash"
        slow.write_text(
            '#!/bin/sh\n[ "$1" != -c ] || case "$2" in exec*tcp*) sleep 1.5;; esac\nexec /bin/bash "$@"\n'
        )
        slow.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def run(self, *argv: str, timeout_s: float) -> Completed:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=timeout_s, env=self.environment
        )
        return Completed(argv, done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("listens", [False, True])
def test_a_udp_port_is_reached_where_it_refuses(
    listens: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A closed port of this machine answers by ICMP; one that takes packets in silence is like a blocked one."""
    monkeypatch.setattr("tasks.firewall.policy.shell", lambda _task: SlowShell(tmp_path))
    task = cast("Task", SimpleNamespace(host=Host("here")))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        if not listens:
            taken.close()
        target = ("127.0.0.1", Protocol.UDP, port)
        assert probe_reach(task, {"here": (target,)}).result == {target: not listens}


def test_the_probe_waits_as_long_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed TCP port of this machine: silent within a second on a slow machine, reached within ten."""
    monkeypatch.setattr("tasks.firewall.policy.shell", lambda _task: SlowShell(tmp_path))
    task = cast("Task", SimpleNamespace(host=Host("here")))
    target = ("127.0.0.1", Protocol.TCP, 9)
    assert probe_reach(task, {"here": (target,)}).result == {target: False}
    assert probe_reach(task, {"here": (target,)}, wait_s=PATIENT_S).result == {target: True}
