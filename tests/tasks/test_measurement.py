"""A session over nodes: what was said is kept at once, also when a later step fails; a lost connection ends it."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import measurement as session_module
from tasks.measurement import NodeSession, measure
from tests.measurements.cases import question
from tests.measurements.silent import ScriptedControl, SilentProcess
from vpnmesh.errors import CommandError, InputError, NodeUnreachableError, UnavailableError, VpnmeshError
from vpnmesh.measurements import measurement_named
from vpnmesh.model import Path
from vpnmesh.plan import Completed, Text

NEBULA = question("nebula-direct")


@dataclass
class Started(SilentProcess):
    """A program on a node; tells that it was ended and that its channel was closed."""

    told: list[str] = field(default_factory=list)

    @property
    def channel(self) -> Any:
        return SimpleNamespace(close=lambda: self.told.append("closed"))

    def end(self) -> None:
        self.told.append("ended")


@dataclass
class Node:
    """A shell that answers counters by what it counted, and everything else with nothing."""

    host: str
    answer: Callable[[tuple[str, ...]], str] = lambda _argv: ""
    alive: bool = True
    sent_bytes: int = 1000
    started: list[Started] = field(default_factory=list)

    @property
    def client(self) -> Any:
        return SimpleNamespace(get_transport=lambda: SimpleNamespace(is_active=lambda: self.alive))

    def run(
        self, *argv: str, timeout_s: float = 20.0, ok: tuple[int, ...] = (0,), stdin: Text = ""
    ) -> Completed:
        del timeout_s, stdin
        if "tx_bytes" in argv[-1]:
            self.sent_bytes += 500
            return Completed(argv, 0, f"{self.sent_bytes}\n", "")
        return Completed(argv, ok[0], self.answer(argv), "")

    def start(self, argv: tuple[str, ...], *, timeout_s: float) -> Started:
        del timeout_s
        self.started.append(Started(tuple(argv), f"samples of {self.host}"))
        return self.started[-1]


@dataclass
class Nodes:
    """The lab's nodes, and what a session over them kept, in order."""

    nodes: dict[str, Node] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)

    def shell(self, name: str) -> Any:
        return self.nodes.setdefault(name, Node(name))

    def session(self, stack: ExitStack, control: ScriptedControl | None = None) -> NodeSession:
        return NodeSession(NEBULA, self.shell, stack, lambda name, _: self.kept.append(name), control)


def observe(nodes: Nodes, inside: Callable[[], object]) -> NodeSession:
    """A session that observes while something happens, ended by now."""
    with ExitStack() as stack:
        session = nodes.session(stack)
        with session.observed(timeout_s=10):
            inside()
    return session


def test_what_is_observed_is_kept() -> None:
    """Three samplers, each on its node itself, ended before they are read; the relay counted around what is inside."""
    nodes = Nodes()
    session = observe(nodes, lambda: None)
    assert nodes.kept == ["relay-sent.json", "load-client.txt", "load-server.txt", "load-relay.txt"]
    assert session.raw["load-server.txt"] == "samples of worker2"
    assert json.loads(session.raw["relay-sent.json"]) == {"before_bytes": 1500, "after_bytes": 2000}
    samplers = [one for node in nodes.nodes.values() for one in node.started]
    assert [one.told for one in samplers] == [["ended", "closed"]] * 3
    assert not [one for one in samplers if "netns" in one.argv]


def test_what_was_observed_is_kept_though_the_measurement_fails() -> None:
    """The reason is the measurement's own."""
    nodes = Nodes()

    def fail() -> None:
        raise CommandError("worker1", ("iperf3",), 1, "no such option")

    with pytest.raises(CommandError, match="no such option"):
        observe(nodes, fail)
    assert "load-client.txt" in nodes.kept


def test_what_was_observed_does_not_hide_why_it_failed() -> None:
    """A node that is gone gives no samples either."""
    nodes = Nodes()

    def die() -> None:
        def gone(*_: object, **__: object) -> Completed:
            raise NodeUnreachableError("relay", "gone")

        nodes.nodes["relay"].run = gone  # type: ignore[method-assign]
        raise VpnmeshError("the first reason")

    with pytest.raises(VpnmeshError, match="the first reason"):
        observe(nodes, die)


def test_commands_run_in_the_pod_unless_said() -> None:
    nodes = Nodes()
    with ExitStack() as stack:
        session = nodes.session(stack)
        inside = session.run("server", ("true",)).argv
        outside = session.run("server", ("true",), in_pod=False).argv
    assert (inside[:3], inside[-1], outside) == (("ip", "netns", "exec"), "true", ("true",))
    assert list(nodes.nodes) == ["worker2"]


def test_a_lost_connection_ends_a_wait_and_a_watch() -> None:
    """Whatever would go on over a new connection does not; what must be undone still is."""
    control = ScriptedControl(lambda _: Path.DIRECT)
    nodes = Nodes({"worker1": Node("worker1", alive=False)})
    with ExitStack() as stack:
        session = nodes.session(stack, control)
        for act in (
            lambda: session.wait(60),
            lambda: session.control.probe_path(bool, 1),
            lambda: session.control.restart("client"),
        ):
            with pytest.raises(NodeUnreachableError, match="worker1: no SSH: the connection ended"):
                act()
        session.control.set_policy("allow-all")
    assert control.events == ["allow-all"]


def test_without_a_scenario_there_is_no_control() -> None:
    """As at a prompt."""
    with ExitStack() as stack, pytest.raises(UnavailableError, match="needs a scenario that is up"):
        Nodes().session(stack).control.restart("client")


def asked(monkeypatch: pytest.MonkeyPatch, nodes: Nodes, host: str) -> Any:
    """The task's result on that host."""
    monkeypatch.setattr(session_module, "shell_of", lambda _task, name: nodes.shell(name))
    task: Any = SimpleNamespace(host=SimpleNamespace(name=host))
    others: Any = {node.name: node.name for node in NEBULA.testbed.nodes}
    keep = lambda name, _text: nodes.kept.append(name)  # noqa: E731
    return measure(task, measurement_named("ping"), NEBULA, others, keep).result


def test_the_task_returns_what_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """By file name, as `parse` takes it; and the client alone is needed for a ping."""
    nodes = Nodes({"worker1": Node("worker1", lambda argv: f"ping of {argv[-1]}")})
    assert asked(monkeypatch, nodes, "worker1") == {"ping.txt": f"ping of {NEBULA.pod('server')}"}
    assert nodes.kept == ["ping.txt"]
    assert list(nodes.nodes) == ["worker1"]


def test_it_runs_on_the_client_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that also chose the server would measure twice at a time."""
    with pytest.raises(
        InputError, match="worker2 is not the client of worker1>worker2; run it on the client"
    ):
        asked(monkeypatch, Nodes(), "worker2")
