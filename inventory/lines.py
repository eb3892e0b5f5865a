"""What leads to each host: one SSH line, kept while it is used, bounded in number, and cut from any thread."""

import contextlib
import socket
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import paramiko
from nornir.core.inventory import Host

from inventory.limits import lines_for
from inventory.silence import Silence
from inventory.standing import Standing
from vpnmesh.errors import NodeUnreachableError, TurnEndedError

WAIT_S = 60.0
"""How long a task waits for one of the lines to fall free where all are in use."""


class Line:
    """The line to one host. It lies among the host's own connections, so that Nornir closes it with these.

    `lock` is held while somebody logs in: two tasks may want the same node. `sock` is there from before the first
    byte, so that a login can be cut too. `silence` is kept while the host takes none, `standing` is its shell between
    two scripts. `within_s` is how long its login options give it to answer (netmiko's `conn_timeout`), known once
    somebody logged in.
    """

    NAME = "vpnmesh-ssh"

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sock: socket.socket | None = None
        self.client: paramiko.SSHClient | None = None
        self.silence = Silence()
        self.standing = Standing()
        self.within_s = 0.0
        self._cut: paramiko.SSHClient | None = None

    @property
    def connection(self) -> paramiko.SSHClient | None:
        """What is connected; Nornir's name for it."""
        return self.client

    def open(self, *_: object, **__: object) -> None:
        """Nothing to open: tasks log in when they first need it."""

    def is_alive(self) -> bool:
        """Whether it is logged in and the connection stands."""
        # what was cut counts as active until paramiko's own thread has noticed
        transport = self.client.get_transport() if self.client and self.client is not self._cut else None
        return transport is not None and transport.is_active()

    def cut(self) -> None:
        """End it now, without a goodbye and without waiting; whoever reads or writes there gets an error at once."""
        self._cut = self.client
        if self.sock is not None:
            _shut(self.sock)
        transport = self.client.get_transport() if self.client else None
        if transport is not None and transport.sock is not self.sock:
            _shut(transport.sock)

    def close(self) -> None:
        """Say goodbye and forget what was open."""
        client, self.client = self.client, None
        if client is not None:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                client.close()
        sock, self.sock = self.sock, None
        if sock is not None:
            _shut(sock)
            sock.close()


def _shut(sock: socket.socket | paramiko.Channel | paramiko.ProxyCommand) -> None:
    """Wake whoever waits on it. A proxy's command has nothing to shut: it is ended."""
    with contextlib.suppress(OSError):
        if isinstance(sock, socket.socket):
            sock.shutdown(socket.SHUT_RDWR)
        else:
            sock.close()


def line_of(host: Host) -> Line:
    """The host's own line."""
    # setdefault is atomic: of two threads that come first, both get the same line
    held = host.connections.setdefault(Line.NAME, Line())
    assert isinstance(held, Line)
    return held


def cut_all(hosts: list[Host]) -> None:
    """Cut every line and every netmiko connection of these hosts; takes no lock, so that a signal may do it."""
    for host in hosts:
        for connection in list(host.connections.values()):
            if isinstance(connection, Line):
                connection.cut()
                continue
            client = getattr(connection.connection, "remote_conn_pre", None)
            transport = client.get_transport() if client is not None else None
            if transport is not None:
                _shut(transport.sock)


@dataclass(eq=False, slots=True)
class Turn:
    """One task on one host, from its beginning to its end; `ended` says why it may do no more."""

    host: Host
    since_s: float = field(default_factory=time.monotonic)
    ended: str = ""
    ended_s: float = 0.0
    held: list[Line] = field(default_factory=list)

    def end(self, why: str) -> None:
        """Cut what it has open; a login that it begins from now on is refused."""
        self.ended_s = self.ended_s or time.monotonic()
        self.ended = self.ended or why
        for line in list(self.held):
            line.cut()

    def go_on(self) -> None:
        """Raise TurnEndedError where it may do no more."""
        if self.ended:
            raise TurnEndedError(self.host.name, self.ended)


class Lines:
    """The lines that the tasks of a runner opened, at most `most`: for a new one the longest unused is closed.

    `closed` is how often that was needed.
    """

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self.closed = 0
        self._wanted = 0 if most == 0 else sys.maxsize
        self._users: OrderedDict[Line, set[Turn]] = OrderedDict()
        self._freed = threading.Condition()

    def __len__(self) -> int:
        return sum(line.is_alive() for line in list(self._users))

    def expect(self, hosts: int) -> None:
        """Make room for so many hosts, as far as this process may open files; nothing where `most` was given."""
        if hosts > self._wanted:
            self._wanted = hosts
            self.most = lines_for(hosts)

    def hold(self, turn: Turn, line: Line) -> None:
        """Count the line as in use by this turn until it is released; wait where all are in use."""
        if line in turn.held:
            return
        with self._freed:
            idle = None if line in self._users else self._make_room(turn)
            self._users.setdefault(line, set()).add(turn)
            self._users.move_to_end(line)
        turn.held.append(line)
        if idle is not None:
            idle.close()

    def release(self, turn: Turn) -> None:
        """The turn is over: what it held may be closed when others need room."""
        with self._freed:
            for line in turn.held:
                self._users.get(line, set()).discard(turn)
            self._freed.notify_all()

    def _make_room(self, turn: Turn) -> Line | None:
        """The line to close so that one more may open, none where there is room."""
        if len(self._users) < self.most:
            return None
        if not self._freed.wait_for(lambda: self._idle() is not None or bool(turn.ended), WAIT_S):
            why = f"all {self.most} connections that this process may have open are in use"
            raise NodeUnreachableError(turn.host.name, why)
        turn.go_on()
        idle = self._idle()
        assert idle is not None
        del self._users[idle]
        if not idle.is_alive():
            return None
        self.closed += 1
        return idle

    def _idle(self) -> Line | None:
        return next((line for line, users in self._users.items() if not users), None)
