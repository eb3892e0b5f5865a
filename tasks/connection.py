"""The one Shell that tasks use: commands as root over the node's persistent SSH connection, few round trips.

nornir-netmiko says how to log in (tasks/login.py); commands run on exec channels of a paramiko client, without
netmiko's terminal (true exit status, stdin, no echo). Many commands travel as one script on the stdin of one `sh` that
stays for the connection, so nothing secret shows in a process list and `sudo` is asked once; every command is quoted by
`shlex` and bounded by `timeout` on the node itself.
"""

import secrets
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

import paramiko
from nornir.core.inventory import Host
from nornir.core.task import Task

from inventory.lines import Line, line_of
from inventory.marks import is_marked, not_marked
from inventory.runner import hold_line
from inventory.secrets import secret_of
from inventory.standing import Standing
from tasks.framing import framed, read_answer
from tasks.login import Refuse, Retries, log_in
from tasks.script import argv_of, ended, ok_codes, rendered, timeout_s
from vpnmesh.errors import CheckError, CommandError, NodeUnreachableError
from vpnmesh.host.lease import STAGE, fence, is_fence
from vpnmesh.plan import Command, Completed, Fact, Secret, Step, Text

T = TypeVar("T")

LEASE_KEY = "vpnmesh_lease"
"""The key of a host's data for the token of the lease that its changes are made under."""
RETRIES = Retries()
GRACE_S = 10.0
"""What a round trip may take beyond its commands, impaired management paths included; more where `conn_timeout` is."""

END_S = 1.0
"""How long a connection that lost its channels may take to count as ended."""
LOOK_EVERY_S = 0.02
"""How often a process's output is looked for where waiting has a limit of its own."""
_NO_STATUS = -1
"""What paramiko gives for an exit status that never came."""

# both wait for the marker in $0, so that a password which sudo did not want never reaches the script
_FED = 'while IFS= read -r line && [ "$line" != "$0" ]; do :; done; exec "$@"'
# stdin is the lifeline: it closes with the channel or with the controller, and the process goes with it
_ATTACHED = """
while IFS= read -r line && [ "$line" != "$0" ]; do :; done
limit="$1"; shift; timeout -k 5 "$limit" "$@" & p=$!
cat > /dev/null; kill "$p" 2> /dev/null; wait "$p"
"""


@dataclass(frozen=True, slots=True)
class Shell:
    """Commands as root on one node; not tied to one task, so a task may hold the shells of a pair.

    `lease` is the token of the lease under which changes are made, "" where there is none. On a host that is not
    `marked` as testbed only `gather` and `look` work; everything else raises NotMarkedError before anything is sent.
    `standing` is where the connection's shell waits for the next script.
    """

    host: str
    client: paramiko.SSHClient
    sudo: bool
    password: Secret | None = None
    lease: str = ""
    marked: bool = False
    grace_s: float = GRACE_S
    standing: Standing = field(default_factory=Standing, compare=False, repr=False)

    def run(
        self, *argv: str, timeout_s: float = 20.0, ok: tuple[int, ...] = (0,), stdin: Text = ""
    ) -> Completed:
        """Run one command; CommandError unless its exit code is in `ok`."""
        return self.run_all([Command(argv, stdin=stdin, timeout_s=timeout_s, ok=ok)])[0]

    def run_all(self, steps: Sequence[Step]) -> list[Completed]:
        """Run the steps in order in one round trip; CommandError at the first that fails, the rest does not run."""
        self.refuse_unmarked()
        return self._run_all(steps)

    def look(self, *argv: str, stdin: Text = "", timeout_s: float = 20.0) -> Completed:
        """Run one command that only reads, on any host; CommandError when it fails."""
        return self._run_all([Command(argv, stdin=stdin, timeout_s=timeout_s)])[0]

    def _run_all(self, steps: Sequence[Step]) -> list[Completed]:
        completed = self._round_trip(steps, stop=True)
        for step, one in zip(steps, completed, strict=False):
            if one.exit_code not in ok_codes(step):
                raise CommandError(self.host, one.argv, one.exit_code, one.stderr or one.stdout)
        if len(completed) < len(steps):
            raise CommandError(self.host, argv_of(steps[len(completed)]), -1, "the node's shell ended early")
        return completed

    def change(self, steps: Sequence[Step]) -> list[Completed]:
        """Run steps that change the node, in one round trip; CheckError, and none is run, where the lease is lost."""
        if not self.lease:
            return self.run_all(steps)
        try:
            return self.run_all([fence(self.lease), *steps])[1:]
        except CommandError as error:
            if not is_fence(error.argv):
                raise
            reason = f"{self.host}: the lease is over or another's; nothing was changed"
            raise CheckError(STAGE, reason) from error

    def settle(self, fact: Fact[T]) -> T:
        """As `gather`, where asking itself changes the node: who holds it is decided by the question."""
        self.refuse_unmarked()
        return self.gather(fact)

    def gather(self, fact: Fact[T]) -> T:
        """Ask the fact's questions in one round trip and return its answer; commands may fail, that is an answer.

        Any host may be asked, so no question may change anything.
        """
        if not fact.commands:
            return fact.read(())
        completed = self._round_trip(fact.commands, stop=False)
        if len(completed) < len(fact.commands):
            raise CommandError(
                self.host, fact.commands[len(completed)].argv, -1, "the node's shell ended early"
            )
        return fact.read(completed)

    def start(self, argv: Sequence[str], *, timeout_s: float) -> "Attached":
        """Start a process that lives at most `timeout_s` and no longer than this channel."""
        self.refuse_unmarked()
        mark = secrets.token_hex(16)
        channel = self._channel(
            ("sh", "-c", _ATTACHED, mark, f"{timeout_s:g}", *argv), timeout_s + self.grace_s
        )
        _offered(channel, f"{self._prologue()}{mark}\n".encode())
        return Attached(self.host, tuple(argv), channel, _Reading(lambda: _read_all(channel.recv_stderr)))

    def feed(self, argv: Sequence[str], chunks: Iterable[bytes], *, stalled_s: float) -> Completed:
        """Run one command on these bytes, sent as they come; the node may take none for `stalled_s` at most."""
        self.refuse_unmarked()
        mark = secrets.token_hex(16)
        channel = self._channel(("sh", "-c", _FED, mark, *argv), stalled_s)
        try:
            _offered(channel, f"{self._prologue()}{mark}\n".encode())
            _send(channel, chunks)
            stdout, stderr = _drain(channel)
            _refuse_lost(self.host, channel)
            return Completed(tuple(argv), channel.recv_exit_status(), stdout, stderr)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise _unreachable(self.host, error) from error
        finally:
            channel.close()

    def refuse_unmarked(self) -> None:
        """NotMarkedError unless the host is marked as part of a testbed."""
        if not self.marked:
            raise not_marked([self.host])

    def _round_trip(self, steps: Sequence[Step], *, stop: bool) -> list[Completed]:
        mark = secrets.token_hex(16)
        script = "".join(rendered(step, mark, stop=stop) for step in steps)
        limit = sum(timeout_s(step) for step in steps) + self.grace_s
        channel, stands = self._waiting(limit), False
        try:
            channel.settimeout(limit)
            refused = _offered(channel, framed(script, mark).encode())
            errors = _Reading(lambda: read_answer(channel.recv_stderr, mark))
            (stdout, told), (stderr, told_too) = read_answer(channel.recv, mark), errors.result()
            if refused is not None and not stdout and not stderr:
                raise refused
            completed = ended(steps, mark, _text(stdout), _text(stderr))
            stands = told and told_too
            if not stands and len(completed) < len(steps):
                _refuse_lost(self.host, channel)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._lost(error) from error
        finally:
            if stands:
                self.standing.keep(channel)
            else:
                channel.close()
        if not stands and not completed and steps:
            raise CommandError(
                self.host, ("sudo",), 1, _text(stderr or stdout) or "no answer from the node's shell"
            )
        return completed

    def _waiting(self, limit_s: float) -> paramiko.Channel:
        """The connection's shell that waits, or another where it is at work or there is none yet."""
        transport = self.client.get_transport()
        channel = self.standing.take(transport) if transport is not None else None
        if channel is not None:
            return channel
        if not self.password:
            return self._channel(("sh", "-s"), limit_s)
        # a shell before the shell keeps a password that sudo did not want out of the scripts
        mark = secrets.token_hex(16)
        channel = self._channel(("sh", "-c", _FED, mark, "sh", "-s"), limit_s)
        try:
            _offered(channel, f"{self._prologue()}{mark}\n".encode())
        except (OSError, EOFError, paramiko.SSHException) as error:
            channel.close()
            raise self._lost(error) from error
        return channel

    def _channel(self, argv: Sequence[str], timeout_s: float) -> paramiko.Channel:
        sudo = ("sudo", "-k", "-S", "-p", "", "--") if self.password else ("sudo", "-n", "--")
        transport = self.client.get_transport()
        if transport is None:
            raise NodeUnreachableError(self.host, "the connection is closed")
        try:
            channel = self.standing.session(transport) or transport.open_session(timeout=self.grace_s)
            channel.settimeout(timeout_s)
            channel.exec_command(shlex.join([*(sudo if self.sudo else ()), *argv]))
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._lost(error) from error
        return channel

    def _lost(self, error: Exception) -> NodeUnreachableError:
        """Give up the connection: what was not answered in time is not answered a moment later either.

        TCP would hold on to it for a quarter of an hour, and every step of everything that follows would wait for it.
        """
        if (transport := self.client.get_transport()) is not None:
            transport.close()
        return _unreachable(self.host, error)

    def _prologue(self) -> str:
        return f"{self.password.reveal()}\n" if self.password else ""


@dataclass(frozen=True, slots=True)
class Attached:
    """A process on a node that ends with its channel."""

    host: str
    argv: tuple[str, ...]
    channel: paramiko.Channel
    stderr: "_Reading[bytes]"

    def wait_for(self, text: str) -> str:
        """Read until `text` was printed; CommandError when the process ends before."""
        seen = ""
        while text not in seen:
            try:
                chunk = self.channel.recv(65536).decode(errors="replace")
            except (OSError, EOFError) as error:
                raise _unreachable(self.host, error) from error
            if not chunk:
                _refuse_lost(self.host, self.channel)
                raise CommandError(
                    self.host, self.argv, self.channel.recv_exit_status(), seen or "ended early"
                )
            seen += chunk
        return seen

    def read_until(self, enough: Callable[[str], bool], *, within_s: float) -> str:
        """Read until that is enough, all was printed, or the time is over; what was read, whichever it was.

        Looks every few milliseconds: the channel's own time limit is also that of the thread which reads stderr.
        """
        seen, deadline = b"", time.monotonic() + within_s
        try:
            while not enough(_text(seen)) and time.monotonic() < deadline:
                if self.channel.recv_ready():
                    seen += self.channel.recv(65536)
                elif self.channel.eof_received or self.channel.closed:
                    _refuse_lost(self.host, self.channel)
                    break
                else:
                    time.sleep(LOOK_EVERY_S)
        except (OSError, EOFError) as error:
            raise _unreachable(self.host, error) from error
        return _text(seen)

    def end(self) -> None:
        """Tell the process to end, without waiting for it; `stop` then returns what it printed."""
        try:
            self.channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise _unreachable(self.host, error) from error

    def stop(self) -> Completed:
        """End the process and return all that it printed since."""
        self.end()
        try:
            stdout, stderr = _read_all(self.channel.recv), self.stderr.result()
            _refuse_lost(self.host, self.channel)
            return Completed(self.argv, self.channel.recv_exit_status(), _text(stdout), _text(stderr))
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise _unreachable(self.host, error) from error
        finally:
            self.channel.close()


def shell(task: Task) -> Shell:
    """The shell of the task's own host, logged in on first use."""
    return shell_of(task, task.host)


def shell_of(task: Task, host: Host) -> Shell:
    """The shell of any host; a lost connection is opened again.

    A task that needs a second host gets it as a parameter: the inventory that it sees itself is filtered.
    Raises NodeUnreachableError with the reason when there is no login, TurnEndedError when the task was ended.
    """
    refuse = partial(hold_line, task, host)
    refuse()
    line = line_of(host)
    # one login at a time per host, though two tasks may want the same node
    with line.lock:
        if not line.is_alive():
            _log_in(task, host, line, refuse)
        client = line.client
    if client is None:
        raise NodeUnreachableError(host.name, "the connection is closed")
    password = secret_of(host, "sudo_password")
    lease, grace_s = host.get(LEASE_KEY) or "", max(GRACE_S, line.within_s)
    return Shell(
        host.name, client, host.username != "root", password, lease, is_marked(host), grace_s, line.standing
    )


def _log_in(task: Task, host: Host, line: Line, refuse: Refuse) -> None:
    line.silence.refuse()
    began = time.monotonic()
    try:
        log_in(host, task.nornir.config, line, refuse, RETRIES)
    except NodeUnreachableError as error:
        line.silence.note(began, error)
        raise
    line.silence.end()


class _Reading(threading.Thread, Generic[T]):
    """One stream of a channel, read from now on by a thread of its own.

    Both streams share the channel's window (RFC 4254, section 5.2): one that nobody reads stops the other.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._read = read
        self._found: list[T] = []
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        """Read until there is no more, or the channel breaks or falls silent for longer than it may."""
        try:
            self._found.append(self._read())
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._error = error

    def result(self) -> T:
        """Wait for the end; raises what ended the reading."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._found[0]


def _send(channel: paramiko.Channel, chunks: Iterable[bytes]) -> None:
    """Send it all, or as much as the command takes."""
    for chunk in chunks:
        if _offered(channel, chunk) is not None:
            return
    channel.shutdown_write()


def _offered(channel: paramiko.Channel, content: bytes) -> OSError | None:
    """Send it; returns what kept the far end from taking it where that had ended, as after a refusal by sudo.

    Its words are still there to be read, and say more than "Socket is closed".
    """
    try:
        channel.sendall(content)
    except OSError as error:
        if not channel.exit_status_ready():
            raise
        return error
    return None


def _drain(channel: paramiko.Channel) -> tuple[str, str]:
    errors = _Reading(lambda: _read_all(channel.recv_stderr))
    stdout = _read_all(channel.recv)
    return _text(stdout), _text(errors.result())


def _read_all(receive: Callable[[int], bytes]) -> bytes:
    return b"".join(iter(lambda: receive(1 << 16), b""))


def _unreachable(host: str, error: Exception) -> NodeUnreachableError:
    return NodeUnreachableError(host, f"{type(error).__name__} {error}".strip())


def _refuse_lost(host: str, channel: paramiko.Channel) -> None:
    """NodeUnreachableError where an answer ended since the connection did: no exit status came, and none will.

    paramiko closes the channels of a lost connection a moment before the connection itself counts as ended. A shell
    that was killed on a node that lives has no exit status either, and its connection stays.
    """
    if channel.recv_exit_status() != _NO_STATUS:
        return
    transport = channel.get_transport()
    transport.join(END_S)
    if not transport.is_active():
        raise NodeUnreachableError(host, "the connection ended before the answer did")


def _text(content: bytes) -> str:
    return content.decode(errors="replace")
