"""Nornir's runner for many hosts: chooses its workers, holds deadlines, bounds connections, and stops when told to.

`nr.with_runner(BoundedRunner())`, or `runner: {plugin: bounded}` in Nornir's configuration.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue

from nornir.core.inventory import Host
from nornir.core.task import AggregatedResult, MultiResult, Result, Task

from inventory.limits import free_memory_kb, workers_for
from inventory.lines import Lines, Turn, line_of
from inventory.patience import patient_threads
from vpnmesh.errors import TurnEndedError

HOST_DEADLINE_S = 3600.0
"""What a task may take on a host where nobody said otherwise: longer than any deployment, so that nothing hangs."""

END_S = 3.0
"""How long a task whose connections were cut may take to notice; after that its thread is left to itself."""

LOOK_EVERY_S = 0.2
"""How often deadlines are looked at."""

Done = tuple[Turn, MultiResult | BaseException]


class BoundedRunner:
    """Runs a task on all hosts in threads.

    `num_workers` is how many at once, chosen by hosts, open files and memory if None. A host on which the task is
    not done after `host_deadline_s`, or `deadline_s` after the beginning of all, is a failed result with that reason:
    its connections are cut so that its thread ends, and the others go on. None is without end. At most
    `max_connections` hosts are connected at once, as many as this process may open if None.
    """

    def __init__(
        self,
        num_workers: int | None = None,
        host_deadline_s: float | None = HOST_DEADLINE_S,
        deadline_s: float | None = None,
        max_connections: int | None = None,
    ) -> None:
        self.num_workers = num_workers
        self.host_deadline_s = host_deadline_s
        self.deadline_s = deadline_s
        self.lines = Lines(max_connections or 0)
        self._runs: list[_Run] = []

    def within(self, host_s: float | None, all_s: float | None = None) -> "BoundedRunner":
        """A runner with these deadlines, which shares this one's connections and is stopped with it."""
        other = BoundedRunner(self.num_workers, host_s, all_s)
        other.lines, other._runs = self.lines, self._runs
        return other

    def workers(self, hosts: int) -> int:
        """How many threads so many hosts get."""
        self.lines.expect(hosts)
        return min(self.num_workers or workers_for(hosts, self.lines.most, free_memory_kb()), hosts)

    def run(self, task: Task, hosts: list[Host]) -> AggregatedResult:
        """Run the task on every host; each has a result, in the hosts' order."""
        result = AggregatedResult(task.name)
        if not hosts:
            return result
        run = _Run(task, hosts, self)
        self._runs.append(run)
        try:
            with patient_threads(run.workers):
                found = run.all()
        finally:
            self._runs.remove(run)
        result.update({host.name: found[host.name] for host in hosts})
        return result

    def stop(self, why: str) -> None:
        """End every task in flight and begin no other of these runs; takes no lock, so that a signal may do it."""
        for run in list(self._runs):
            run.stop(why)


def hold_line(task: Task, host: Host) -> None:
    """Count the host's line as in use until the task is over; raise TurnEndedError where the task was ended."""
    root = task
    while root.parent_task is not None:
        root = root.parent_task
    runner, turn = task.nornir.runner, getattr(root, _TURN, None)
    if isinstance(runner, BoundedRunner) and isinstance(turn, Turn):
        turn.go_on()
        runner.lines.hold(turn, line_of(host))


_TURN = "vpnmesh_turn"


def start_turn(task: Task, turn: Turn, runner: BoundedRunner) -> MultiResult:
    """Run the task on the turn's host: it is ended with the turn, and its connections count as the runner's."""
    setattr(task, _TURN, turn)
    try:
        return task.start(turn.host)
    finally:
        runner.lines.release(turn)


class _Run:
    """One task on its hosts: threads take hosts that wait, and this one's own thread looks after deadlines."""

    def __init__(self, task: Task, hosts: list[Host], runner: BoundedRunner) -> None:
        self._task = task
        self._runner = runner
        self.workers = runner.workers(len(hosts))
        self._began_s = time.monotonic()
        self._waiting = deque(hosts)
        self._missing = {host.name: host for host in hosts}
        self._turns: dict[str, Turn] = {}
        self._done: SimpleQueue[Done] = SimpleQueue()
        self._found: dict[str, MultiResult] = {}
        self._stopped = ""

    def all(self) -> dict[str, MultiResult]:
        """Every host's result. An exception in this thread, as of Ctrl-C, ends what is in flight and goes on."""
        broke: BaseException | None = None
        try:
            self._start(self.workers)
            looked_s = self._began_s
            while self._missing:
                broke = self._take(LOOK_EVERY_S) or broke
                if (now := time.monotonic()) - looked_s >= LOOK_EVERY_S:
                    looked_s = now
                    self._look(now)
        except BaseException:
            self.stop("interrupted")
            self._await_threads()
            raise
        if broke is not None:
            raise broke
        return self._found

    def stop(self, why: str) -> None:
        """End what is in flight, begin nothing more."""
        self._stopped = why
        for turn in list(self._turns.values()):
            turn.end(why)

    def _start(self, count: int) -> None:
        for number in range(count):
            try:
                threading.Thread(target=self._work, name=f"host-{number}", daemon=True).start()
            except RuntimeError:
                if number == 0:
                    raise
                logging.getLogger("vpnmesh.hosts").warning("no more than %d threads can be started", number)
                return

    def _work(self) -> None:
        with contextlib.suppress(IndexError):
            while not self._stopped:
                turn = Turn(self._waiting.popleft())
                self._turns[turn.host.name] = turn
                if self._stopped:
                    turn.end(self._stopped)
                self._done.put((turn, self._outcome(turn)))

    def _outcome(self, turn: Turn) -> MultiResult | BaseException:
        try:
            return start_turn(self._task.copy(), turn, self._runner)
        except BaseException as error:  # noqa: BLE001 - a processor broke: raised where the run was asked for
            return error
        finally:
            self._turns.pop(turn.host.name, None)

    def _take(self, within_s: float) -> BaseException | None:
        """Keep the next result that comes; the error where the task could not even fail."""
        try:
            turn, outcome = self._done.get(timeout=within_s)
        except Empty:
            return None
        if turn.ended or isinstance(outcome, BaseException):
            self._fail(turn.host, turn.ended or str(outcome))
        elif self._missing.pop(turn.host.name, None) is not None:
            self._found[turn.host.name] = outcome
        return outcome if isinstance(outcome, BaseException) else None

    def _look(self, now: float) -> None:
        """End what is over its deadline; leave a thread to itself that did not notice that it was cut."""
        host_s, all_s = self._runner.host_deadline_s, self._runner.deadline_s
        over = all_s is not None and now - self._began_s >= all_s
        if over or self._stopped:
            why = self._stopped or f"not begun within the {all_s:g} s for all hosts"
            with contextlib.suppress(IndexError):
                while True:
                    self._fail(self._waiting.popleft(), why)
        for turn in list(self._turns.values()):
            if turn.ended:
                self._leave(turn, now)
            elif host_s is not None and now - turn.since_s >= host_s:
                turn.end(f"not done within {host_s:g} s, its connection was cut")
            elif over:
                turn.end(f"not done when the {all_s:g} s for all hosts were over, its connection was cut")

    def _leave(self, turn: Turn, now: float) -> None:
        if now - turn.ended_s >= END_S and turn.host.name in self._missing:
            self._runner.lines.release(turn)
            self._fail(turn.host, turn.ended)
            if self._waiting:
                self._start(1)

    def _fail(self, host: Host, why: str) -> None:
        if self._missing.pop(host.name, None) is None:
            return
        error = TurnEndedError(host.name, why)
        one = Result(host, result=str(error), exception=error, failed=True, severity_level=logging.ERROR)
        one.name = self._task.name  # type: ignore[assignment]
        self._found[host.name] = MultiResult(self._task.name)
        self._found[host.name].append(one)

    def _await_threads(self) -> None:
        """Give what was cut a moment to end, so that nothing works on a node while its traces are removed."""
        until = time.monotonic() + END_S
        while self._turns and time.monotonic() < until:
            self._take(LOOK_EVERY_S)
