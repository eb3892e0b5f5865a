"""The leases of a testbed's nodes as one run holds them: claimed on all or on none, renewed, found lost, given back."""

import contextlib
import getpass
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nornir.core import Nornir

import tasks
from tasks.connection import LEASE_KEY
from vpnmesh.errors import CheckError, InputError, VpnmeshError
from vpnmesh.host.lease import SECONDS, STAGE, Lease, LeaseAnswer, LeaseHolder, LeaseState
from vpnmesh.plan import Plan
from workflows.run.hosts import ask_each, run_on

RENEW_AFTER = 1 / 6
"""Which part of a lease may pass before it is renewed where that disturbs nothing."""
WAY_OUT = "let it end, or take away what a killed one left: vpnmesh teardown"


class TestbedHeldError(InputError):
    """Another run holds a node of this testbed: nothing is changed there, and nothing measured."""

    # keeps pytest from collecting it as a test class
    __test__ = False


def lease_of(run: str, seconds: int = SECONDS) -> Lease:
    """A lease for one session of that run, held from this process."""
    controller = f"{_user()}@{socket.gethostname()} (process {os.getpid()})"
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Lease(run, controller, since, secrets.token_hex(8), seconds)


def ended_here(holder: LeaseHolder) -> bool:
    """Whether it is known that the holder's process is gone, which only its own machine can tell."""
    found = re.fullmatch(r".*@(\S+) \(process (\d+)\)", holder.controller)
    if found is None or found[1] != socket.gethostname():
        return False
    return not Path(f"/proc/{found[2]}").exists()


def now_s() -> float:
    """The machine's own time for leases: it goes on while the machine is suspended, and nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class HeldLease:
    """The lease of one session on these nodes; `lost` says of each node that took it away how that was.

    `settings` are the kernel settings that a node sets again when it undoes. `unclean` nodes are those where something
    could not be removed: they keep what they were to undo beside what comes, and are never given back. Renewing may
    come from a thread of its own beside the run's.
    """

    nr: Nornir
    nodes: tuple[str, ...]
    lease: Lease
    lost: dict[str, str] = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    unclean: set[str] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)
    anew: set[str] = field(default_factory=set)
    _promised: dict[str, Plan] = field(default_factory=dict, repr=False)
    _renewed_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def age_s(self) -> float:
        """Seconds since all nodes were renewed last; while they are fewer than the lease's, no node has undone."""
        return now_s() - self._renewed_s

    def claim(self, *, again: bool = False) -> None:
        """Take the lease of every node, or of none; TestbedHeldError names a node that is held, and by whom.

        The first node by name decides between two who come at once; both ask it first.
        """
        with self._lock:
            begun, first, *others = now_s(), *sorted(self.nodes)
            try:
                for names in ([first], others):
                    self._claim(names, again=again)
            except BaseException:
                self._give_back()
                raise
            self._renewed_s, self.lost = begun, {}
            self._fence(self.lease.token)

    def renew(self) -> None:
        """Start the time anew on every node; CheckError where one has undone by itself, or is held by another run.

        A node that does not answer is no matter here: whatever needs it says so.
        """
        with self._lock:
            begun = now_s()
            failed, answers = ask_each(self.nr, self.nodes, tasks.renew_lease, lease=self.lease)
            self._take_in(answers)
            if not failed and not self.lost:
                self._renewed_s = begun
        self.refuse_lost()

    def keep(self, part: float = RENEW_AFTER) -> None:
        """Renew where that part of the lease has passed; else only say what was lost. Costs nothing most times."""
        self.refuse_lost()
        if self.age_s >= part * self.lease.seconds:
            self.renew()

    def prove(self) -> None:
        """CheckError unless nothing was undone up to now; the nodes are asked only where time does not tell."""
        self.refuse_lost()
        if self.age_s >= self.lease.seconds:
            self.renew()

    def promise(self, undo: Mapping[str, Plan]) -> None:
        """Put on every node of these what it undoes by itself, before that is made; CheckError as `renew`."""
        with self._lock:
            owed = {name: plan for name, plan in self._promised.items() if name in self.unclean}
            plans = {name: owed.get(name, Plan()) + plan for name, plan in undo.items()}
            self._promised |= plans
            results = run_on(self.nr, plans, tasks.renew_lease, lease=self.lease, undo=plans)
            self._take_in(results)
        self.refuse_lost()

    def regain(self) -> None:
        """Ask every node, and take it again where it was lost; TestbedHeldError where another run holds a node by now.

        A node that lost it and does not answer is a CheckError. One that was taken again is in `anew`: it has nothing
        of what the run set any more. A later session of the same run is another one, too: nothing is taken from it.
        """
        with contextlib.suppress(CheckError):
            self.renew()
        with self._lock:
            _, answers = ask_each(self.nr, list(self.lost), tasks.claim_lease, lease=self.lease)
            for name, result in answers.items():
                _refuse_held(name, result.result)
                del self.lost[name]
                self.unclean.discard(name)
                self.anew.add(name)
        self.refuse_lost()

    def release(self) -> None:
        """Give it back wherever it is still held; `left` names the nodes that undo by themselves, with the reason."""
        with self._lock:
            failed = {name: str(error) for name, error in self._give_back().items()}
        self.left = failed | dict.fromkeys(self.unclean, "not all could be removed")

    def refuse_lost(self) -> None:
        """CheckError names every node whose lease is not held any more."""
        if self.lost:
            raise CheckError(STAGE, "; ".join(f"{node}: {why}" for node, why in self.lost.items()))

    def _claim(self, names: Sequence[str], *, again: bool) -> None:
        for name, result in run_on(self.nr, names, tasks.claim_lease, lease=self.lease, again=again).items():
            _refuse_held(name, result.result)

    def _give_back(self) -> dict[str, VpnmeshError]:
        self._fence(None)
        names = [name for name in self.nodes if name not in self.unclean]
        failed, _ = ask_each(self.nr, names, tasks.release_lease, lease=self.lease)
        return failed

    def _take_in(self, results: Mapping[str, object]) -> None:
        for name, result in results.items():
            answer: LeaseAnswer = result.result  # type: ignore[attr-defined]
            if answer.state is not LeaseState.MINE:
                self.lost[name] = _lost(answer, self.lease.seconds)

    def _fence(self, token: str | None) -> None:
        """Let every change of these nodes be refused unless this session holds the lease; None lifts that."""
        for name in self.nodes:
            self.nr.inventory.hosts[name].data[LEASE_KEY] = token


def _refuse_held(name: str, answer: LeaseAnswer) -> None:
    if answer.state is not LeaseState.MINE:
        raise TestbedHeldError(name, _held_by(answer), WAY_OUT)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # a user that has a number only
        return str(os.getuid())


def _held_by(answer: LeaseAnswer) -> str:
    if answer.holder is None:
        return "is taking away what an earlier run left"
    return f"is held by {answer.holder}; it was heard of {answer.holder.silent_s} s ago"


def _lost(answer: LeaseAnswer, seconds: int) -> str:
    if answer.state is LeaseState.OTHER and answer.holder is not None:
        return f"the lease was over, and it is held by {answer.holder} now"
    if answer.state is LeaseState.BUSY:
        return f"it undoes by itself what the run made, having heard nothing for {seconds} s"
    return f"it has undone by itself what the run made, having heard nothing for {seconds} s, or it was started anew"
