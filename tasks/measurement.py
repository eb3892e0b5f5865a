"""One measurement between a pair of nodes: whatever it asks, over persistent connections, ending with the call."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address

from nornir.core.inventory import Host
from nornir.core.task import Result, Task

from inventory.repeating import on_controller
from tasks.connection import Attached, Shell, shell_of
from tasks.path import sent_bytes
from vpnmesh.errors import InputError, NodeUnreachableError, UnavailableError, VpnmeshError
from vpnmesh.host import pods
from vpnmesh.measurements import observed
from vpnmesh.measurements.protocol import (
    SIDES,
    ClusterAccess,
    Measurement,
    Part,
    Question,
    ScenarioControl,
    Side,
    Until,
)
from vpnmesh.plan import Completed, Text
from vpnmesh.study.convergence import PathProbe
from vpnmesh.tools import load

CHECK_EVERY_S = 0.5
"""How soon a wait notices that the connection is gone."""

Keep = Callable[[str, str], object]


def _keep_nowhere(_name: str, _text: str) -> None:
    """Without a run directory the result alone holds what was said."""


@on_controller("it holds connections to several nodes at once")
def measure(
    task: Task,
    measurement: Measurement,
    question: Question,
    others: Mapping[str, Host],
    keep: Keep = _keep_nowhere,
    control: ScenarioControl | None = None,
) -> Result:
    """Ask the question once, from this node as the client; `result` is what was said, by file name.

    `measurement.parse(result, question)` gives the figures. `others` are all hosts of the inventory
    (`nr.inventory.hosts`), since the task's own is filtered. `keep` gets every text at once, so that it is there
    when a later step fails. `control` is the scenario that is up, for measurements that change it.
    """
    if task.host.name != question.pair.client:
        raise InputError(
            "measure", f"{task.host.name} is not the client of {question.pair}", "run it on the client alone"
        )
    with ExitStack() as stack:
        session = NodeSession(question, lambda name: shell_of(task, others[name]), stack, keep, control)
        measurement.ask(session)
    return Result(host=task.host, result=session.raw)


@dataclass(slots=True)
class NodeSession:
    """A session over the shells of the nodes; implements `vpnmesh.measurements.protocol.Session`.

    A node's shell is opened when it is first needed and kept: a connection that is cut ends the measurement.
    """

    question: Question
    open_shell: Callable[[str], Shell]
    stack: ExitStack
    keep_text: Keep = _keep_nowhere
    scenario: ScenarioControl | None = None
    raw: dict[str, str] = field(default_factory=dict)
    _shells: dict[str, Shell] = field(default_factory=dict)

    @property
    def control(self) -> ScenarioControl:
        """The scenario that is up; UnavailableError without one."""
        if self.scenario is None:
            raise UnavailableError("this measurement needs a scenario that is up: use full_matrix")
        return _WhileConnected(self.scenario, partial(_require_connection, self.shell("client")))

    def shell(self, side: Side) -> Shell:
        """The shell of that node, the same one all along."""
        name = self.question.node(side).name
        if name not in self._shells:
            self._shells[name] = self.open_shell(name)
        return self._shells[name]

    def run(
        self,
        side: Side,
        argv: Sequence[str],
        *,
        in_pod: bool = True,
        timeout_s: float = 20.0,
        ok: tuple[int, ...] = (0,),
        stdin: Text = "",
    ) -> Completed:
        """Run one command; CommandError unless its exit code is in `ok`."""
        return self.shell(side).run(*_placed(argv, in_pod=in_pod), timeout_s=timeout_s, ok=ok, stdin=stdin)

    def start(self, side: Side, argv: Sequence[str], *, in_pod: bool = True, timeout_s: float) -> Attached:
        """Start a program that lives for `timeout_s` at most, and no longer than the session."""
        started = self.shell(side).start(_placed(argv, in_pod=in_pod), timeout_s=timeout_s)
        self.stack.callback(started.channel.close)
        return started

    def wait(self, seconds: float) -> None:
        """Let time pass; NodeUnreachableError when the client's connection is cut meanwhile."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            _require_connection(self.shell("client"))
            time.sleep(min(left, CHECK_EVERY_S))

    def keep(self, name: str, text: str) -> None:
        """Hand the text on at once, and hold it for the result."""
        self.raw[name] = text
        self.keep_text(name, text)

    def observed(self, *, timeout_s: float) -> AbstractContextManager[None]:
        """Sample the load of all three nodes and count the relay's bytes around what is inside."""
        return self._observed(timeout_s)

    @contextmanager
    def _observed(self, timeout_s: float) -> Iterator[None]:
        samplers, before = self._begin_observing(timeout_s)
        try:
            yield
        except VpnmeshError:
            with suppress(VpnmeshError):
                self._end_observing(samplers, before)
            raise
        self._end_observing(samplers, before)

    def _begin_observing(self, timeout_s: float) -> tuple[dict[Side, Attached], int]:
        """Samplers on all three nodes and what the relay has sent so far, all at the same time.

        That is read around what is inside, since samples every half second would miss the end of a short test.
        """
        for side in SIDES:
            self.shell(side)
        with ThreadPoolExecutor(len(SIDES) + 1) as pool:
            before = pool.submit(self._relay_sent)
            started = pool.map(lambda side: self._start_sampler(side, timeout_s), SIDES)
            return dict(zip(SIDES, started, strict=True)), before.result()

    def _start_sampler(self, side: Side, timeout_s: float) -> Attached:
        interface = self.question.node(side).leg.interface
        return self.start(side, load.sampler(interface), in_pod=False, timeout_s=timeout_s)

    def _end_observing(self, samplers: Mapping[Side, Attached], before: int) -> None:
        # ended first: every sample after the measured program's end is of idle nodes
        for sampler in samplers.values():
            sampler.end()
        with ThreadPoolExecutor(len(samplers) + 1) as pool:
            after = pool.submit(self._relay_sent)
            ended = pool.map(lambda sampler: sampler.stop(), samplers.values())
            self.keep(observed.RELAY_FILE, observed.relay_text(before, after.result()))
            for side, done in zip(samplers, ended, strict=True):
                self.keep(observed.load_file(side), done.stdout)

    def _relay_sent(self) -> int:
        return sent_bytes(self.shell("relay"), self.question.node("relay").leg.interface)


@dataclass(frozen=True, slots=True)
class _WhileConnected:
    """A scenario's control that refuses to go on once the session's connection is cut; changes are still undone."""

    inner: ScenarioControl
    check: Callable[[], None]

    @property
    def join_s(self) -> float:
        return self.inner.join_s

    def tunnel_address(self, side: Side) -> IPv4Address:
        return self.inner.tunnel_address(side)

    def probe_path(self, until: Until, deadline_s: float) -> Mapping[str, Sequence[PathProbe]]:
        self.check()
        probes = self.inner.probe_path(until, deadline_s)
        self.check()
        return probes

    def set_policy(self, name: str) -> None:
        self.inner.set_policy(name)

    def restart(self, side: Side) -> float | None:
        self.check()
        return self.inner.restart(side)

    def kill(self, part: Part) -> bool:
        self.check()
        return self.inner.kill(part)

    def start(self) -> float:
        return self.inner.start()

    @property
    def cluster(self) -> ClusterAccess:
        return self.inner.cluster

    def attach_pods(self) -> None:
        self.inner.attach_pods()


def _placed(argv: Sequence[str], *, in_pod: bool) -> tuple[str, ...]:
    return pods.in_pod(*argv) if in_pod else tuple(argv)


def _require_connection(here: Shell) -> None:
    """NodeUnreachableError once the shell's connection has ended."""
    transport = here.client.get_transport()
    if transport is None or not transport.is_active():
        raise NodeUnreachableError(here.host, "the connection ended during the measurement")
