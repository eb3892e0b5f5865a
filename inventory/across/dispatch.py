"""One task on its hosts: sent to workers, waited for, sent elsewhere when a worker is lost, ended when time is over."""

import contextlib
import itertools
import secrets
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from nornir.core.inventory import Host
from nornir.core.task import MultiResult, Task

from inventory.across.link import GONE, Answer, DaskLostError, Link
from inventory.across.parcel import ForeignParcelError
from inventory.across.placing import DaskWorker, NoDaskWorkerError, worker_for
from inventory.across.plain_hosts import PlainHost
from inventory.across.results import DaskTaskError, failed_results, nornir_results
from vpnmesh.errors import TurnEndedError, VpnmeshError

if TYPE_CHECKING:
    from distributed import Future

POLL_S = 0.2
LOOK_EVERY_S = 1.0
"""How often the scheduler is asked which workers are left."""
MOST_TRIES = 3
"""To how many workers a host goes at most; a task that ends every worker it is on shall not end them all."""


class DaskWorkerLostError(VpnmeshError):
    """A worker that was lost while a task on a host may have begun."""

    def __init__(self, host: str, worker: str, reason: str) -> None:
        self.host = host
        self.worker = worker
        self.reason = reason
        super().__init__(f"{host}: Dask worker {worker} was lost: {reason}")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds for one host, from when its task is sent, and for all; None is without end."""

    host_s: float | None = None
    all_s: float | None = None


@dataclass(slots=True)
class _Sent:
    """A host whose task is on a worker, and may have begun."""

    host: Host
    worker: DaskWorker
    future: "Future[Any]"
    at_s: float


@dataclass(slots=True)
class Dispatch:
    """A task, its hosts, and how far it is; `order` is the task as a parcel, `package` the one that it is of."""

    link: Link
    task: Task
    hosts: Sequence[Host]
    plain: dict[str, PlainHost]
    order: bytes
    package: str
    deadlines: Deadlines
    repeatable: bool
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    stopped: str = ""
    _waiting: dict[str, deque[Host]] = field(default_factory=dict)
    _workers: dict[str, DaskWorker] = field(default_factory=dict)
    _sent: dict[str, _Sent] = field(default_factory=dict)
    _held: dict[str, "Future[Any]"] = field(default_factory=dict)
    _tries: dict[str, int] = field(default_factory=dict)
    _copies: dict[str, Task] = field(default_factory=dict)
    _found: dict[str, MultiResult] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def all(self) -> dict[str, MultiResult]:
        """Run it; every host has a result in the end, whatever becomes of workers and scheduler."""
        began_s = time.monotonic()
        with self.link.hearing(self.name) as answers:
            try:
                self._look()
                self._place(self.hosts)
                self._wait(answers, began_s)
            except DaskLostError as error:
                for host in self._rest():
                    self._fail(host, error)
            finally:
                self._let_go()
        return self._found

    def _wait(self, answers: "SimpleQueue[Answer]", began_s: float) -> None:
        look_s = time.monotonic() + LOOK_EVERY_S
        while len(self._found) < len(self.hosts):
            self._send_waiting()
            self._take(answers)
            now_s = time.monotonic()
            if now_s >= look_s:
                self._look()
                self._leave_lost()
                look_s = time.monotonic() + LOOK_EVERY_S
            self._end_late(now_s)
            all_s = self.deadlines.all_s
            over = all_s is not None and now_s - began_s > all_s
            if why := self.stopped or (
                f"not done when the {all_s:g} s for all hosts were over" if over else ""
            ):
                for host in self._rest():
                    self._fail(host, TurnEndedError(host.name, why))

    def _look(self) -> None:
        """Ask which workers there are."""
        self._workers = {worker.address: worker for worker in self.link.workers()}

    def _place(self, hosts: Iterable[Host]) -> None:
        """Let each host wait for the worker that asks it; one that no worker reaches has failed."""
        for host in hosts:
            try:
                worker = worker_for(host.name, self.plain[host.name].site, self._workers.values())
            except NoDaskWorkerError as error:
                self._fail(host, error)
            else:
                self._waiting.setdefault(worker.address, deque()).append(host)

    def _send_waiting(self) -> None:
        """Give every worker as many hosts as it asks at once, and no more: what it has may have begun."""
        for address, hosts in self._waiting.items():
            worker = self._workers.get(address)
            if worker is None:
                continue
            free = worker.threads - sum(one.worker.address == address for one in self._sent.values())
            for _ in range(min(free, len(hosts))):
                self._send(worker, hosts.popleft())

    def _send(self, worker: DaskWorker, host: Host) -> None:
        from inventory.across.worker import ask, hold  # noqa: PLC0415 - needs the optional extra

        if worker.address not in self._held:
            self._held[worker.address] = self.link.send(worker, hold, self.order)
        number = str(next(self._numbers))
        parcel = self.link.seal.pack(self.plain[host.name])
        held = self._held[worker.address]
        future = self.link.send(worker, ask, held, parcel, self.link.topic, f"{self.name}/{number}")
        self._sent[number] = _Sent(host, worker, future, time.monotonic())
        self._tries[host.name] = self._tries.get(host.name, 0) + 1
        if host.name not in self._copies:
            copy = self._copies[host.name] = self.task.copy()
            copy.host = host
            copy.processors.task_instance_started(copy, host)
        self.link.tell_when_over(future, self.name, number)

    def _take(self, answers: "SimpleQueue[Answer]") -> None:
        """Wait a moment for an answer, and take all that have come by then."""
        timeout_s = POLL_S
        try:
            while True:
                number, parcel = answers.get(timeout=timeout_s)
                timeout_s = 0.0
                self._hear(number, parcel)
        except Empty:
            return

    def _hear(self, number: str, parcel: bytes | None) -> None:
        sent = self._sent.pop(number, None)
        if sent is None:
            return
        if parcel is None:
            self._over_without(sent)
            return
        try:
            plain = self.link.seal.open_values(parcel, [self.package])
        except ForeignParcelError as error:
            self._fail(sent.host, error)
            return
        self._end(sent.host, nornir_results(plain, sent.host, sent.worker.name))

    def _over_without(self, sent: _Sent) -> None:
        """Dask says that a call is over, and no answer came: the worker died, or could not even begin."""
        if sent.future.status == "cancelled":
            self.link.require()
        error = sent.future.exception() if sent.future.status == "error" else None
        if error is None or type(error).__name__ == "KilledWorker":
            self._after_loss(sent)
        else:
            self._fail(sent.host, _told(sent, error))

    def _leave_lost(self) -> None:
        """Take everything back from workers that are gone."""
        for number, sent in list(self._sent.items()):
            if sent.worker.address not in self._workers:
                del self._sent[number]
                self._after_loss(sent)
        for address in [one for one in self._waiting if one not in self._workers]:
            self._held.pop(address, None)
            self._place(self._waiting.pop(address))

    def _after_loss(self, sent: _Sent) -> None:
        """Ask the host from another worker where that is safe; else it has failed, and says so."""
        name, worker = sent.host.name, sent.worker
        self._workers.pop(worker.address, None)
        if not self.repeatable:
            reason = "the task may have begun, and is none that may be run twice; look at the node, then run it again"
        elif self._tries[name] >= MOST_TRIES:
            reason = f"it was the {MOST_TRIES}rd worker lost with this host's task"
        else:
            self._place([sent.host])
            return
        self._fail(sent.host, DaskWorkerLostError(name, worker.name, reason))

    def _end_late(self, now_s: float) -> None:
        limit_s = self.deadlines.host_s
        late = (
            {} if limit_s is None else {n: one for n, one in self._sent.items() if now_s - one.at_s > limit_s}
        )
        for number, sent in late.items():
            del self._sent[number]
            sent.future.release()
            why = f"not done within {limit_s:g} s on Dask worker {sent.worker.name}, its connection was cut"
            self._fail(sent.host, TurnEndedError(sent.host.name, why))

    def _rest(self) -> list[Host]:
        """The hosts without a result."""
        return [host for host in self.hosts if host.name not in self._found]

    def _fail(self, host: Host, error: VpnmeshError) -> None:
        self._end(host, failed_results(self.task.name, host, error))

    def _end(self, host: Host, results: MultiResult) -> None:
        self._found[host.name] = results
        copy = self._copies.get(host.name)
        if copy is not None:
            copy.results = results
            copy.processors.task_instance_completed(copy, host, results)

    def _let_go(self) -> None:
        """End what still runs: a worker cuts the connection of a task that nobody waits for."""
        for one in (*(sent.future for sent in self._sent.values()), *self._held.values()):
            with contextlib.suppress(*GONE):
                one.release()
        self._sent.clear()


def _told(sent: _Sent, error: Any) -> DaskTaskError:
    return DaskTaskError(sent.host.name, sent.worker.name, type(error).__name__, str(error)[:300])
